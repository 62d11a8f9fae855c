"""Face detectors: one file each, imported only when asked for by name.

A detector is a module with `open_detector(model, continuous) -> FaceDetector`, which raises DetectorError for a model
that it cannot use. One that can be told at what size to look has those widths in `SIZES`, and takes one more argument.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from edgefer import plugins
from edgefer.errors import DetectorError
from edgefer.runtime.frames import FaceDetector

DEFAULT = "edge"
"""The detector that is taken when none is named."""


def open_detector(
    name: str = DEFAULT, model: Path | None = None, *, continuous: bool = False, size: int | None = None
) -> FaceDetector:
    """Return the detector called `name`, ready; raises DetectorError when there is none or it cannot be opened.

    `model` is a file, or for `edge` a bundle, for detectors that need one or can take another; without it they use the
    one that ships, or that `edgefer models pull` fetched.
    `continuous` promises that every picture follows the one before, as in a video or from a camera: a detector may then
    remember where faces were, so each stream needs its own.
    `size` is the width that pictures are brought to before they are looked at; without it the detector chooses.
    """
    module = plugins.load(__name__, name, DetectorError, "face detector")
    if size is None:
        return cast(FaceDetector, module.open_detector(model, continuous))
    sizes: tuple[int, ...] = getattr(module, "SIZES", ())
    if size not in sizes:
        choice = f"choose one of: {', '.join(map(str, sizes))}" if sizes else "leave --detector-size out"
        raise DetectorError(f"detector {name} cannot be told to look at pictures {size} pixels wide: {choice}")
    return cast(FaceDetector, module.open_detector(model, continuous, size))
