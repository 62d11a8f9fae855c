"""From pixels to the model's input: the only code that does it, for data sets, calibration, parity and the camera."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import BundleError
from edgefer.imagesize import pnm_maximum, size_of

Pixels = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".pgm", ".ppm", ".tif", ".tiff"})
MAX_PICTURE_PIXELS = 100_000_000
MAX_PICTURE_BYTES = 200_000_000


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of a picture; it may stick out of it."""

    x: int
    y: int
    width: int
    height: int


Eyes = tuple[tuple[float, float], tuple[float, float]]
"""The middles of both eyes in pixels of a picture, (x, y); first the one that is left when the face is upright."""

MIN_TILT = 5.0
"""Degrees that the line between the eyes may be off level: less is left alone, as it is in the data of training."""


@dataclass(frozen=True)
class Preprocess:
    """Picture (and face box) → uint8 [size, size, 1], grey levels 0–255; normalisation is inside the model."""

    size: int = 48
    margin: float = 0.0
    """How much the face box is widened on every side, as a fraction of it."""
    method: str = "grey-area-v1"
    """Names this code, so that a bundle can tell that it was made with it."""

    def __call__(self, picture: Pixels, box: Box | None = None, eyes: Eyes | None = None) -> Pixels:
        """Return the input of the model for one face.

        `picture` is uint8 [h, w] grey, [h, w, 1] grey or [h, w, 3] BGR, as OpenCV gives it; without `box` the whole
        picture is the face. A picture that is already grey and of the right size comes through unchanged. A face whose
        `eyes` stand more than MIN_TILT off level, up to upside down, is turned upright about the middle of the box.
        """
        import cv2

        angle = tilt(eyes) if eyes is not None else 0.0
        if abs(angle) > MIN_TILT:
            picture = self._turned(picture, box or Box(0, 0, picture.shape[1], picture.shape[0]), angle)
        elif box is not None:
            picture = self._crop(picture, box)
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[:, :, 0]
        height, width = picture.shape[:2]
        if (height, width) != (self.size, self.size):
            shrinks = height >= self.size and width >= self.size
            picture = cv2.resize(
                picture, (self.size, self.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            ).astype(np.uint8, copy=False)
        if picture.ndim == 3:
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
        return picture[:, :, None]

    def _turned(self, picture: Pixels, box: Box, angle: float) -> Pixels:
        """Return the widened box of a picture turned back by `angle` degrees about its middle, the border repeated."""
        import cv2

        dx, dy = round(box.width * self.margin), round(box.height * self.margin)
        width, height = box.width + 2 * dx, box.height + 2 * dy
        reach = math.ceil(math.hypot(width, height) / 2) + 2
        middle = (box.x + box.width / 2 - 0.5, box.y + box.height / 2 - 0.5)  # where pixel 0 reaches from -0.5 to 0.5
        top, bottom = _span(middle[1], reach, picture.shape[0])
        left, right = _span(middle[0], reach, picture.shape[1])
        turn = cv2.getRotationMatrix2D((middle[0] - left, middle[1] - top), angle, 1.0)
        turn[:, 2] += left - (box.x - dx), top - (box.y - dy)
        return cv2.warpAffine(
            np.ascontiguousarray(picture[top:bottom, left:right]),
            turn,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.uint8, copy=False)

    def _crop(self, picture: Pixels, box: Box) -> Pixels:
        """Return the widened box, with the border repeated where it sticks out of the picture."""
        dx, dy = round(box.width * self.margin), round(box.height * self.margin)
        rows = np.arange(box.y - dy, box.y + box.height + dy).clip(0, picture.shape[0] - 1)
        columns = np.arange(box.x - dx, box.x + box.width + dx).clip(0, picture.shape[1] - 1)
        inside = rows[0] == box.y - dy and rows[-1] == box.y + box.height + dy - 1
        inside = inside and columns[0] == box.x - dx and columns[-1] == box.x + box.width + dx - 1
        cut: npt.NDArray[np.uint8]
        if inside:
            cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        else:
            cut = picture[rows[:, None], columns[None, :]]
        return cut

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocess:
        """Return the preprocessing that a manifest names; raises BundleError for one that this version lacks."""
        try:
            preprocess = cls(int(data["size"]), float(data["margin"]), str(data["method"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"manifest: preprocess is malformed: {error!r}") from error
        if preprocess.method != cls.method:
            raise BundleError(
                f"manifest: preprocessing {preprocess.method!r} is not known to this version, which has {cls.method!r}"
            )
        if not 8 <= preprocess.size <= 512 or not 0 <= preprocess.margin <= 1:
            raise BundleError(f"manifest: preprocessing out of range: {preprocess}")
        return preprocess


def tilt(eyes: Eyes) -> float:
    """Return by how many degrees a face is turned clockwise as one looks at the picture, -180 to 180."""
    (left_x, left_y), (right_x, right_y) = eyes
    return math.degrees(math.atan2(right_y - left_y, right_x - left_x))


def _span(middle: float, reach: int, size: int) -> tuple[int, int]:
    """Return the part of a side of `size` pixels within `reach` of `middle`: one pixel at least."""
    start = min(max(math.floor(middle) - reach, 0), size - 1)
    return start, min(max(math.ceil(middle) + reach + 1, start + 1), size)


def read_picture(path: Path) -> Pixels | None:
    """Return a picture as uint8 BGR [h, w, 3], or None when it cannot be read, is cut off or is beyond all measure.

    The file is read in one go with its size bounded, and decoded from memory, so any path name works. What its header
    says is looked at before it is decoded: JPEG, PNG, BMP, WebP, TIFF and PNM, whatever the file is called. Grey gets
    three equal channels, 16 bits are scaled to 8, a rotation noted by the camera (EXIF) is done, and alpha is dropped:
    what is under it is read as it is stored.
    """
    import cv2

    try:
        if not path.is_file() or path.stat().st_size > MAX_PICTURE_BYTES:  # a pipe or device would wait or never end
            return None
        data = path.read_bytes()
        size = size_of(data)
        if size is None or size[0] * size[1] > MAX_PICTURE_PIXELS:
            return None
        coded = np.frombuffer(data, np.uint8)
        white = pnm_maximum(data)
        if white in (None, 255, 65_535):
            picture = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        else:  # OpenCV takes the values as they are
            raw = cv2.imdecode(coded, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            picture = None if raw is None else (np.minimum(raw, white) * np.float32(255 / white) + 0.5)
    except (OSError, ValueError, cv2.error):
        return None
    return None if picture is None else picture.astype(np.uint8, copy=False)
