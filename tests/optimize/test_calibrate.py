"""Which faces decide the int8 ranges."""

from __future__ import annotations

import numpy as np
import pytest

from edgefer.errors import ExportError
from edgefer.optimize.calibrate import calibration_faces
from edgefer.preprocess import Preprocess
from edgefer.train.data import Dataset

NAMES = ("a", "b", "c")


def data(*counts: int) -> Dataset:
    """As many pictures a class; each picture is one grey level, 100 × class + its number."""
    labels = np.repeat(np.arange(len(counts)), counts)
    levels = np.concatenate([100 * k + np.arange(n) for k, n in enumerate(counts)])
    images = np.broadcast_to(levels[:, None, None], (len(levels), 48, 48)).astype(np.uint8)
    return Dataset(images, labels.astype(np.int64), NAMES)


def levels(faces: np.ndarray) -> list[int]:
    return [int(face[0, 0, 0]) for face in faces]


def test_classes_are_balanced_as_far_as_they_have_pictures() -> None:
    faces = calibration_faces(data(50, 3, 40), Preprocess(), count=23)
    assert faces.shape == (23, 48, 48, 1)
    assert faces.dtype == np.uint8
    assert np.bincount(np.array(levels(faces)) // 100, minlength=3).tolist() == [10, 3, 10]


def test_no_face_is_taken_twice() -> None:
    chosen = levels(calibration_faces(data(5, 3, 4), Preprocess(), count=512))
    assert len(chosen) == len(set(chosen)) == 12


def test_the_seed_decides() -> None:
    one, same, other = (calibration_faces(data(50, 50, 50), Preprocess(), 30, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert levels(one) != levels(other)


def test_no_faces_are_refused() -> None:
    with pytest.raises(ExportError, match="at least 1"):
        calibration_faces(data(5, 5, 5), Preprocess(), count=0)
