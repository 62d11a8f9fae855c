"""`edgefer evaluate`: accuracy of an artifact, as it runs on an engine, on labelled faces."""

from __future__ import annotations

from pathlib import Path

import click

from edgefer.commands._shared import (
    bar,
    bundle_argument,
    device_option,
    json_flag,
    open_preferred,
    precision_option,
    print_json,
    profile_for,
    say,
)


@click.command()
@bundle_argument
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Any form that edgefer train reads; .npz with images and labels among them.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "all"]),
    help="[default: test, else validation, else everything]",
)
@device_option
@click.option(
    "--engine", metavar="NAME", help="litert, onnxruntime, openvino or tflite-runtime [default: the device's choice]"
)
@precision_option
@click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the confusion matrix into this file."
)
@json_flag
def command(
    bundle: Path | None,
    data: Path,
    split: str | None,
    device: str | None,
    engine: str | None,
    precision: str | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Measure the accuracy of a bundle on labelled faces: the very artifact in the very engine, picture by picture.

    \b
    Examples:
      edgefer evaluate --data fer2013.csv --split validation
      edgefer evaluate mine.edgefer --data faces/ --engine openvino --precision fp32 --png confusion.png
    """
    from edgefer.bench import accuracy
    from edgefer.bundle import open_bundle
    from edgefer.train import data as datasets
    from edgefer.train.data.prepare import merged_as_trained

    opened = open_bundle(bundle)
    loaded = open_preferred(opened, profile_for(device), engine, precision, None)
    with bar("Reading faces") as progress:
        splits = merged_as_trained(datasets.read(data, progress), opened.recipe, opened.labels)
    name, faces = datasets.pick(splits, split)
    if opened.recipe.get("data", {}).get("split"):
        say("note: this bundle was trained on a division of its own; it may have seen pictures of this split")
    with bar("Evaluating") as progress:
        evaluation = accuracy.evaluate(opened, faces, loaded, split=name, progress=progress)
    loaded.engine.close()
    if png:
        accuracy.confusion_png(evaluation, png)
        say(f"confusion matrix: {png}")
    if as_json:
        print_json(evaluation.as_dict())
    else:
        click.echo(accuracy.as_text(evaluation))
