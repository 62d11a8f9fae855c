"""The parity gate of detectors: each artifact runs in its real engine and must find what the trained network finds."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgefer.average_precision import Detection, Picture, compare, measure
from edgefer.bundle import Artifact, DetectorBundle, Size, size_name
from edgefer.errors import ExportError
from edgefer.grid import Found, decode
from edgefer.optimize import exporters
from edgefer.optimize.detect.agree import Agreement, agree
from edgefer.optimize.detect.scenes import Shown, shown
from edgefer.optimize.verify import latency_ms
from edgefer.runtime import engines
from edgefer.train.detect.fit import LEAST_FACE, LEAST_SCORE
from edgefer.train.scenes import Scene

MIN_AGREEMENT = {"int8": 90.0, "dynamic": 90.0, "fp16": 99.0, "fp32": 99.5}
"""Percent of sure finds that must be in both, by precision.

Rounding moves finds that were nearly undecided over the threshold, but they stay: what is gone, or has come from
nowhere, is counted here. Average precision is what --max-drop holds; this bound is there for the case that a broken
model happens to score alike.
"""
TIMED = 16
"""Pictures that the time for one is taken on."""


@dataclass(frozen=True)
class DetectParity:
    """How one artifact in one engine compares with the trained network on the same scenes at the same size."""

    artifact: str
    """Its path in the bundle."""
    format: str
    precision: str
    size: Size
    engine: str
    engine_version: str
    provider: str
    measured: Detection
    """Of faces from `LEAST_FACE` pixels of the network's picture."""
    parent_average_precision: float
    drop_points: float
    """Parent's average precision minus the artifact's, in percentage points."""
    drop_ci95: tuple[float, float]
    """By a bootstrap over the scenes."""
    agreement: Agreement
    bytes: int
    gzip_bytes: int
    latency_ms: float
    """Median for one picture on one thread of this machine, from a short run: to compare with those beside it."""
    passed: bool
    reason: str
    """Why it was refused; empty when it passed."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return vars(self) | {"measured": self.measured.as_dict(), "agreement": vars(self.agreement)}

    def as_metrics(self) -> dict[str, Any]:
        """Return its entry for the manifest."""
        found = self.measured
        return {
            "split": "validation",
            "n": found.pictures,
            "faces": found.faces,
            "smallest_face": LEAST_FACE,
            "average_precision": found.average_precision,
            "ci95": list(found.ci95),
            "threshold": found.threshold,
            "recall": found.recall,
            "precision": found.precision,
            "false_in_empty": found.false_in_empty,
            "empty": found.empty,
            "drop_points": self.drop_points,
            "drop_ci95": list(self.drop_ci95),
            "agreement_with_float": self.agreement.share,
            "mean_iou_with_float": self.agreement.mean_iou,
            "max_score_difference_from_float": self.agreement.max_score_difference,
            "landmark_difference_from_float": self.agreement.landmark_difference,
            "engine": self.engine,
            "engine_version": self.engine_version,
            "provider": self.provider,
        }


def verify(
    bundle: DetectorBundle, size: Size, scenes: Sequence[Scene], trained: Sequence[Found], max_drop: float
) -> list[DetectParity]:
    """Run every artifact of `bundle` for pictures of `size` in its engine and compare it with what was `trained`.

    A refusal is in the result, not an exception. Raises ExportError when the trained network finds no face itself,
    MissingDependencyError, EngineError, BundleError, DataError.
    """
    artifacts = [a for a in bundle.artifacts if a.size == size]
    found: dict[str, list[Found]] = {a.path: [] for a in artifacts}
    finite = dict.fromkeys(found, True)
    seen: list[Shown] = []
    timed: list[Any] = []
    with contextlib.ExitStack() as stack:
        opened = {a.path: _open(stack, bundle, a) for a in artifacts}
        for one in shown(scenes, size):
            for path, engine in opened.items():
                grid = engine.run(one.pixels[None])[0]
                finite[path] &= bool(np.isfinite(grid).all())
                found[path].append(decode(grid, LEAST_SCORE))
            if len(timed) < TIMED:
                timed.append(one.pixels)
            seen.append(replace(one, pixels=np.empty(0, np.uint8)))  # there may be many
        details = {path: _Run(e.version, e.provider, latency_ms(e, np.stack(timed))) for path, e in opened.items()}
    judged = [one.judged(finds) for one, finds in zip(seen, trained, strict=True)]
    parent = measure(judged, min_size=LEAST_FACE, draws=0, threshold=bundle.threshold)
    if not parent.average_precision:
        raise ExportError(
            f"on pictures of {size_name(size)} the trained network finds none of {parent.faces} validation faces of"
            f" {LEAST_FACE:g} pixels and more: nothing can be compared. Train it longer, or give scenes with faces"
        )
    return [
        _parity(bundle, a, details[a.path], seen, found[a.path], trained, judged, parent, max_drop, finite[a.path])
        for a in artifacts
    ]


@dataclass(frozen=True)
class _Run:
    version: str
    provider: str
    latency_ms: float


def _open(stack: contextlib.ExitStack, bundle: DetectorBundle, artifact: Artifact) -> engines.Engine:
    engine = engines.open_artifact(bundle, artifact, exporters.load(artifact.format).ENGINE).engine
    stack.callback(engine.close)
    return engine


def _parity(
    bundle: DetectorBundle,
    artifact: Artifact,
    run: _Run,
    seen: Sequence[Shown],
    found: Sequence[Found],
    trained: Sequence[Found],
    judged: Sequence[Picture],
    parent: Detection,
    max_drop: float,
    finite: bool,
) -> DetectParity:
    pictures = [one.judged(finds) for one, finds in zip(seen, found, strict=True)]
    compared = compare(pictures, judged, min_size=LEAST_FACE)
    agreement = agree(found, trained, bundle.threshold)
    drop = -100 * compared.difference
    assert artifact.size is not None
    reason = _refusal(artifact.precision, agreement, drop, max(max_drop, 100 / parent.faces), finite)
    contents = b"".join(bundle.read(file) for file in (artifact.file, *artifact.companions))
    return DetectParity(
        artifact=artifact.path,
        format=artifact.format,
        precision=artifact.precision,
        size=artifact.size,
        engine=exporters.load(artifact.format).ENGINE,
        engine_version=run.version,
        provider=run.provider,
        measured=measure(pictures, min_size=LEAST_FACE, threshold=bundle.threshold),
        parent_average_precision=parent.average_precision,
        drop_points=drop,
        drop_ci95=(-100 * compared.difference_ci95[1], -100 * compared.difference_ci95[0]),
        agreement=agreement,
        bytes=len(contents),
        gzip_bytes=len(gzip.compress(contents, 9)),
        latency_ms=run.latency_ms,
        passed=not reason,
        reason=reason,
    )


def _refusal(precision: str, agreement: Agreement, drop: float, max_drop: float, finite: bool) -> str:
    """Return why an artifact is refused, or nothing."""
    if not finite:
        return "gives numbers that are not finite"
    if drop > max_drop + 1e-9:
        return f"loses {drop:.2f} points of average precision; at most {max_drop:.2g} are allowed"
    least = MIN_AGREEMENT[precision]
    # One find of a few is no evidence.
    if 100 * agreement.share < least - 1e-9 and agreement.n * (1 - agreement.share) > 1 + 1e-9:
        return f"shares {100 * agreement.share:.1f} % of the sure finds with its network only; {least:g} % are needed"
    return ""


def refusals(parities: Mapping[Size, Sequence[DetectParity]]) -> str:
    """Return one line that names every refused artifact and why; nothing when all passed."""
    return "; ".join(
        f"{p.artifact} in {p.engine} {p.reason} (95 % of the loss: {p.drop_ci95[0]:.2f} to {p.drop_ci95[1]:.2f})"
        for one in parities.values()
        for p in one
        if not p.passed
    )
