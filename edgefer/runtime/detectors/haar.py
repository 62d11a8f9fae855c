"""OpenCV's frontal-face Haar cascade: no download, no model file of ours, fast on a small board.

What a cascade costs is the area that it searches. So in a video only the surroundings of the faces of the frame before
are searched, and the whole frame every `RESCAN` searches, or at once when a face is not found again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.errors import DetectorError
from edgefer.preprocess import Box, Pixels
from edgefer.runtime.frames import Face, FaceDetector
from edgefer.runtime.tracker import overlap

CASCADE = "haarcascade_frontalface_default.xml"
WINDOW = 24
"""Pixels: the smallest face that the cascade knows."""
RESCAN = 15
"""Pictures given to `detect` from one search of the whole frame to the next, at most.

Only frames that are looked at count: with `--detect-every N` there may be 15·N frames between.
"""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Search:
    """How a whole picture is searched; docs/detectors.md has what each choice costs and finds."""

    max_side: int
    """The longer side, in pixels, that the picture is scaled down to."""
    min_face: float
    """The smallest face, as a fraction of the shorter side."""
    step: float = 1.15
    """From one size of face to the next."""
    neighbours: int = 4
    """Overlapping finds that make a face."""


PICTURES = Search(max_side=640, min_face=0.05)
VIDEO = Search(max_side=320, min_face=0.08)


class Haar:
    """Finds upright frontal faces in pictures that have nothing to do with one another."""

    def __init__(self, search: Search = PICTURES) -> None:
        """Open the cascade; raises DetectorError when this OpenCV has none."""
        self._cascade = _open_cascade()
        self._search = search

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in `image`, uint8 BGR [h, w, 3], from left to right."""
        return _in_order(self.whole(image))

    def forget(self) -> None:
        """Nothing is remembered."""

    def whole(self, image: Pixels) -> list[Box]:
        """Search the whole picture."""
        grey, scale, smallest = self._sought(image)
        found = self._cascade.detectMultiScale(grey, self._search.step, self._search.neighbours, minSize=smallest)
        return _boxes(found, scale, 0, 0, image)

    def find(self, image: Pixels, neighbours: int) -> tuple[Floats, Floats]:
        """Return the boxes [k, 4] of all finds of so many neighbours, in pixels of `image`, and their weights [k].

        For evaluation, and slower than `detect`: OpenCV's weight says how far a find got beyond the threshold of its
        last stage.
        """
        grey, scale, smallest = self._sought(image)
        boxes, _, weights = self._cascade.detectMultiScale3(
            grey, self._search.step, neighbours, minSize=smallest, outputRejectLevels=True
        )
        return np.array(boxes, np.float32).reshape(-1, 4) * np.float32(scale), np.array(weights, np.float32).reshape(-1)

    def _sought(self, image: Pixels) -> tuple[Pixels, float, tuple[int, int]]:
        """Return the picture as it is searched, how much smaller it is, and the smallest face there."""
        grey, scale = _grey(image, max(image.shape[:2]) / self._search.max_side)
        side = max(WINDOW, round(min(grey.shape) * self._search.min_face))
        return grey, scale, (side, side)

    def near(self, image: Pixels, known: Box) -> Box | None:
        """Search about where a face was a moment ago, for one of about its size; None when it is not found."""
        reach = round(known.width * _REACH)
        left, top = max(0, known.x - reach), max(0, known.y - reach)
        cut = image[top : known.y + known.height + reach, left : known.x + known.width + reach]
        grey, scale = _grey(cut, known.width / _NEAR_SIDE)
        side = known.width / scale
        sizes = [round(side * factor) for factor in _NEAR_SIZES]
        for step in _NEAR_STEPS:
            found = self._cascade.detectMultiScale(
                grey, step, _NEAR_NEIGHBOURS, minSize=(sizes[0], sizes[0]), maxSize=(sizes[1], sizes[1])
            )
            if boxes := _boxes(found, scale, left, top, image):
                return max(boxes, key=lambda box: overlap(box, known))
        return None


_REACH = 0.25  # of the face's width: how far it may have moved
_NEAR_SIDE = 34  # pixels that the face's side is scaled down to
_NEAR_SIZES = (0.85, 1.2)  # of the face's side: how much it may have grown or shrunk
_NEAR_STEPS = (1.1, 1.04)  # the finer one, which costs twice as much, when the coarser one finds nothing
_NEAR_NEIGHBOURS = 2


