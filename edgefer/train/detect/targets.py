"""From the faces of a view to what each cell of the grid shall say.

A face is answered by the cells about its middle, with the same box each: those within a fifth of its side, one at
least. The cells around them, out to a third of the side, are free to say what they like: no label says where a face
ends to be the middle of one. All others shall say that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.grid import LANDMARKS, STRIDE

Floats = npt.NDArray[np.float32]

CORE, FREE = 0.2, 0.35
"""Of a face's side (square root of its area): reach of its own cells, and of those that may say what they like."""
NEAREST = 0.71 * STRIDE
"""Pixels: every point of a picture is within this distance of the middle of a cell."""

SCORE, WEIGHT, BOX, MARKS, HAS_MARKS = 0, 1, slice(2, 6), slice(6, 6 + 2 * LANDMARKS), 6 + 2 * LANDMARKS
DEPTH = HAS_MARKS + 1
"""What a cell's targets are: the score to aim at (-1: any), the weight of its face, the box (middle x, y, width,
height) and the landmarks in pixels, and whether there are landmarks."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What is known of the faces in one view, in its pixels."""

    boxes: Floats
    """float32 [k, 4] x, y, w, h."""
    landmarks: Floats
    """float32 [k, 5, 2], NaN where there are none."""
    scores: Floats
    """float32 [k]: what to aim at, 1 or a teacher's score."""
    ignore: Floats
    """float32 [m, 4]: where any answer is right."""


def grid_of(labels: Labels, height: int, width: int) -> Floats:
    """Return the targets of a view of `height` × `width` pixels, float32 [height / 8, width / 8, DEPTH]."""
    rows, columns = height // STRIDE, width // STRIDE
    targets = np.zeros((rows, columns, DEPTH), np.float32)
    x = (np.arange(columns, dtype=np.float32) + 0.5) * STRIDE
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * STRIDE
    for left, top, w, h in labels.ignore:
        inside = (x > left) & (x < left + w) & (y > top) & (y < top + h)
        targets[..., SCORE][inside] = -1
    if not len(labels.boxes):
        return targets
    middles = labels.boxes[:, :2] + labels.boxes[:, 2:] / 2
    sides = np.sqrt(labels.boxes[:, 2] * labels.boxes[:, 3])
    away = np.hypot(x - middles[:, 0, None, None], y - middles[:, 1, None, None])  # [k, rows, columns]
    reach = np.maximum(CORE * sides, NEAREST)[:, None, None]
    free = np.maximum(FREE * sides, 1.5 * NEAREST)[:, None, None]
    targets[..., SCORE][(away <= free).any(axis=0)] = -1
    near = np.where(away <= reach, away / sides[:, None, None], np.inf)
    owner, owned = near.argmin(axis=0), np.isfinite(near).any(axis=0)
    counts = np.bincount(owner[owned], minlength=len(sides))
    values = np.zeros((len(sides), DEPTH), np.float32)
    values[:, SCORE] = labels.scores
    values[:, WEIGHT] = 1 / np.sqrt(np.maximum(counts, 1))  # a large face has more cells, and counts more, but less so
    values[:, BOX] = np.concatenate([middles, labels.boxes[:, 2:]], axis=1)
    marks: Any = labels.landmarks.reshape(len(sides), -1)
    values[:, HAS_MARKS] = np.isfinite(marks).all(axis=1)
    values[:, MARKS] = np.nan_to_num(marks)
    targets[owned] = values[owner[owned]]
    return targets
