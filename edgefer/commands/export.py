"""`edgefer export`: a trained bundle in, artifacts for every engine out, each proved against what was trained."""

from __future__ import annotations

from pathlib import Path

import click

from edgefer.commands._shared import bar, bundle_argument, json_flag, print_json, say, step


@click.command()
@bundle_argument
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Labelled faces, as for edgefer train: the training split calibrates, the validation split proves.",
)
@click.option("--int8", "int8", is_flag=True, help="Full int8 as well as float (post-training quantisation).")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(["tflite", "onnx", "openvino"]), help="[default: all]"
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "int8"]),
    help="[default: fp32; fp32 and int8 with --int8]",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Points of accuracy that an artifact may lose before it is refused.",
)
@click.option(
    "--calibration",
    type=click.IntRange(min=512),
    default=512,
    show_default=True,
    help="Class-balanced faces to calibrate int8 on.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write a new bundle [default: add to BUNDLE itself]")
@json_flag
def command(
    bundle: Path | None,
    data: Path,
    int8: bool,
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    max_drop: float,
    calibration: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Turn a trained bundle into TFLite, ONNX and OpenVINO, float and int8, and prove each one.

    Every artifact runs in its real engine on the validation split and is compared with the trained network. If one
    disagrees, nothing is written. Without BUNDLE, the one that ships is exported (give --out then).

    \b
    Examples:
      edgefer export mine.edgefer --int8 --data fer2013.csv
      edgefer export mine.edgefer --precision int8 --format tflite --data faces/ --out small.edgefer
    """
    from edgefer.bundle import open_bundle
    from edgefer.optimize.export import export
    from edgefer.train import data as datasets
    from edgefer.train.data.prepare import as_trained

    if bundle is None and out is None:
        raise click.UsageError("exporting the bundle that ships needs --out: the package itself is not changed")
    opened = open_bundle(bundle)
    wanted = precisions or (("fp32", "int8") if int8 else ("fp32",))
    if int8 and "int8" not in wanted:
        raise click.UsageError("--int8 and --precision fp32 contradict each other")
    with bar("Reading faces") as progress:
        splits = datasets.read(data, progress)
    train, validation = as_trained(splits, opened.recipe)
    with step("Export"):
        result = export(
            opened,
            train,
            validation,
            formats=formats or ("tflite", "onnx", "openvino"),
            precisions=wanted,
            max_drop=max_drop,
            out=out,
            calibration=calibration,
            progress=lambda line: say(f"  {line}"),
        )
    if as_json:
        print_json({"bundle": str(result.bundle.path), "parity": [vars(p) for p in result.parities]})
        return
    parent = result.parities[0].parent_accuracy
    say(f"the trained network: accuracy {parent:.4f} on {result.parities[0].n} validation faces")
    click.echo(
        f"{'artifact':<24} {'bytes':>9} {'engine':<20} {'accuracy':>8} {'drop':>7} {'same label':>10} {'max diff':>8}"
    )
    for p in result.parities:
        size = next(a.bytes for a in result.bundle.artifacts if a.path == p.artifact)
        click.echo(
            f"{p.artifact:<24} {size:>9,} {f'{p.engine} {p.engine_version}':<20} {p.accuracy:>8.4f}"
            f" {p.drop_points:>+7.2f} {p.agreement:>8.2f} % {p.max_difference:>8.4f}"
        )
    say(f"wrote {result.bundle.path}; next: edgefer run {result.bundle.path} --source 0")
