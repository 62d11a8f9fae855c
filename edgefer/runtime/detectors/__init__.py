"""Face detectors: one file each, imported only when asked for by name.

A detector is a module with `open_detector() -> FaceDetector`.
"""

from __future__ import annotations

from typing import cast

from edgefer import plugins
from edgefer.errors import DetectorError
from edgefer.runtime.frames import FaceDetector


def open_detector(name: str = "haar") -> FaceDetector:
    """Return the detector called `name`, ready; raises DetectorError when there is none or it cannot be opened."""
    return cast(FaceDetector, plugins.load(__name__, name, DetectorError, "face detector").open_detector())
