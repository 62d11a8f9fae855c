from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.runtime.smooth import Smoother, Smoothing


def probabilities(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)


HAPPY, SAD = probabilities(0.9, 0.1), probabilities(0.1, 0.9)


def test_without_smoothing_each_frame_speaks_for_itself() -> None:
    smoother = Smoother()
    for n, row in enumerate([HAPPY, SAD, HAPPY]):
        answer = smoother.update(1, n / 25, row)
        np.testing.assert_array_equal(answer.probabilities, row)
        assert answer.label == row.argmax()
        assert answer.certain


@pytest.mark.parametrize("fps", [2, 10, 30])
def test_it_forgets_with_time_not_with_frames(fps: int) -> None:
    """After one time constant, 63 % of the way is gone, whatever the frame rate."""
    smoother = Smoother(Smoothing(seconds=1.0))
    smoother.update(1, 0.0, HAPPY)
    for n in range(1, fps + 1):
        answer = smoother.update(1, n / fps, SAD)
    assert answer.probabilities[1] == pytest.approx(0.1 + 0.8 * (1 - np.exp(-1)), abs=1e-5)


def test_a_label_stays_until_another_leads_clearly() -> None:
    smoother = Smoother(Smoothing(seconds=0.0, margin=0.1))
    rows = [(0.55, 0.45), (0.46, 0.54), (0.54, 0.46), (0.44, 0.56), (0.46, 0.54), (0.56, 0.44)]
    labels = [smoother.update(1, n, probabilities(*row)).label for n, row in enumerate(rows)]
    assert labels == [0, 0, 0, 1, 1, 0]


def test_certainty_has_the_same_margin_once_it_is_there() -> None:
    smoother = Smoother(Smoothing(margin=0.1, min_confidence=0.5))
    rows = [(0.45, 0.3, 0.25), (0.51, 0.3, 0.19), (0.45, 0.3, 0.25), (0.39, 0.31, 0.3), (0.45, 0.3, 0.25)]
    certain = [smoother.update(1, n, probabilities(*row)).certain for n, row in enumerate(rows)]
    assert certain == [False, True, True, False, False]


def test_faces_do_not_mix_and_are_forgotten() -> None:
    smoother = Smoother(Smoothing(seconds=10))
    smoother.update(1, 0.0, HAPPY)
    np.testing.assert_array_equal(smoother.update(2, 0.0, SAD).probabilities, SAD)
    smoother.keep({2})
    np.testing.assert_array_equal(smoother.update(1, 0.1, SAD).probabilities, SAD)
    for face in range(10_000):
        smoother.keep({face - 1, face})
        smoother.update(face, 0.2, HAPPY)
    assert len(smoother._faces) <= 3


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=20),
    st.floats(0, 5),
    st.lists(st.floats(-1, 5), min_size=20, max_size=20),
)
def test_what_comes_out_is_between_what_went_in(rows: list[list[float]], seconds: float, steps: list[float]) -> None:
    smoother, now = Smoother(Smoothing(seconds=seconds)), 0.0
    for row, step in zip(rows, steps, strict=False):
        now += step  # a clock that runs backwards must do no harm
        answer = smoother.update(1, now, probabilities(*row))
    table = np.asarray(rows, np.float32)
    assert (answer.probabilities >= table.min(axis=0) - 1e-5).all()
    assert (answer.probabilities <= table.max(axis=0) + 1e-5).all()
