"""Which faces decide the int8 ranges."""

from __future__ import annotations

import numpy as np
import pytest

from edgefer.errors import ExportError
from edgefer.optimize.calibrate import calibration_faces, choosing_faces
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
    faces = calibration_faces(data(50, 3, 40), Preprocess(), count=33)
    assert faces.shape == (33, 48, 48, 1)
    assert faces.dtype == np.uint8
    assert np.bincount(np.array(levels(faces)) // 100, minlength=3).tolist() == [15, 3, 15]


def test_no_face_is_taken_twice() -> None:
    chosen = levels(calibration_faces(data(15, 13, 14), Preprocess(), count=512))
    assert len(chosen) == len(set(chosen)) == 42


def test_the_seed_decides() -> None:
    one, same, other = (calibration_faces(data(50, 50, 50), Preprocess(), 40, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert levels(one) != levels(other)


@pytest.mark.parametrize(("faces", "count"), [((5, 5, 5), 512), ((50, 50, 50), 31), ((50, 50, 50), 0)])
def test_too_few_faces_are_refused(faces: tuple[int, ...], count: int) -> None:
    with pytest.raises(ExportError, match=f"at least 32 training faces, found {min(count, sum(faces))}"):
        calibration_faces(data(*faces), Preprocess(), count=count)


def test_faces_to_choose_by_are_not_those_for_calibration() -> None:
    train = data(55, 55, 55)
    calibrated = set(levels(calibration_faces(train, Preprocess(), 40)))
    chosen = set(levels(choosing_faces(train, Preprocess(), 40)))
    assert len(chosen) == 125
    assert not calibrated & chosen


def test_of_few_faces_all_are_chosen_by() -> None:
    train = data(15, 15, 15)
    assert len(choosing_faces(train, Preprocess(), 40)) == 45
