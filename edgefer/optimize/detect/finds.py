"""What a detector found in many pictures, in one file, so that it can go from one process to another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgefer.grid import LANDMARKS, Found


def write(path: Path, found: Sequence[Found]) -> None:
    """Write what `read` reads; raises OSError."""
    np.savez(
        path,
        counts=np.array([len(one.scores) for one in found], np.int64),
        boxes=np.concatenate([np.empty((0, 4), np.float32), *(one.boxes for one in found)]),
        scores=np.concatenate([np.empty(0, np.float32), *(one.scores for one in found)]),
        landmarks=np.concatenate([np.empty((0, LANDMARKS, 2), np.float32), *(one.landmarks for one in found)]),
    )


def read(path: Path) -> list[Found]:
    """Return what was found in each picture."""
    with np.load(path, allow_pickle=False) as archive:
        counts, boxes, scores, landmarks = (archive[name] for name in ("counts", "boxes", "scores", "landmarks"))
    ends = [int(end) for end in np.cumsum(counts)]
    parts = [slice(end - int(count), end) for end, count in zip(ends, counts, strict=True)]
    return [Found(boxes[part], scores[part], landmarks[part]) for part in parts]