class HaarInVideo:
    """Finds upright frontal faces in pictures of which each follows the one before."""

    def __init__(self, search: Search = VIDEO, rescan: int = RESCAN) -> None:
        """Open the cascade; raises DetectorError when this OpenCV has none."""
        self._haar = Haar(search)
        self._rescan = rescan
        self._known: list[Box] = []
        self._shape: tuple[int, ...] = ()
        self._since = 0

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in `image`, uint8 BGR [h, w, 3], from left to right."""
        self._since += 1
        if image.shape != self._shape:
            self._shape, self._known = image.shape, []
        found = self._again(image)
        if not self._known or len(found) < len(self._known) or self._since >= self._rescan:
            whole = self._haar.whole(image)
            found = whole + [box for box in found if not any(overlap(box, other) > _SAME for other in whole)]
            self._since = 0
        faces = _in_order(found)
        self._known = [face.box for face in faces]
        return faces

    def forget(self) -> None:
        """Know no face any more."""
        self._known = []

    def _again(self, image: Pixels) -> list[Box]:
        """Return the faces of the frame before that are found again, where they are now."""
        found: list[Box] = []
        for known in self._known:
            box = self._haar.near(image, known)
            if box is not None and not any(overlap(box, other) > _SAME for other in found):
                found.append(box)
        return found


_SAME = 0.3  # intersection over union of two finds that are one face


def open_detector(model: Path | None, continuous: bool) -> FaceDetector:
    """Return the detector for videos or for pictures; raises DetectorError for a model, or without a cascade."""
    if model is not None:
        raise DetectorError(f"detector haar takes no model, found {model}: leave it out, or choose --detector yunet")
    return HaarInVideo() if continuous else Haar()


def _open_cascade() -> cv2.CascadeClassifier:
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    path = Path(folder) / CASCADE
    if not hasattr(cv2, "CascadeClassifier") or not path.is_file():
        raise DetectorError(f"OpenCV {cv2.__version__} has no {CASCADE}: pip install 'opencv-python-headless>=4.10,<5'")
    try:
        cascade = cv2.CascadeClassifier(str(path))
        broken = cascade.empty()
    except (cv2.error, SystemError):  # the latter is how its constructor reports the former
        broken = True
    if broken:
        raise DetectorError(f"{path} cannot be read as a cascade: install opencv-python-headless again")
    return cascade


def _grey(image: Pixels, shrink: float) -> tuple[Pixels, float]:
    """Return a picture in grey, smaller by `shrink` if that is above 1, with its contrast raised; and by how much.

    The contrast is halfway between the picture's own and that of an even histogram: the one alone loses dark faces, the
    other takes grain for faces.
    """
    scale = max(1.0, shrink)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if scale > 1:
        size = (max(1, round(grey.shape[1] / scale)), max(1, round(grey.shape[0] / scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return cv2.addWeighted(grey, 0.5, cv2.equalizeHist(grey), 0.5, 0).astype(np.uint8, copy=False), scale


def _boxes(found: object, scale: float, left: int, top: int, image: Pixels) -> list[Box]:
    """Return finds in a part of a picture, whose corner was at `left` and `top`, as boxes inside the picture."""
    height, width = image.shape[:2]
    boxes = []
    for x, y, w, h in np.asarray(found, np.float64).reshape(-1, 4):
        x0, y0 = left + round(x * scale), top + round(y * scale)
        x1, y1 = min(left + round((x + w) * scale), width), min(top + round((y + h) * scale), height)
        boxes.append(Box(x0, y0, x1 - x0, y1 - y0))
    return boxes


def _in_order(boxes: list[Box]) -> list[Face]:
    boxes = [box for box in boxes if not any(_within(box, other) for other in boxes)]
    return [Face(box) for box in sorted(boxes, key=lambda box: (box.x, box.y))]


def _within(box: Box, other: Box) -> bool:
    """Return whether the middle of `box` lies in the larger `other`: an eye or a mouth taken for a face."""
    x, y = box.x + box.width / 2, box.y + box.height / 2
    larger = other.width > box.width
    return larger and 0 <= x - other.x <= other.width and 0 <= y - other.y <= other.height
