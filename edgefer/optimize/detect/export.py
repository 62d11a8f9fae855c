"""Export of a detector: a trained network → files for every engine and size, kept only when they find what it finds.

Nothing is written to a bundle before every artifact has run in its real engine and passed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefer import __version__, plugins
from edgefer.bundle import DetectorBundle, Size, size_name, write_bundle
from edgefer.errors import BundleError, ExportError
from edgefer.optimize import worker
from edgefer.optimize.convert import OWN_METHODS
from edgefer.optimize.detect import plan, scenes
from edgefer.optimize.detect.convert import DetectConverted, DetectJob, convert, sizes
from edgefer.optimize.detect.files import Made
from edgefer.optimize.detect.judge import DetectChoice
from edgefer.optimize.detect.plan import DetectPlan
from edgefer.optimize.detect.verify import DetectParity, refusals, verify
from edgefer.optimize.export import TOOLS, extras
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
    if out is not None and out.exists():
        raise BundleError(f"{out} exists; choose another name or remove it")
    found = {(a.format, a.precision, a.size): a.path for a in bundle.artifacts}
    there = set(found) if out is None and not force else set()
    missing = tuple(made for made in wanted.artifacts if made not in there)
    skipped = tuple(found[made] for made in wanted.artifacts if made in there)
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
        methods=wanted.methods,
        own=wanted.own,
        keep_float=wanted.keep_float,
        opset=wanted.opset,
        batch=wanted.batch,
    )
    converted = convert(job, listen)
    parities = _gate(bundle, converted, validation, wanted.max_drop, listen)
    target = bundle.path if out is None else out
    listen({"say": f"writing {target}"})
    written = _write(bundle, target, converted, parities, wanted, len(calibration))
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


def _write(
    bundle: DetectorBundle,
    target: Path,
    converted: DetectConverted,
    parities: Sequence[DetectParity],
    wanted: DetectPlan,
    calibrated: int,
) -> DetectorBundle:
    """Write the old bundle's contents with the new artifacts in the place of those that they replace."""
    new, contents = artifacts_of(converted.files)
    measured = {p.artifact: p.as_metrics() for p in parities}
    for made, artifact in zip(converted.files, new, strict=True):
        if artifact.precision == "int8":
            measured[artifact.path]["quantisation"] = _quantisation(made, converted, wanted, calibrated)
    kept = tuple(a for a in bundle.artifacts if (a.format, a.precision, a.size) not in converted.files)
    replaced = {a.path for a in bundle.artifacts} - {a.path for a in kept}
    metrics = {path: entry for path, entry in bundle.metrics.items() if path not in replaced}
    written = replace(
        bundle,
        path=target,
        artifacts=kept + new,
        metrics=metrics | measured,
        versions={**bundle.versions, "edgefer": __version__, **plugins.versions(TOOLS)},
        parent=bundle.parent if target == bundle.path else bundle.digest(),
    )
    old = {f.path: bundle.read(f) for a in kept for f in (a.file, *a.companions)}
    return write_bundle(written, {**extras(bundle), **old, **contents}, replace_existing=target == bundle.path)


def _quantisation(made: Made, converted: DetectConverted, wanted: DetectPlan, calibrated: int) -> dict[str, Any]:
    """Return how an int8 artifact came to be, for the manifest."""
    format, _, size = made
    judged = format if wanted.own else "tflite"
    chosen = [c for c in converted.choices if c.chosen and (c.format, c.size) == (judged, size)]
    known = [m for m in OWN_METHODS[format] if m in wanted.methods] if wanted.own else wanted.methods
    quantiser = f"{format}'s own" if wanted.own else "shared"
    found = {"method": chosen[0].method if chosen else known[0], "quantiser": quantiser}
    kept = {"keep_float": list(wanted.keep_float)} if wanted.keep_float else {}
    return {**found, "calibration_scenes": min(calibrated, scenes.enough(size)), **kept}
