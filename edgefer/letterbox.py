"""From a frame to a face detector's input and back: the only code that does it, for training, parity and the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

METHOD = "grey-letterbox-v1"
"""Names this code, so that a bundle can tell that it was made with it."""
SIZES = ((120, 160), (240, 320), (480, 640))
"""Heights and widths of the pictures that faces are looked for in, unless other ones are asked for."""
LEAST_AGAIN = 24.0
"""Pixels of the picture that is looked at again, smaller: side, square root of the area, of the least face there."""
FILL = 114
"""Grey level beside and below the picture."""
AREA_BELOW = 0.5
"""Scale below which a pixel is the mean of those that it is made of; above, it is interpolated between four."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Placed:
    """Where a picture lies in the network's input: at the top left, scaled by these factors."""

    scale_x: float
    scale_y: float

    def halved(self) -> Placed:
        """Return where the picture lies in an input of half the size."""
        return Placed(self.scale_x / 2, self.scale_y / 2)

    def boxes(self, boxes: Floats) -> Floats:
        """Return boxes (x, y, width, height) [..., 4] of the input in pixels of the picture."""
        return np.divide(boxes, (self.scale_x, self.scale_y, self.scale_x, self.scale_y), dtype=np.float32)

    def points(self, points: Floats) -> Floats:
        """Return points (x, y) [..., 2] of the input in pixels of the picture."""
        return np.divide(points, (self.scale_x, self.scale_y), dtype=np.float32)


@dataclass(frozen=True)
class Letterbox:
    """Picture → uint8 [height, width, 1], grey levels 0–255; normalisation is inside the network."""

    height: int
    width: int

    def __call__(self, picture: Pixels) -> tuple[Pixels, Placed]:
        """Return the network's input for a picture, and where the picture lies in it.

        `picture` is uint8 [h, w] grey, [h, w, 1] grey or [h, w, 3] BGR, of any size. It is scaled by one factor until
        it fills the height or the width. A grey one of the right size comes through unchanged.
        """
        import cv2

        if picture.ndim == 3:
            picture = (
                picture[:, :, 0] if picture.shape[2] == 1 else _as_pixels(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
            )
        height, width = picture.shape
        scale = min(self.width / width, self.height / height)
        high = min(max(1, round(height * scale)), self.height)
        wide = min(max(1, round(width * scale)), self.width)
        if (high, wide) != (height, width):
            # Means over areas take six times as long, and show below half the size only.
            method = cv2.INTER_AREA if scale < AREA_BELOW else cv2.INTER_LINEAR
            picture = _as_pixels(cv2.resize(picture, (wide, high), interpolation=method))
        placed = Placed(wide / width, high / height)
        if (high, wide) == (self.height, self.width):
            return picture[:, :, None], placed
        canvas = np.full((self.height, self.width, 1), FILL, np.uint8)
        canvas[:high, :wide, 0] = picture
        return canvas, placed


def halved(pixels: Pixels) -> Pixels:
    """Return a network's input at half the size, uint8 [h / 2, w / 2, 1]: each pixel the mean of four."""
    import cv2

    height, width = pixels.shape[:2]
    return _as_pixels(cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA))[:, :, None]


def _as_pixels(picture: object) -> Pixels:
    return np.asarray(picture, np.uint8)
