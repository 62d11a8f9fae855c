"""`edgefer export`: a trained bundle in, artifacts for every engine out, each proved against what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands import _export_detector
from edgefer.commands._export_talk import Talk
from edgefer.commands._shared import bar, bundle_argument, json_flag, print_json, print_table, refuse, say, step

if TYPE_CHECKING:
    from edgefer.optimize.export import ExportResult
    from edgefer.optimize.tune import Tuning

FORMATS = ["tflite", "onnx", "openvino"]
PRECISIONS = ["fp32", "fp16", "dynamic", "int8"]
TUNING = ("qat", "narrow", "prune", "cluster", "settings")
"""Parameters that are about fine-tuning."""


@click.command()
@bundle_argument
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Labelled faces, as for edgefer train: the training split calibrates and tunes, the validation split proves."
    " For a face detector: scenes with boxes.",
)
@click.option(
    "--drop-rows",
    type=click.Path(path_type=Path),
    help="CSV with a column `row`: training pictures to leave out of fine-tuning, as for edgefer train.",
)
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), help="[default: all]")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="[default: fp32; fp32 and int8 with --int8]",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="WIDTHxHEIGHT",
    help="Of the pictures that a face detector takes, once for each [default: 160x120, 320x240, 640x480]",
)
@click.option("--int8", "int8", is_flag=True, help="Full int8 as well as float.")
@click.option("--qat", is_flag=True, help="Train on with int8 rounding before int8 (quantization-aware training).")
@click.option(
    "--narrow",
    type=click.FloatRange(0.05, 0.95),
    is_flag=False,
    flag_value=0.4,
    metavar="PART",
    help="Take whole channels away, so that this part of the arithmetic is gone, and train on. [without a number: 0.4]",
)
@click.option(
    "--prune",
    type=click.FloatRange(0.05, 0.99),
    is_flag=False,
    flag_value=0.5,
    metavar="PART",
    help="Make this part of the weights zero: the files compress better, not faster. [without a number: 0.5]",
)
@click.option(
    "--cluster",
    type=click.IntRange(2, 256),
    is_flag=False,
    flag_value=16,
    metavar="N",
    help="Let the weights of a layer share N values: the files compress better. [without a number: 16]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="STAGE.NAME=VALUE",
    help="A setting of a stage: epochs, learning_rate, batch, distill, temperature or seed, as in qat.epochs=8.",
)
@click.option(
    "--teacher", type=click.Path(path_type=Path), help="Bundle to learn from in fine-tuning [default: BUNDLE itself]"
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Points of accuracy, of a detector's average precision, that an artifact may lose before it is refused.",
)
@click.option(
    "--calibrate",
    type=click.Choice(["auto", "converter", "minmax", "percentile", "entropy"]),
    default="auto",
    show_default=True,
    help="Where int8 ranges end; auto tries all and takes what answers most like float.",
)
@click.option(
    "--calibration",
    type=click.IntRange(min=512),
    default=512,
    show_default=True,
    help="Class-balanced faces, or scenes, to calibrate int8 on.",
)
@click.option(
    "--quantizer",
    type=click.Choice(["shared", "own"]),
    default="shared",
    show_default=True,
    help="One int8 form for all formats, or each by its own tool (onnxruntime, nncf).",
)
@click.option(
    "--keep-float",
    multiple=True,
    metavar="LAYER",
    help="Leave a layer float in int8 (mixed precision); a refused export says which would help.",
)
@click.option("--opset", type=click.IntRange(13, 18), default=17, show_default=True, help="Of ONNX.")
@click.option(
    "--batch", type=click.IntRange(1, 1024), help="Pictures in a batch for ONNX and OpenVINO [default: any number]"
)
@click.option("--out", type=click.Path(path_type=Path), help="Write a new bundle [default: add to BUNDLE itself]")
@click.option("--force", is_flag=True, help="Make artifacts anew that BUNDLE has already.")
@click.option("--resume", is_flag=True, help="Go on with fine-tuning that was interrupted.")
@json_flag
def command(
    bundle: Path | None,
    data: Path,
    drop_rows: Path | None,
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    sizes: tuple[str, ...],
    int8: bool,
    teacher: Path | None,
    out: Path | None,
    force: bool,
    resume: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Turn a trained bundle into TFLite, ONNX and OpenVINO, float and int8, and prove each one.

    Every artifact runs in its real engine on the validation split and is compared with the trained network. If one
    disagrees, nothing is written. One that ships, by its name, or edge-m without BUNDLE, needs --out. BUNDLE may be a
    face detector, too.

    \b
    Examples:
      edgefer export mine.edgefer --int8 --data fer2013.csv
      edgefer export mine.edgefer --int8 --qat --data fer2013.csv --out mine-qat.edgefer
      edgefer export mine.edgefer --int8 --narrow 0.4 --data fer2013.csv --out narrow.edgefer
      edgefer export mine.edgefer --precision fp16 --format openvino --data faces/
      edgefer export det.edgefer --int8 --size 320x240 --data scenes/
    """
    from edgefer.bundle import DEFAULT, DetectorBundle, open_bundle, open_stored
    from edgefer.optimize.export import export
    from edgefer.optimize.plan import Plan
    from edgefer.train import data as datasets
    from edgefer.train.data import prepare

    tuning = {name: chosen.pop(name) for name in TUNING}
    opened = open_stored(bundle or DEFAULT)
    if out is None and opened.path != bundle:
        raise click.UsageError("exporting a bundle that ships needs --out: the package itself is not changed")
    if isinstance(opened, DetectorBundle):
        why = f"is for models that name expressions, and {opened.path} is a face detector"
        refuse((*TUNING, "drop_rows", "teacher", "resume"), why)
        plan = _export_detector.plan_of(sizes, **_fields(formats, precisions, int8, **chosen))
        _export_detector.run(opened, data, plan, out=out, force=force, as_json=as_json, listener=Talk())
        return
    refuse(("sizes",), f"is for face detectors, and {opened.path} is none")
    tunings = _tunings(**tuning)
    wanted = Plan(tunings=tunings, **_fields(formats, precisions, int8, qat=tuning["qat"], **chosen))
    taught = open_bundle(teacher) if teacher else None
    with bar("Reading faces") as progress:
        splits = datasets.read(data, progress)
    train, validation = prepare.as_trained(splits, opened.recipe)
    tune_on = None
    if wanted.tunings:
        dropped = prepare.read_drop_rows(drop_rows) if drop_rows else None
        prepared = prepare.to_tune(splits, opened.recipe, dropped)
        tune_on = prepared.train
        for note in prepared.notes:
            say(note)
    with step("Export"):
        result = export(
            opened,
            train,
            validation,
            wanted,
            out=out,
            force=force,
            resume=resume,
            tune_on=tune_on,
            teacher=taught,
            listener=Talk(),
        )
    for path in result.skipped:
        say(f"{path} is there already and stays as it is; --force makes it anew")
    if as_json:
        print_json(_as_json(result))
    else:
        _show(result)


