"""What disturbs a view: each kind alone does something, and none does nothing."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.cartoon.clip import clip
from edgefer.train.detect.disturb import disturb, hide
from edgefer.train.detect.recipe import Views

KINDS = ("light", "dark", "shadow", "blur", "motion", "coarse", "noise", "jpeg")
OFF = Views(**dict.fromkeys((*KINDS, "hide"), 0.0))  # type: ignore[arg-type]
ON = Views(**dict.fromkeys((*KINDS, "hide"), 1.0))  # type: ignore[arg-type]
FRAME = cv2.cvtColor(next(clip(1, size=(160, 128), faces=1))[0], cv2.COLOR_BGR2GRAY)
BOX = np.array([[55, 35, 50, 60]], np.float32)


def detail(pixels: np.ndarray) -> float:
    return float(cv2.Laplacian(pixels.astype(np.float32), cv2.CV_32F).std())


def test_off_is_the_very_same_picture() -> None:
    for seed in range(5):
        assert disturb(np.random.default_rng(seed), FRAME, OFF) is FRAME
        before = FRAME.copy()
        assert hide(np.random.default_rng(seed), before, BOX, 0.0) is before
        np.testing.assert_array_equal(before, FRAME)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone(kind: str) -> None:
    for seed in range(10):
        before = FRAME.copy()
        found = disturb(np.random.default_rng(seed), before, replace(OFF, **{kind: 1.0}))
        np.testing.assert_array_equal(before, FRAME)
        assert (found.dtype, found.shape) == (np.uint8, FRAME.shape)
        assert (found != FRAME).mean() > 0.02
        again = disturb(np.random.default_rng(seed), before, replace(OFF, **{kind: 1.0}))
        np.testing.assert_array_equal(found, again)
        if kind in ("blur", "motion", "coarse"):
            assert detail(found) < detail(FRAME)
            assert found.mean() == pytest.approx(FRAME.mean(), abs=2)
        elif kind == "noise":
            assert detail(found) > detail(FRAME)
        elif kind == "dark":
            assert found.mean() < 0.55 * FRAME.mean()
        elif kind == "shadow":
            assert (found <= FRAME).all()
            assert found.mean() > 0.15 * FRAME.mean()


@given(st.integers(0, 10_000), st.sampled_from([(64, 64), (32, 512), (512, 32), (33, 47)]))
@settings(max_examples=40)
def test_all_at_once(seed: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, shape, np.uint8)
    found = disturb(rng, pixels, ON)
    assert (found.dtype, found.shape) == (np.uint8, shape)


@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(*[st.floats(-200, 300, width=32)] * 2, *[st.floats(1, 400, width=32)] * 2), max_size=5),
)
def test_no_more_than_the_boxes_is_covered(seed: int, boxes: list[tuple[float, ...]]) -> None:
    found = hide(np.random.default_rng(seed), FRAME.copy(), np.array(boxes, np.float32).reshape(-1, 4), 1.0)
    outside = np.ones(FRAME.shape, bool)
    for x, y, w, h in boxes:  # a mask goes down to a little below the chin
        top, bottom = max(0, int(y)), max(0, int(np.ceil(y + 1.26 * h)))
        outside[top:bottom, max(0, int(x)) : max(0, int(np.ceil(x + w)))] = False
    np.testing.assert_array_equal(found[outside], FRAME[outside])


def test_a_part_of_a_face_is_covered_and_a_part_is_seen() -> None:
    x, y, w, h = BOX[0].astype(int)
    parts = []
    for seed in range(100):
        covered = hide(np.random.default_rng(seed), FRAME.copy(), BOX, 1.0) != FRAME
        parts.append(covered[y : y + h, x : x + w].mean())
    assert np.median(parts) > 0.1
    assert max(parts) < 0.6
    assert sum(part > 0 for part in parts) > 95
    some = [(hide(np.random.default_rng(seed), FRAME.copy(), BOX, 0.3) != FRAME).any() for seed in range(200)]
    assert 0.2 < np.mean(some) < 0.4
