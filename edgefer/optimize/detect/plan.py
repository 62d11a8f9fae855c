"""What the export of a detector shall do, and what it is refused for at once instead of after minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgefer.bundle import DetectorBundle, Size, size_name
from edgefer.errors import ExportError
from edgefer.letterbox import SIZES
from edgefer.manifest import MAX_SIDE, SIDE_STEP
from edgefer.optimize.detect.convert import Made
from edgefer.optimize.plan import BasePlan, check_values
from edgefer.train.detect.network import VARIANTS

MIN_SIDE = 32
"""Pixels: the network halves its picture five times."""


@dataclass(frozen=True, kw_only=True)
class DetectPlan(BasePlan):
    """Artifacts of a detector to make, and how."""

    sizes: tuple[Size, ...] = SIZES

    @property
    def artifacts(self) -> list[Made]:
        """Return every (format, precision, size) asked for."""
        return [(f, p, size) for size in self.sizes for p in self.precisions for f in self.formats]


def check(plan: DetectPlan, bundle: DetectorBundle) -> None:
    """Raise ExportError for a plan that cannot work, MissingDependencyError for a package that it needs."""
    check_values(plan)
    if not plan.sizes:
        raise ExportError("nothing to export: name a size, such as --size 320x240")
    for size in plan.sizes:
        if not all(MIN_SIDE <= side <= MAX_SIDE and side % SIDE_STEP == 0 for side in size):
            raise ExportError(
                f"a detector's picture has sides that are multiples of {SIDE_STEP}, {MIN_SIDE} to {MAX_SIDE}, found"
                f" {size_name(size)}"
            )
    if bundle.architecture not in VARIANTS:
        raise ExportError(
            f"{bundle.path}: the detector {bundle.architecture!r} is not known; known are {', '.join(VARIANTS)}"
        )


def weights(bundle: DetectorBundle) -> bytes:
    """Return the trained weights of a bundle, checked against the manifest; raises ExportError when it has none."""
    for artifact in bundle.artifacts:
        if (artifact.format, artifact.precision) == ("keras", "fp32") and artifact.path.endswith(".weights.h5"):
            return bundle.read(artifact.file)
    raise ExportError(
        f"{bundle.path} holds no trained weights (a keras artifact, .weights.h5), which an export starts from;"
        " export the bundle that edgefer train --task detect wrote"
    )


def parse_size(text: str) -> Size:
    """Return height and width of a size as people write it, width first: 320x240; raises ExportError."""
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not found:
        raise ExportError(f"a size is WIDTHxHEIGHT, such as 320x240, found {text[:40]!r}")
    return int(found[2]), int(found[1])
