"""What is read of a detector's grid: int8 output needs steps for that, and for nothing else.

Most cells hold no face. How unlikely a face is there, and where it would be, is never looked at, but would take most of
the 256 steps that all fifteen numbers share: what lies beyond the range that is read may be cut off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.grid import Floats, logit
from edgefer.optimize.ranges import PERCENTILE
from edgefer.preprocess import Pixels
from edgefer.train.detect.fit import LEAST_SCORE

AT_ONCE = 8
"""Pictures in a batch for the trained network."""
LEAST_LOGIT = logit(LEAST_SCORE)


def read_range(net: Any, pictures: Pixels) -> tuple[float, float] | None:
    """Return the lowest and highest number of the cells whose score counts, but for the rarest; None without such.

    `net` is a keras.Model that takes float32 [n, h, w, 1] in [0, 1], `pictures` are uint8.
    """
    read: list[npt.NDArray[np.float32]] = []
    for i in range(0, len(pictures), AT_ONCE):
        grid = grids(net, pictures[i : i + AT_ONCE])
        read.append(grid[grid[..., 0] >= LEAST_LOGIT].ravel())
    values = np.concatenate(read)
    if not len(values):
        return None
    rare = (1 - PERCENTILE / 100) / 2
    low, high = np.quantile(values, (rare, 1 - rare))
    return min(float(low), LEAST_LOGIT), float(high)


def grids(net: Any, pixels: Any) -> Floats:
    """Return what a keras.Model that takes float32 in [0, 1] gives for pictures uint8 [n, h, w, 1]."""
    return np.asarray(net(pixels.astype(np.float32) / np.float32(255), training=False), np.float32)
