"""What the export of a detector shall do, and what it is refused for at once instead of after minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from edgefer.bundle import DetectorBundle, Size, size_name
from edgefer.errors import ExportError
from edgefer.manifest import MAX_SIDE, SIDE_STEP
from edgefer.optimize import plan as classifiers
from edgefer.optimize.convert import FORMATS, METHODS
from edgefer.optimize.detect.files import Made
from edgefer.train.detect.network import VARIANTS

SIZES: tuple[Size, ...] = ((120, 160), (240, 320), (480, 640))
"""Height and width of the pictures that files are made for when none are named."""
CALIBRATION_SCENES = 512
MIN_SIDE = 32
"""Pixels: the network halves its picture five times."""
MAX_DROP = 0.5
"""Points of average precision that an artifact may lose."""


@dataclass(frozen=True)
class DetectPlan:
    """Artifacts of a detector to make, and how; fields as in `edgefer.optimize.plan.Plan`."""

    formats: tuple[str, ...] = FORMATS
    precisions: tuple[str, ...] = ("fp32", "int8")
    sizes: tuple[Size, ...] = SIZES
    methods: tuple[str, ...] = METHODS
    """Ways to calibrate int8, to choose from."""
    own: bool = False
    keep_float: tuple[str, ...] = ()
    max_drop: float = MAX_DROP
    """Points of average precision that each artifact may lose against the trained network at the same size."""
    calibration: int = CALIBRATION_SCENES
    opset: int = 17
    batch: int | None = None
    seed: int = 0

    @property
    def artifacts(self) -> list[Made]:
        """Return every (format, precision, size) asked for."""
        return [(f, p, size) for size in self.sizes for p in self.precisions for f in self.formats]


def check(plan: DetectPlan, bundle: DetectorBundle) -> None:
    """Raise ExportError for a plan that cannot work, MissingDependencyError for a package that it needs."""
    classifiers.check_values(
        classifiers.Plan(**{f.name: getattr(plan, f.name) for f in fields(plan) if f.name != "sizes"})
    )
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
