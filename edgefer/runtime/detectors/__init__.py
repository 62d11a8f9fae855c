"""Face detectors: one file each, imported only when asked for by name.

A detector is a module with `open_detector(model, continuous) -> FaceDetector`, which raises DetectorError for a model
that it cannot use.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from edgefer import plugins
from edgefer.errors import DetectorError
from edgefer.runtime.frames import FaceDetector


def open_detector(name: str = "haar", model: Path | None = None, *, continuous: bool = False) -> FaceDetector:
    """Return the detector called `name`, ready; raises DetectorError when there is none or it cannot be opened.

    `model` is a file for detectors that need one; without it they use the one that `edgefer models pull` fetched.
    `continuous` promises that every picture follows the one before, as in a video or from a camera: a detector may then
    remember where faces were, so each stream needs its own.
    """
    module = plugins.load(__name__, name, DetectorError, "face detector")
    return cast(FaceDetector, module.open_detector(model, continuous))
