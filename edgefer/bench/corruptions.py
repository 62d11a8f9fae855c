"""What happens to a face on its way into a camera, drawn on clean pictures: eight corruptions at five strengths each.

After ImageNet-C (D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019), with strengths for faces of 48 × 48 pixels: lengths there are for 224 pixels. Strength 1 is
hardly seen; at strength 5 a person must look twice. The strengths are ours: figures compare with each other, not with
published ones.

Chance (noise, directions, places) follows from the seed, the corruption and the picture alone. So a picture gets the
same whatever stands beside it, and from one strength to the next nothing changes but the strength.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Chance = np.random.Generator

DIRECTIONS = 12
"""Of motion blur: every 15 degrees."""
READ_NOISE = 1.0
"""Standard deviation of a dark pixel in grey levels."""
SHOT_NOISE = 0.1
"""Variance for each grey level of light, in grey levels squared."""


@dataclass(frozen=True)
class Corruption:
    """One way to spoil a picture."""

    apply: Callable[[Pixels, float, Chance], Pixels]
    """From grey uint8 [h, w], a strength and chance to grey uint8 [h, w]."""
    strengths: tuple[float, float, float, float, float]
    """From the weakest to the strongest."""
    unit: str
    """What the numbers are."""


def corrupted(picture: Pixels, name: str, strength: float, seed: int = 0) -> Pixels:
    """Return a grey picture uint8 [h, w] spoilt by the corruption `name` of CORRUPTIONS; the picture stays as it is.

    Raises ValueError for a picture of another kind or a negative seed, KeyError for an unknown name.
    """
    if picture.dtype != np.uint8 or picture.ndim != 2 or picture.size == 0:
        raise ValueError(f"a picture to corrupt is uint8 [h, w], found {picture.dtype} {list(picture.shape)}")
    picture = np.ascontiguousarray(picture)
    chance = np.random.default_rng((seed, zlib.crc32(name.encode()), zlib.crc32(picture.data)))
    return CORRUPTIONS[name].apply(picture, strength, chance)


def blur(picture: Pixels, sigma: float, chance: Chance) -> Pixels:
    """Out of focus: a Gaussian of standard deviation `sigma` in pixels."""
    import cv2

    return _bytes(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def motion(picture: Pixels, length: float, chance: Chance) -> Pixels:
    """The head or the camera moved while the shutter was open: a mean along `length` pixels in a random direction."""
    import cv2

    kernel = _line(length, int(chance.integers(DIRECTIONS)))
    return _bytes(cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def noise(picture: Pixels, deviation: float, chance: Chance) -> Pixels:
    """High gain: Gaussian noise of standard deviation `deviation` in grey levels, another for each pixel."""
    return _bytes(picture + deviation * chance.standard_normal(picture.shape, np.float32))


def dark(picture: Pixels, gain: float, chance: Chance) -> Pixels:
    """Too little light: grey levels times `gain`, and on them the noise of a sensor, which does not get less with it.

    Its variance is READ_NOISE² + SHOT_NOISE × level: electronics, and the chance of photons.
    """
    level = picture * np.float32(gain)
    return _bytes(level + np.sqrt(READ_NOISE**2 + SHOT_NOISE * level) * chance.standard_normal(level.shape, np.float32))


def low_resolution(picture: Pixels, side: float, chance: Chance) -> Pixels:
    """A face far away: the shorter side scaled down to `side` pixels (means of areas), and up again (linearly)."""
    import cv2

    height, width = picture.shape
    scale = min(1.0, side / min(height, width))
    small = cv2.resize(
        picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    return _bytes(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def rotation(picture: Pixels, degrees: float, chance: Chance) -> Pixels:
    """A head on one side: turned by `degrees` in the plane about the middle, to the left or right by chance.

    The border is repeated where nothing is known. `edgefer run` turns faces back when its detector finds eyes; here
    nothing does.
    """
    import cv2

    height, width = picture.shape
    angle = degrees if chance.random() < 0.5 else -degrees
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return _bytes(
        cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def occlusion(picture: Pixels, share: float, chance: Chance) -> Pixels:
    """A hand, a mask, a cup: one rectangle over `share` of the face at a random place, black or grey (128) by chance.

    It has the shape of the picture: a square on a square one.
    """
    height, width = picture.shape
    tall, wide = (max(1, round(side * math.sqrt(share))) for side in (height, width))
    shade = 0 if chance.random() < 0.5 else 128
    down, right = chance.random(2)
    top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
    covered = picture.copy()
    covered[top : top + tall, left : left + wide] = shade
    return covered


def jpeg(picture: Pixels, quality: float, chance: Chance) -> Pixels:
    """A stream with too few bits: coded as JPEG of `quality` (libjpeg's scale, 100 is best) and decoded."""
    import cv2

    written, coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE) if written else None
    if decoded is None:
        raise ValueError(f"OpenCV cannot make a JPEG of {picture.shape[1]}×{picture.shape[0]} pixels")
    return _bytes(decoded)


CORRUPTIONS = {
    "blur": Corruption(blur, (0.5, 0.75, 1.0, 1.5, 2.0), "px (standard deviation)"),
    "motion": Corruption(motion, (3, 5, 7, 9, 12), "px (length)"),
    "noise": Corruption(noise, (5, 10, 20, 30, 45), "grey levels (standard deviation)"),
    "dark": Corruption(dark, (0.5, 0.3, 0.2, 0.12, 0.08), "of the light"),
    "low resolution": Corruption(low_resolution, (40, 32, 24, 16, 12), "px (side)"),
    "rotation": Corruption(rotation, (5, 10, 20, 30, 45), "degrees"),
    "occlusion": Corruption(occlusion, (0.05, 0.1, 0.2, 0.3, 0.4), "of the face"),
    "jpeg": Corruption(jpeg, (50, 30, 20, 12, 7), "quality"),
}
"""By name, in the order of reports."""


def _bytes(values: npt.NDArray[np.generic]) -> Pixels:
    """Return grey levels rounded and cut off at 0 and 255, as a sensor gives them."""
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    return np.clip(np.rint(values.astype(np.float32, copy=False)), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=256)
def _line(length: float, direction: int) -> npt.NDArray[np.float32]:
    """Return a kernel [s, s] that is the mean along a line through its middle, in steps of 1 / 8 pixel."""
    reach = math.ceil(length / 2)
    kernel = np.zeros((2 * reach + 2, 2 * reach + 2))
    along = (np.arange(round(8 * length)) + 0.5) / 8 - length / 2
    angle = math.pi * direction / DIRECTIONS
    x, y = reach + along * math.cos(angle), reach + along * math.sin(angle)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    dx, dy = x - column, y - row
    for right, part_x in ((0, 1 - dx), (1, dx)):
        for down, part_y in ((0, 1 - dy), (1, dy)):
            np.add.at(kernel, (row + down, column + right), part_x * part_y)
    mean: npt.NDArray[np.float32] = (kernel[:-1, :-1] / kernel[:-1, :-1].sum()).astype(np.float32)
    return mean
