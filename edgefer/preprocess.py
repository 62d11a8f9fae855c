"""From pixels to the model's input: the only code that does it, for data sets, calibration, parity and the camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import BundleError

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


@dataclass(frozen=True)
class Preprocess:
    """Picture (and face box) → uint8 [size, size, 1], grey levels 0–255; normalisation is inside the model."""

    size: int = 48
    margin: float = 0.0
    """How much the face box is widened on every side, as a fraction of it."""
    method: str = "grey-area-v1"
    """Names this code, so that a bundle can tell that it was made with it."""

    def __call__(self, picture: Pixels, box: Box | None = None) -> Pixels:
        """Return the input of the model for one face.

        `picture` is uint8 [h, w] grey, [h, w, 1] grey or [h, w, 3] BGR, as OpenCV gives it; without `box` the whole
        picture is the face. A picture that is already grey and of the right size comes through unchanged.
        """
        import cv2

        if box is not None:
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


def read_picture(path: Path) -> Pixels | None:
    """Return a picture as uint8 BGR [h, w, 3], or None when it cannot be read or is beyond all measure.

    The file is read in one go with its size bounded, and decoded from memory, so any path name works.
    """
    import cv2

    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            return None
        data = np.frombuffer(path.read_bytes(), np.uint8)
        if data.size == 0:
            return None
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None
    if picture is None or picture.shape[0] * picture.shape[1] > MAX_PICTURE_PIXELS:
        return None
    return picture.astype(np.uint8, copy=False)
