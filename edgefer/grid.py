"""What a face detector's network gives, a grid of cells, and the faces that it means: "centre-grid-v1".

Pixel i of the network's input spans i to i + 1. Of the cell in row r and column c, channel 0 is the logit of the score;
1 and 2 place the middle of the box, (c + 0.5 + o1 / 2) · 8 and (r + 0.5 + o2 / 2) · 8; 3 and 4 are its sides, 8 · 2^o3
and 8 · 2^o4; 5 to 14 are five points, x and y, from the middle, in eighths of the box's sides: the eye that is left in
the picture of an upright face, the other eye, the nose, the corner of the mouth that is left, the other one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.boxes import ratio, shared

METHOD = "centre-grid-v1"
STRIDE = 8
"""Pixels of the network's input from one cell to the next, each way."""
CHANNELS = 15
LANDMARKS = 5
MAX_OVERLAP = 0.4
"""Intersection over union above which two finds are one face."""
INSIDE = 0.8
"""Part of a find's box that lies in that of a better one, above which it is a part of that face: an eye, a mouth."""
MOST = 300
"""Cells that are looked at, those of the highest scores."""

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

_LIMITS = np.array([80.0, 1e4, 1e4, 10.0, 10.0] + [1e4] * (2 * LANDMARKS), np.float32)
"""What a cell's numbers are cut to, up and down: far beyond any face, and nothing that follows overflows."""


@dataclass(frozen=True, eq=False)
class Found:
    """Faces in pixels of the network's input, the highest score first. Boxes may stick out of it."""

    boxes: Floats
    """[k, 4]: x, y, width, height."""
    scores: Floats
    """[k], 0–1."""
    landmarks: Floats
    """[k, 5, 2]: x, y."""

    def take(self, which: Indices) -> Found:
        """Return some of the faces."""
        return Found(self.boxes[which], self.scores[which], self.landmarks[which])


def decode(
    grid: Floats,
    min_score: float,
    max_overlap: float = MAX_OVERLAP,
    inside: float = INSIDE,
    most: int = MOST,
    least_side: float = 0.0,
) -> Found:
    """Return the faces of a grid [rows, columns, 15] with scores from `min_score`, each once.

    A cell with a number that is not finite is none, nor is one whose box has a side, the square root of its area, below
    `least_side` pixels. Raises ValueError for another shape.
    """
    rows, columns = grid.shape[:2]
    cells = grid.reshape(rows * columns, CHANNELS)
    where = np.flatnonzero(cells[:, 0] >= logit(min_score))
    if least_side > 0 and len(where):
        octaves = np.clip(cells[where, 3:5], -_LIMITS[3], _LIMITS[3]).sum(axis=1)
        where = where[octaves >= 2 * math.log2(least_side / STRIDE)]
    if not len(where):
        return Found(*(np.empty(shape, np.float32) for shape in ((0, 4), (0,), (0, LANDMARKS, 2))))
    cells = cells[where]
    finite = np.isfinite(cells).all(axis=1)
    if not finite.all():
        where, cells = where[finite], cells[finite]
    order = np.argsort(-cells[:, 0], kind="stable")[:most]
    where, cells = where[order], np.clip(cells[order], -_LIMITS, _LIMITS)
    sides = STRIDE * np.exp2(cells[:, 3:5])
    corner = np.stack((where % columns, where // columns), axis=1).astype(np.float32)
    middles = (corner + np.float32(0.5) + cells[:, 1:3] / 2) * STRIDE
    boxes = np.concatenate((middles - sides / 2, sides), axis=1)
    kept = _apart(boxes, max_overlap, inside)
    scores: Floats = np.float32(1) / (np.float32(1) + np.exp(-cells[kept, 0]))
    points = cells[kept, 5:].reshape(len(kept), LANDMARKS, 2)
    landmarks = middles[kept, None] + sides[kept, None] * (points / np.float32(8))
    return Found(boxes[kept], scores, landmarks)


def joined(one: Found, other: Found) -> Found:
    """Return what two looks at a picture found, each face once."""
    pairs = ((one.boxes, other.boxes), (one.scores, other.scores), (one.landmarks, other.landmarks))
    both = Found(*map(np.concatenate, pairs))
    return both.take(nms(both.boxes, both.scores))


def nms(boxes: Floats, scores: Floats, max_overlap: float = MAX_OVERLAP, inside: float = INSIDE) -> Indices:
    """Return which of the boxes [n, 4] stay, the highest score first.

    A box stays unless one that stays and has a higher score, or comes first with the same, shares more with it than
    `max_overlap`, intersection over union, or more than the part `inside` of the smaller one of both.
    """
    order = np.argsort(-scores, kind="stable")
    return order[_apart(boxes[order], max_overlap, inside)]


def _apart(boxes: Floats, max_overlap: float, inside: float) -> Indices:
    """Return which boxes stay, as `nms`; they come with the highest score first."""
    both, areas = shared(boxes, boxes), boxes[:, 2] * boxes[:, 3]
    apart = ratio(both, areas[:, None] + areas[None] - both) <= max_overlap
    apart &= ratio(both, np.minimum(areas[:, None], areas[None])) <= inside
    left = np.ones(len(boxes), bool)
    kept: list[int] = []
    while left.any():
        best = int(left.argmax())
        kept.append(best)
        left &= apart[best]
        left[best] = False
    return np.array(kept, np.intp)


def logit(score: float) -> float:
    """Return what a logit must be at least for a score; no finite one gives 1."""
    if score <= 0:
        return -math.inf
    return math.inf if score >= 1 else math.log(score / (1 - score))
