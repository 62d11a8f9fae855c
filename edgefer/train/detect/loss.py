"""What the grid that a network gives is held against: quality focal loss, distance-IoU and landmarks.

The score aims at how well the box fits, times the teacher's score of the face: quality focal loss (Li et al., 2020,
"Generalized Focal Loss"); boxes by their overlap and the distance of the middles (Zheng et al., 2020, "Distance-IoU").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgefer.grid import STRIDE
from edgefer.train.detect.targets import BOX, HAS_MARKS, MARKS, SCORE, WEIGHT

BOX_WEIGHT, MARKS_WEIGHT = 2.0, 1.0


def loss_of(keras: Any) -> Callable[[Any, Any], Any]:
    """Return `loss(targets [n, R, C, DEPTH], grid [n, R, C, 15])`, a number, for the module `keras`."""
    ops = keras.ops

    def loss(targets: Any, grid: Any) -> Any:
        targets, grid = ops.cast(targets, "float32"), ops.cast(grid, "float32")
        rows, columns = ops.shape(grid)[1:3]
        x = (ops.arange(columns, dtype="float32") + 0.5)[None, None, :]
        y = (ops.arange(rows, dtype="float32") + 0.5)[None, :, None]
        weight = targets[..., WEIGHT]
        faces = ops.maximum(ops.sum(weight), 1.0)
        middle_x = (x + grid[..., 1] / 2) * STRIDE
        middle_y = (y + grid[..., 2] / 2) * STRIDE
        # Sizes beyond measure come of the first steps; their slope would throw the network off.
        width = STRIDE * ops.power(2.0, ops.clip(grid[..., 3], -2.0, 7.0))
        height = STRIDE * ops.power(2.0, ops.clip(grid[..., 4], -2.0, 7.0))
        found = (middle_x, middle_y, width, height)
        wanted = tuple(ops.where(weight > 0, targets[..., BOX][..., i], value) for i, value in enumerate(found))
        overlap, distance = _overlap(ops, found, wanted)
        fit = ops.stop_gradient(overlap)
        aim = ops.where(weight > 0, ops.maximum(targets[..., SCORE], 0.0) * fit, 0.0)
        logit = grid[..., 0]
        score = ops.sigmoid(logit)
        crossed = ops.softplus(logit) - aim * logit
        counts = ops.where(weight > 0, weight, ops.cast(targets[..., SCORE] >= 0, "float32"))
        scores = ops.sum(counts * ops.square(aim - score) * crossed)
        boxes = ops.sum(weight * (1.0 - overlap + distance))
        side = ops.sqrt(wanted[2] * wanted[3])
        marks = 0.0
        for i in range(5):
            lx = middle_x + width * grid[..., 5 + 2 * i] / 8
            ly = middle_y + height * grid[..., 6 + 2 * i] / 8
            away = ops.abs(lx - targets[..., MARKS][..., 2 * i]) + ops.abs(ly - targets[..., MARKS][..., 2 * i + 1])
            marks = marks + ops.sum(weight * targets[..., HAS_MARKS] * away / side)
        return (scores + BOX_WEIGHT * boxes + MARKS_WEIGHT * marks / 5) / faces

    return loss


def _overlap(ops: Any, found: tuple[Any, ...], wanted: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return intersection over union of boxes (middle x, y, width, height), and how far apart their middles are.

    The latter is the squared distance by the squared diagonal of the smallest box around both.
    """
    (ax, ay, aw, ah), (bx, by, bw, bh) = found, wanted
    left, right = ops.maximum(ax - aw / 2, bx - bw / 2), ops.minimum(ax + aw / 2, bx + bw / 2)
    top, bottom = ops.maximum(ay - ah / 2, by - bh / 2), ops.minimum(ay + ah / 2, by + bh / 2)
    both = ops.maximum(right - left, 0.0) * ops.maximum(bottom - top, 0.0)
    overlap = both / ops.maximum(aw * ah + bw * bh - both, 1e-6)
    wide = ops.maximum(ax + aw / 2, bx + bw / 2) - ops.minimum(ax - aw / 2, bx - bw / 2)
    high = ops.maximum(ay + ah / 2, by + bh / 2) - ops.minimum(ay - ah / 2, by - bh / 2)
    apart = ops.square(ax - bx) + ops.square(ay - by)
    return overlap, apart / ops.maximum(ops.square(wide) + ops.square(high), 1e-6)
