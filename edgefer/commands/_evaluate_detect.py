"""`edgefer evaluate --task detect`: how well face detectors find labelled faces, and what a frame costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgefer.commands._shared import bar, called, print_json, profile_for, say

if TYPE_CHECKING:
    from edgefer.bundle import DetectorBundle

SIZE = 320


def run(
    bundle: Path | None,
    data: Path,
    split: str | None,
    device: str | None,
    engine: str | None,
    precision: str | None,
    detectors: tuple[str, ...],
    detector_model: Path | None,
    sizes: tuple[int, ...],
    clips: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure, and print a table or JSON.

    Raises UsageError for a bundle or an engine without `edge`, and what reading and measuring raise.
    """
    import click

    from edgefer.bench import detection_run, detection_text
    from edgefer.bench.detection_finders import Wanted
    from edgefer.bundle import open_detector_bundle
    from edgefer.train import scenes

    profile = profile_for(device)
    names = tuple(dict.fromkeys(detectors)) or _those_here(detector_model)
    own: DetectorBundle | None = None
    if "edge" in names:
        own = open_detector_bundle(bundle)
    elif bundle is not None or engine is not None or precision is not None:
        raise click.UsageError("BUNDLE, --engine and --precision are of the detector edge; add --detector edge")
    if detector_model is not None and "yunet" not in names:
        raise click.UsageError("--detector-model is of the detector yunet; add --detector yunet")
    with bar("Reading labels") as progress:
        name, chosen = scenes.pick(scenes.read(data, progress), split)
    at = tuple(dict.fromkeys(sizes)) or (SIZE,)
    wanted = Wanted(tuple((detector, at) for detector in names), own, engine, precision, detector_model)
    record = detection_run.take(wanted, (name, chosen), clips, profile, called(), bar)
    if as_json:
        print_json(record.as_dict())
    else:
        click.echo(detection_text.as_text(record))


def _those_here(model: Path | None) -> tuple[str, ...]:
    """Return the detectors that can be compared here; says which cannot."""
    from edgefer.runtime import models

    if model is not None or models.read(models.find("yunet")) is not None:
        return ("edge", "haar", "yunet")
    say("note: yunet is left out, since its model is not here: edgefer models pull yunet, or --detector-model FILE")
    return ("edge", "haar")
