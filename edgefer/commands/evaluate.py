"""`edgefer evaluate`: accuracy of an artifact, as it runs on an engine, on labelled faces.

With `--task detect` it is about finding faces: see `_evaluate_detect`.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefer.commands import _evaluate_detect
from edgefer.commands._shared import (
    bar,
    bundle_argument,
    called,
    device_option,
    json_flag,
    labelled,
    open_preferred,
    precision_option,
    print_json,
    profile_for,
    refuse,
    say,
)

if TYPE_CHECKING:
    from edgefer.bench.evaluation import Evaluation
    from edgefer.bundle import Bundle
    from edgefer.devices.profile import DeviceProfile
    from edgefer.runtime.engines import LoadedEngine
    from edgefer.train.data import Dataset


@click.command()
@bundle_argument
@click.option(
    "--task",
    type=click.Choice(["classify", "detect"]),
    default="classify",
    help="Name the emotion of faces, or find faces in pictures. [classify]",
)
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
    "--all",
    "everything",
    is_flag=True,
    help="Every artifact in every installed engine that runs it, or those that --engine and --precision leave.",
)
@click.option(
    "--votes",
    type=click.Path(path_type=Path),
    help="FER+ votes, fer2013new.csv: the same answers by the majority of ten people, too.",
)
@click.option("--robustness", "robust", is_flag=True, help="Also on spoilt pictures: 8 corruptions at 5 strengths.")
@click.option(
    "--faces",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --robustness: spoil N pictures, drawn at random [default: all].",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", help="With --robustness: of all chance [default: 0]."
)
@click.option(
    "--png", type=click.Path(path_type=Path, dir_okay=False), help="Draw the confusion matrix into this file."
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    type=click.Choice(["edge", "haar", "yunet"]),
    help="With --task detect: which, once for each [default: edge and haar, and yunet where its model is].",
)
@click.option(
    "--detector-model",
    type=click.Path(path_type=Path),
    help="With --task detect: the file of yunet [default: what edgefer models pull fetched].",
)
@click.option(
    "--size",
    "sizes",
    multiple=True,
    type=click.IntRange(32, 4096),
    metavar="PX",
    help="With --task detect: the longer side of what detectors look at, once for each [default: 320].",
)
@click.option("--clip", "clips", multiple=True, metavar="FILE", help="With --task detect: a video to run on, too.")
@json_flag
def command(
    bundle: Path | None,
    task: str,
    data: Path,
    split: str | None,
    device: str | None,
    engine: str | None,
    precision: str | None,
    everything: bool,
    votes: Path | None,
    robust: bool,
    faces: int | None,
    seed: int | None,
    png: Path | None,
    detectors: tuple[str, ...],
    detector_model: Path | None,
    sizes: tuple[int, ...],
    clips: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure the accuracy of a bundle on labelled faces: the very artifact in the very engine, picture by picture.

    With --task detect, how well face detectors find the faces of --data (pictures with boxes) and what a frame costs.

    What --json prints, `edgefer report` reads; with --all it is a list.

    \b
    Examples:
      edgefer evaluate --data fer2013.csv --split validation
      edgefer evaluate mine.edgefer --data faces/ --engine openvino --precision fp32 --png confusion.png
      edgefer evaluate mine.edgefer --data fer2013.csv --all --robustness --json > mine.json
      edgefer evaluate --task detect --data wider/ --clip party.mp4 --size 160 --size 320
    """
    from edgefer import plugins
    from edgefer.bench import accuracy, evaluation_text
    from edgefer.bundle import open_bundle

    if task == "detect":
        refuse(("everything", "votes", "robust", "faces", "seed", "png"), "is not for --task detect")
        _evaluate_detect.run(
            bundle, data, split, device, engine, precision, detectors, detector_model, sizes, clips, as_json
        )
        return
    refuse(("detectors", "detector_model", "sizes", "clips"), "is for --task detect")
    if not robust and (faces is not None or seed is not None):
        raise click.UsageError("--faces and --seed say which pictures are spoilt, and how; add --robustness")
    if everything and png:
        raise click.UsageError("--png draws a single artifact; leave out --all")
    if png:
        if png.suffix.lower() != ".png":
            raise click.BadParameter(f"{png} must end in .png", param_hint="--png")
        plugins.require("matplotlib", "report", "--png")  # said before minutes of work
    opened = open_bundle(bundle)
    profile = profile_for(device)
    with contextlib.ExitStack() as stack:
        if everything:
            engines = open_all(opened, profile, engine, precision)
        else:
            engines = [open_preferred(opened, profile, engine, precision, None)]
        for loaded in engines:
            stack.callback(loaded.engine.close)
        name, pictures = labelled(opened, data, split, votes)
        with bar("Evaluating") as progress:
            found = list(accuracy.evaluate_all(opened, pictures, engines, name, progress, called()))
        if robust:
            for i, loaded in enumerate(engines):
                found[i] = spoilt(opened, pictures, loaded, found[i], faces, seed or 0)
    if as_json:
        print_json([one.as_dict() for one in found] if everything else found[0].as_dict())
    elif everything:
        click.echo(evaluation_text.all_as_text(found))
    else:
        click.echo(evaluation_text.as_text(found[0]))
    if png:  # after the figures, which are not lost when it cannot be written
        draw(found[0], png)


def draw(evaluation: Evaluation, png: Path) -> None:
    """Draw the confusion matrix into a file; raises RecordError when it cannot be written."""
    from edgefer.bench.evaluation_text import confusion_png
    from edgefer.errors import RecordError

    try:
        confusion_png(evaluation, png)
    except OSError as error:
        raise RecordError(f"cannot write {png}: {error.strerror or error}") from error
    say(f"confusion matrix: {png}")


def open_all(bundle: Bundle, profile: DeviceProfile, engine: str | None, precision: str | None) -> list[LoadedEngine]:
    """Open every artifact in every installed engine that runs it, or what `engine` and `precision` leave of them.

    Raises EngineError when nothing is left, or one cannot be opened.
    """
    from edgefer.errors import EngineError
    from edgefer.runtime.engines import installed_engines, load, open_engine

    pairs = [
        (name, artifact.precision)
        for name in ([engine] if engine else installed_engines())
        for artifact in bundle.artifacts
        if artifact.format == load(name).FORMAT and precision in (None, artifact.precision)
    ]
    if not pairs:
        has = ", ".join(f"{a.format} {a.precision}" for a in bundle.artifacts)
        wanted = " ".join(filter(None, (engine or "any installed engine", precision and f"in {precision}")))
        raise EngineError(f"{bundle.path} has nothing for {wanted}; it has: {has}")
    return [open_engine(bundle, name, p, profile.threads, profile.providers) for name, p in dict.fromkeys(pairs)]


def spoilt(
    bundle: Bundle, pictures: Dataset, loaded: LoadedEngine, evaluation: Evaluation, faces: int | None, seed: int
) -> Evaluation:
    """Return the evaluation with robustness, which is measured with a progress bar."""
    from edgefer.bench.robustness import robustness

    with bar(f"Spoiling pictures for {loaded.artifact.path} in {loaded.name}") as progress:
        return replace(evaluation, robustness=robustness(bundle, pictures, loaded, faces, seed, progress))
