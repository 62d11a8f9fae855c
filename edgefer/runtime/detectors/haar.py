"""OpenCV's frontal-face Haar cascade: no download, no model file of ours, fast on a small board."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgefer.errors import DetectorError
from edgefer.preprocess import Box, Pixels
from edgefer.runtime.frames import Face, FaceDetector

CASCADE = "haarcascade_frontalface_default.xml"


class Haar:
    """Finds upright frontal faces on a grey copy whose longer side is at most `max_side` pixels."""

    def __init__(
        self, max_side: int = 640, scale_factor: float = 1.15, min_neighbours: int = 5, min_face: float = 0.08
    ) -> None:
        """Open the cascade; `min_face` is the smallest face as a fraction of the picture's shorter side.

        Raises DetectorError when this OpenCV has no cascade.
        """
        folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
        path = Path(folder) / CASCADE
        if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
            raise DetectorError(
                f"OpenCV {cv2.__version__} has no {CASCADE}: pip install 'opencv-python-headless>=4.10,<5'"
            )
        try:
            self._cascade = cv2.CascadeClassifier(str(path))
            broken = self._cascade.empty()
        except (cv2.error, SystemError):  # the latter is how its constructor reports the former
            broken = True
        if broken:
            raise DetectorError(f"{path} cannot be read as a cascade: install opencv-python-headless again")
        self._max_side = max_side
        self._scale_factor = scale_factor
        self._min_neighbours = min_neighbours
        self._min_face = min_face

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in `image`, uint8 BGR [h, w, 3], from left to right."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        scale = max(1.0, max(grey.shape) / self._max_side)
        if scale > 1:
            size = (max(1, round(grey.shape[1] / scale)), max(1, round(grey.shape[0] / scale)))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        smallest = max(24, round(min(grey.shape) * self._min_face))
        found = self._cascade.detectMultiScale(
            cv2.equalizeHist(grey), self._scale_factor, self._min_neighbours, minSize=(smallest, smallest)
        )
        boxes = [Box(*(round(float(v) * scale) for v in row)) for row in np.asarray(found).reshape(-1, 4)]
        boxes = [box for box in boxes if not any(_within(box, other) for other in boxes)]
        return [Face(box) for box in sorted(boxes, key=lambda box: (box.x, box.y))]


def open_detector() -> FaceDetector:
    """Return the detector with its usual settings."""
    return Haar()


def _within(box: Box, other: Box) -> bool:
    """Return whether the middle of `box` lies in the larger `other`: an eye or a mouth taken for a face."""
    x, y = box.x + box.width / 2, box.y + box.height / 2
    larger = other.width > box.width
    return larger and 0 <= x - other.x <= other.width and 0 <= y - other.y <= other.height
