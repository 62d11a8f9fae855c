"""`edgefer import`: a model from outside in, a bundle out."""

from __future__ import annotations

from pathlib import Path

import click

from edgefer.commands._shared import bar, json_flag, print_json, print_table, say, step


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    required=True,
    metavar="A,B,…",
    help="What the outputs mean, in their order; or the name of an order: fer2013, alphabetical.",
)
@click.option(
    "--preprocess",
    metavar="HOW",
    help="How the model wants pixels: unit (0–1), signed (-1–1), raw (0–255), or MEAN,STD on the scale 0–255, one for"
    " all channels or one for each (M,M,M,S,S,S). Needed unless the model takes uint8.",
)
@click.option(
    "--output",
    type=click.Choice(["auto", "probabilities", "logits"]),
    default="auto",
    show_default=True,
    help="What the model gives; auto runs it and looks.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Labelled faces, as for edgefer train: measures accuracy, and warns of wrong labels or pixels.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The bundle to write, such as it.edgefer.")
@json_flag
def command(
    file: Path, labels: str, preprocess: str | None, output: str, data: Path | None, out: Path, as_json: bool
) -> None:
    """Make a bundle of a model from elsewhere: .onnx, .tflite, .keras or .h5.

    The order of the labels and the scaling of the pixels are not in the file. Give --data if you can: a mistake in
    either is silent otherwise.

    \b
    Examples:
      edgefer import fer.onnx --labels fer2013 --preprocess unit --out fer.edgefer
      edgefer import cnn.keras --labels alphabetical --preprocess signed --data faces/ --out cnn.edgefer
      edgefer import torch.onnx --labels happy,sad,neutral --preprocess 127.5,127.5 --out torch.edgefer
    """
    from edgefer.optimize.importing import Labelled, import_model, parse_labels
    from edgefer.train import data as datasets

    names = parse_labels(labels)
    labelled = None
    if data is not None:
        with bar("Reading faces") as progress:
            splits = datasets.read(data, progress)
        split, faces = datasets.pick(splits, "validation" if "validation" in splits else None)
        labelled = Labelled(faces, split)
    with step("Import"):
        result = import_model(file, names, out, preprocess, output, labelled, progress=lambda line: say(f"  {line}"))
    for note in result.notes:
        say(f"note: {note}")
    for warning in result.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json(result.as_dict())
    else:
        rows = []
        for a in result.bundle.artifacts:
            figures = result.bundle.metrics.get(a.path)
            measured = f"{figures['accuracy']:.4f}" if figures else "not measured"
            rows.append([a.path, a.format, a.precision, f"{a.bytes:,}", measured])
        print_table(["artifact", "format", "precision", "bytes", "accuracy"], rows)
    runs = any(a.format != "keras" for a in result.bundle.artifacts)
    following = f"edgefer run {out} --source 0" if runs else f"edgefer export {out} --int8 --data FACES"
    say(f"wrote {out}; next: {following}")