def _fields(
    formats: tuple[str, ...],
    precisions: tuple[str, ...],
    int8: bool,
    *,
    qat: bool = False,
    calibrate: str,
    quantizer: str,
    **same: Any,
) -> dict[str, Any]:
    """Return the fields that plans for models of both kinds have; the options `same` are called as their fields are."""
    from edgefer.optimize.convert import METHODS

    return {
        "formats": tuple(f for f in FORMATS if f in (formats or FORMATS)),
        "precisions": _precisions(precisions, int8, qat),
        "methods": METHODS if calibrate == "auto" else (calibrate,),
        "own": quantizer == "own",
        **same,
    }


def _tunings(*, qat: bool, settings: tuple[str, ...], **amounts: float | None) -> tuple[Tuning, ...]:
    """Return the stages of fine-tuning that are asked for."""
    from edgefer.optimize.plan import tunings
    from edgefer.train.recipe import parse_setting

    asked = {name: amount for name, amount in amounts.items() if amount is not None} | ({"qat": 0.0} if qat else {})
    return tunings(asked, [parse_setting(text) for text in settings])


def _precisions(chosen: tuple[str, ...], int8: bool, qat: bool) -> tuple[str, ...]:
    if int8 and chosen and "int8" not in chosen:
        raise click.UsageError(f"--int8 and --precision {chosen[0]} contradict each other")
    wanted = chosen or (("fp32", "int8") if int8 or qat else ("fp32",))
    return tuple(p for p in PRECISIONS if p in wanted)


def _as_json(result: ExportResult) -> dict[str, Any]:
    return {
        "bundle": str(result.bundle.path),
        "parity": [vars(p) for p in result.parities],
        "steps": [s.as_dict() for s in result.steps],
        "calibration": [vars(c) for c in result.choices],
        "skipped": list(result.skipped),
        "macs": result.macs,
        "parameters": result.parameters,
    }


def _show(result: ExportResult) -> None:
    if not result.parities:
        return
    for done in result.steps:
        say(
            f"{done.tuning.stage}: accuracy {done.accuracy:.4f} ({done.drop_points:+.2f} points lost),"
            f" {done.macs / 1e6:.1f} M MACs, {done.parameters:,} parameters, {done.sparsity:.0%} zeros,"
            f" {done.seconds / 60:.1f} min"
        )
    first = result.parities[0]
    say(f"the trained network: accuracy {first.parent_accuracy:.4f} on {first.n} validation faces")
    head = ["artifact", "bytes", "gzip", "engine", "accuracy", "lost", "p", "same label", "max diff", "ms"]
    rows = [
        [
            p.artifact,
            f"{p.bytes:,}",
            f"{p.gzip_bytes:,}",
            f"{p.engine} {p.engine_version}",
            f"{p.accuracy:.4f}",
            f"{p.drop_points:+.2f}",
            f"{p.p_value:.2f}",
            f"{p.agreement:.2f} %",
            f"{p.max_difference:.4f}",
            f"{p.latency_ms:.3f}",
        ]
        for p in result.parities
    ]
    print_table(head, rows)
    say("lost: points of accuracy; p: of McNemar's test; ms: one picture, one thread, this machine, a short run")
    say(f"wrote {result.bundle.path}; next: edgefer run {result.bundle.path} --source 0")
