"""What detectors that are networks share: their tight boxes made into the squares that the models are trained on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.preprocess import Box, Eyes
from edgefer.runtime.frames import Face

Numbers = npt.NDArray[np.floating[Any]]

HAAR_SIDE = 1.1
"""Side of the Haar cascade's square box over the square root of the area of YuNet's box, whose middle is the same.

The models were trained on such squares. Median of 280 faces that both found.
"""


def square_faces(boxes: Numbers, scores: Numbers, eyes: Numbers, width: int, height: int) -> list[Face]:
    """Return the faces of a picture from left to right, boxes square but for what sticks out of it, which is cut.

    `boxes` [k, 4] are x, y, width and height in pixels of the picture, `scores` [k], `eyes` [k, 2, 2] x and y of both,
    NaN where they are not to be told; all others finite. A box that lies outside the picture is left out.
    """
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    halves = HAAR_SIDE * np.sqrt(np.maximum(boxes[:, 2:3] * boxes[:, 3:4], 0)) / 2
    most = (width, height)
    starts = np.clip(np.rint(middles - halves), 0, most).astype(np.intp)
    sides = np.clip(np.rint(middles + halves), 0, most).astype(np.intp) - starts
    order = [i for i in np.lexsort(starts.T[::-1]).tolist() if sides[i].all()]
    places, lengths, certain = starts.tolist(), sides.tolist(), np.minimum(scores, 1).tolist()
    points = [_eyes(pair) for pair in eyes.tolist()]
    return [Face(Box(*places[i], *lengths[i]), certain[i], points[i]) for i in order]


def _eyes(pair: list[list[float]]) -> Eyes | None:
    (x, y), (other_x, other_y) = pair
    return None if math.isnan(x) else ((x, y), (other_x, other_y))
