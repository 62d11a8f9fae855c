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

MIN_CALIBRATION_FACES = 32
"""Fewer show too little of what faces look like for ranges that hold."""
CHOOSING_FACES = 2048
MIN_CHOOSING_FACES = 64


def calibration_faces(
    train: Dataset, preprocess: Preprocess, count: int = CALIBRATION_FACES, seed: int = 0
) -> npt.NDArray[np.uint8]:
    """Return up to `count` training faces, uint8 [n, size, size, 1], as the model will get them.

    Classes are balanced as far as they have pictures: an expression that is rare in training must not be clipped.
    No picture is taken twice, and the choice depends on the seed and the data alone. Raises ExportError when `count`,
    or what training has, is below `MIN_CALIBRATION_FACES`.
    """
    found = min(count, len(train))
    if found < MIN_CALIBRATION_FACES:
        raise ExportError(
            f"calibration needs at least {MIN_CALIBRATION_FACES} training faces, found {found};"
            f" the usual count is {CALIBRATION_FACES}"
        )
    rows = _balanced(train, seed)[:count]
    return np.stack([preprocess(face) for face in train.images[np.sort(rows)]])


def choosing_faces(
    train: Dataset, preprocess: Preprocess, calibrated: int, seed: int = 0, count: int = CHOOSING_FACES
) -> npt.NDArray[np.uint8]:
    """Return training faces as above, none of them among the `calibrated` ones, to choose between calibrations by.

    Where training has too few faces for both, they are those for calibration.
    """
    rows = _balanced(train, seed)
    rows = rows[calibrated : calibrated + count] if len(rows) >= calibrated + MIN_CHOOSING_FACES else rows[:count]
    return np.stack([preprocess(face) for face in train.images[np.sort(rows)]])


def _balanced(train: Dataset, seed: int) -> npt.NDArray[np.int64]:
    """Return all rows; the k-th pictures of all classes come before the (k+1)-th of any."""
    rng = np.random.default_rng(seed)
    turn = np.empty(len(train), np.int64)
    for label in range(len(train.names)):
        rows = np.flatnonzero(train.labels == label)
        turn[rows] = rng.permutation(len(rows))
    return np.argsort(turn, kind="stable")
