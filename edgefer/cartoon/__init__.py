"""Drawn cartoon faces of the seven emotions: data for trials that need no camera and no data set.

Eyes, brows, mouth and a few wrinkles carry the emotion; everything else (shape, shade, hair, light, noise) varies with
the generator that the caller seeds.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.cartoon.look import expression_of, random_look, varied
from edgefer.cartoon.paint import Pen, paint_bust, paint_head
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Pixels

BROW = 1.05
"""Face units from the middle of a head up to where a face begins."""


def draw_face(emotion: str, rng: np.random.Generator, size: int = 48) -> Pixels:
    """Return one face, uint8 [size, size] grey, that fills the picture as a face detector's box does.

    `emotion` is one of FER2013_LABELS (ValueError otherwise); the same state of `rng` gives the same picture.
    """
    look = random_look(rng)
    expression = varied(expression_of(emotion), rng)
    scale = float(rng.uniform(0.76, 0.92))
    shift = rng.uniform(-0.07, 0.07, 2)
    angle = float(rng.normal(0, 4))
    big = size * 4
    canvas = _backdrop(big, rng)
    pen = Pen(
        canvas, np.zeros_like(canvas), big / 2 * scale, angle, (big / 2 * (1 + shift[0]), big / 2 * (1 + shift[1]))
    )
    paint_head(pen, look, expression)
    grey = cv2.resize(pen.canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = (grey - 128) * rng.uniform(0.75, 1.15) + 128 + rng.uniform(-22, 22)
    grey += rng.normal(0, rng.uniform(1, 5), grey.shape)
    return grey.clip(0, 255).astype(np.uint8)


def dataset(per_class: int, seed: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return `per_class` faces of every emotion, shuffled: uint8 [n, 48, 48] and int64 [n] in FER2013's order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(FER2013_LABELS), dtype=np.int64), per_class))
    images = np.empty((labels.size, 48, 48), np.uint8)
    for row, label in enumerate(labels):
        images[row] = draw_face(FER2013_LABELS[label], rng)
    return images, labels


def head(emotion: str, rng: np.random.Generator, side: float) -> tuple[Pixels, Pixels, tuple[float, ...]]:
    """Return a head with neck and shoulders to put into a picture: grey and how solid, both [n, n], and its face's box.

    `emotion` is one of FER2013_LABELS (ValueError otherwise). `side` is that of the box in pixels, the square root of
    its area; the box is x, y, width, height in the picture, from the brow to the chin.
    """
    look = random_look(rng)
    scale = side / np.sqrt(2 * look.width * (look.chin + BROW))
    reach = round(scale * 2.4)
    grey, solid = paint_bust(
        look, varied(expression_of(emotion), rng), scale, float(rng.normal(0, 6)), reach, (0.0, 0.0)
    )
    width, height = 2 * look.width * scale, (look.chin + BROW) * scale
    return grey.astype(np.uint8), solid, (reach - width / 2, reach - BROW * scale, width, height)


def _backdrop(size: int, rng: np.random.Generator) -> Pixels:
    ramp = np.linspace(rng.uniform(40, 220), rng.uniform(40, 220), size)
    return np.tile(ramp.astype(np.uint8), (size, 1))
