"""Which faces decide the int8 ranges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.preprocess import Preprocess
from edgefer.train.data import Dataset

CALIBRATION_FACES = 512
"""More faces bring rarer extremes and with them coarser steps: benchmarks/calibration.py measured that int8 gives the
float network's label for 98.8 % of the faces with 512, 98.7 % with 1,024, 98.5 % with 4,096 (means of three seeds)."""


def calibration_faces(
    train: Dataset, preprocess: Preprocess, count: int = CALIBRATION_FACES, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Return up to `count` training faces, uint8 [n, size, size, 1], as the model will get them.

    Classes are balanced as far as they have pictures: an expression that is rare in training must not be clipped.
    No picture is taken twice, and the choice depends on the seed and the data alone. Raises ExportError when
    `count` is not positive.
    """
    if count < 1:
        raise ExportError(f"calibration needs at least 1 face, found {count}; the usual count is {CALIBRATION_FACES}")
    rng = np.random.default_rng(seed)
    # The k-th pictures of all classes come before the (k+1)-th of any.
    turn = np.empty(len(train), np.int64)
    for label in range(len(train.names)):
        rows = np.flatnonzero(train.labels == label)
        turn[rows] = rng.permutation(len(rows))
    rows = np.argsort(turn, kind="stable")[:count]
    return np.stack([preprocess(face) for face in train.images[np.sort(rows)]])
