"""No detection: the whole picture is one face, for pictures that are face crops already."""

from __future__ import annotations

from pathlib import Path

from edgefer.errors import DetectorError
from edgefer.preprocess import Box, Pixels
from edgefer.runtime.frames import Face, FaceDetector


class WholePicture:
    """Takes every picture for one face."""

    def detect(self, image: Pixels) -> list[Face]:
        """Return one face as large as `image`, uint8 [h, w, 3]."""
        height, width = image.shape[:2]
        return [Face(Box(0, 0, width, height))]

    def forget(self) -> None:
        """Nothing is remembered."""


def open_detector(model: Path | None, continuous: bool) -> FaceDetector:
    """Return the detector, which remembers nothing; raises DetectorError for a model."""
    if model is not None:
        raise DetectorError(f"detector none takes no model, found {model}: leave --detector-model out")
    return WholePicture()
