"""What boxes share: intersections of many with many, as arrays. Boxes are x, y, width, height; NumPy only.

Results have the precision of what comes in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


def shared(a: Floats, b: Floats) -> Floats:
    """Return the areas [n, m] that boxes [n, 4] and [m, 4] share."""
    a, b = a[:, None], b[None]
    ends = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = np.maximum(ends - np.maximum(a[..., :2], b[..., :2]), 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def ratio(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 where there is neither."""
    # Never below `part`: sides that are as small as the rounding of where they are give more than they have.
    whole = np.maximum(whole, part)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def iou(a: Floats, b: Floats) -> Floats:
    """Return intersection over union [n, m] of boxes [n, 4] and [m, 4]; boxes without area overlap nothing."""
    both = shared(a, b)
    return ratio(both, (a[:, 2] * a[:, 3])[:, None] + (b[:, 2] * b[:, 3])[None] - both)


def inside(a: Floats, b: Floats) -> Floats:
    """Return which part of each of boxes [n, 4] lies in each of boxes [m, 4], as [n, m]."""
    both = shared(a, b)
    return ratio(both, np.broadcast_to((a[:, 2] * a[:, 3])[:, None], both.shape))
