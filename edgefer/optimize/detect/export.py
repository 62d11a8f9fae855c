"""Export of a detector: a trained network → files for every engine and size, kept only when they find what it finds.

Nothing is written to a bundle before every artifact has run in its real engine and passed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefer.bundle import DetectorBundle, Size, size_name, write_bundle
from edgefer.errors import ExportError
from edgefer.optimize import rewrite, worker
from edgefer.optimize.detect import plan, scenes
from edgefer.optimize.detect.convert import DetectConverted, DetectJob, convert, sizes
from edgefer.optimize.detect.judge import DetectChoice
from edgefer.optimize.detect.plan import DetectPlan
from edgefer.optimize.detect.verify import DetectParity, refusals, verify
from edgefer.optimize.stored import artifacts_of
from edgefer.train.scenes import Scene


@dataclass(frozen=True)
class DetectExport:
    """The written bundle, and how each new artifact compares with the trained network."""

    bundle: DetectorBundle
    parities: tuple[DetectParity, ...]
    choices: tuple[DetectChoice, ...] = ()
    """How the ways to calibrate compare."""
    skipped: tuple[str, ...] = ()
    """Artifacts that were there already and are what they were."""
    macs: Mapping[Size, int] | None = None
    parameters: int | None = None


def export_detector(
    bundle: DetectorBundle,
    train: Sequence[Scene],
    validation: Sequence[Scene],
    wanted: DetectPlan = DetectPlan(),  # noqa: B008 - frozen
    *,
    out: Path | None = None,
    force: bool = False,
    listener: worker.Listener | None = None,
) -> DetectExport:
    """Export the trained network of `bundle`, in place or to a new bundle `out`.

    `train` gives the scenes for calibration, `validation` (never the test split) those for the gate. In place, what the
    bundle holds stays; an artifact of that format, precision and size is left alone unless `force`.

    Raises ExportError when the weights are missing, a picture cannot be read, the conversion fails or an artifact is
    refused; MissingDependencyError when a converter or an engine is not installed;
    BundleError when the bundle cannot be read or written. The bundle is then what it was.
    """
    listen = listener or (lambda message: None)
    plan.check(wanted, bundle)
    missing, skipped = rewrite.divided(bundle, wanted.artifacts, out, force)
    if not missing:
        return DetectExport(bundle, (), skipped=skipped)
    if not any(len(scene.boxes) for scene in validation):
        raise ExportError("no validation scene has a face: nothing can be compared; give scenes with faces")
    calibration, choosing = scenes.divided(train, wanted.calibration, wanted.seed)
    job = DetectJob(
        name=bundle.architecture,
        weights=plan.weights(bundle),
        calibration=calibration,
        choosing=choosing,
        verification=validation,
        artifacts=missing,
        settings=wanted,
    )
    converted = convert(job, listen)
    parities = _gate(bundle, converted, validation, wanted.max_drop, listen)
    target = bundle.path if out is None else out
    listen({"say": f"writing {target}"})
    measured = {p.artifact: _entry(p, converted, wanted, len(calibration)) for p in parities}
    written = rewrite.write(bundle, target, converted.files, measured)
    return DetectExport(written, parities, converted.choices, skipped, converted.macs, converted.parameters)


def _gate(
    bundle: DetectorBundle,
    converted: DetectConverted,
    validation: Sequence[Scene],
    max_drop: float,
    listen: worker.Listener,
) -> tuple[DetectParity, ...]:
    """Run each artifact in its engine; raises ExportError that names every one that is refused."""
    artifacts, contents = artifacts_of(converted.files)
    parities: dict[Size, list[DetectParity]] = {}
    with tempfile.TemporaryDirectory(prefix="edgefer-verify-") as folder:
        candidate = write_bundle(replace(bundle, path=Path(folder) / "candidate", artifacts=artifacts), contents)
        for size in sizes(tuple(converted.files)):
            listen({"say": f"checking {size_name(size)} in its engines on {len(validation)} scenes"})
            parities[size] = verify(candidate, size, validation, converted.trained[size], max_drop)
    if refused := refusals(parities):
        raise ExportError(
            f"refused, measured on {len(validation)} scenes: {refused}. Try another --calibrate, leave a layer float"
            " with --keep-float, or allow more with --max-drop. Nothing was written"
        )
    return tuple(p for one in parities.values() for p in one)


def _entry(parity: DetectParity, converted: DetectConverted, wanted: DetectPlan, calibrated: int) -> dict[str, Any]:
    """Return an artifact's entry for the manifest; that of int8 says how it came to be."""
    entry = parity.as_metrics()
    if parity.precision == "int8":
        choices = [choice for choice in converted.choices if choice.size == parity.size]
        scenes_of = {"calibration_scenes": min(calibrated, scenes.enough(parity.size))}
        entry["quantisation"] = rewrite.quantisation(parity.format, choices, wanted, scenes_of)
    return entry
