"""Decoding a detector's grid against a plain reading of what it means, cell by cell."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer.boxes import iou
from edgefer.grid import CHANNELS, LANDMARKS, Floats, Found, decode, joined, nms

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))
ANYTHING = st.floats(width=32)
SIDES = st.floats(0, 64, width=32)
BOXES = st.integers(0, 12).flatmap(lambda n: arrays.arrays(np.float32, (n, 4), elements=SIDES))


@st.composite
def grids(draw: st.DrawFn) -> Floats:
    """Grids such as a network gives: logits well away from a threshold of .5, numbers of a moderate size."""
    rows, columns = draw(SHAPES)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid = random.normal(0, 1.5, (rows, columns, CHANNELS)).astype(np.float32)
    grid[..., 0] += np.sign(grid[..., 0]) * 1e-3
    return grid


def empty(rows: int = 4, columns: int = 5) -> Floats:
    grid = np.zeros((rows, columns, CHANNELS), np.float32)
    grid[..., 0] = -9
    return grid


def plainly(grid: Floats, min_score: float) -> list[tuple[float, list[float], list[tuple[float, float]]]]:
    """Every cell above the threshold, one by one, as the contract words it; nothing taken out."""
    found = []
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            logit, o1, o2, o3, o4, *points = (float(v) for v in grid[row, column])
            score = 1 / (1 + math.exp(-logit))
            if score < min_score:
                continue
            cx, cy = (column + 0.5 + o1 / 2) * 8, (row + 0.5 + o2 / 2) * 8
            width, height = 8 * 2**o3, 8 * 2**o4
            marks = [(cx + width * x / 8, cy + height * y / 8) for x, y in zip(points[::2], points[1::2], strict=True)]
            found.append((score, [cx - width / 2, cy - height / 2, width, height], marks))
    return sorted(found, key=lambda face: -face[0])


def overlap(a: Floats, b: Floats) -> float:
    x = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    y = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = float(max(x, 0)) * float(max(y, 0))
    either = float(a[2]) * float(a[3]) + float(b[2]) * float(b[3]) - both
    return both / either if either > 0 else 0.0


def check(found: Found) -> None:
    count = len(found.scores)
    assert found.boxes.shape == (count, 4)
    assert found.landmarks.shape == (count, LANDMARKS, 2)
    for values in (found.boxes, found.scores, found.landmarks):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert (found.boxes[:, 2:] > 0).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (np.diff(found.scores) <= 0).all()


@given(grids(), st.sampled_from([0.0, 0.5]))
def test_every_cell_means_what_the_contract_says(grid: Floats, min_score: float) -> None:
    found = decode(grid, min_score, max_overlap=1.0, inside=1.0)
    check(found)
    expected = plainly(grid, min_score)
    assert len(found.scores) == len(expected)
    for i, (score, box, marks) in enumerate(expected):
        assert found.scores[i] == pytest.approx(score, rel=1e-5)
        assert found.boxes[i] == pytest.approx(box, rel=1e-4, abs=1e-3)
        assert found.landmarks[i] == pytest.approx(np.array(marks), rel=1e-4, abs=1e-3)


@given(grids(), st.floats(0, 1))
def test_a_face_is_found_once(grid: Floats, max_overlap: float) -> None:
    found, every = decode(grid, 0.5, max_overlap), decode(grid, 0.5, 1.0, 1.0)
    check(found)
    kept = nms(every.boxes, every.scores, max_overlap)
    np.testing.assert_array_equal(found.boxes, every.boxes[kept])
    np.testing.assert_array_equal(found.scores, every.scores[kept])
    np.testing.assert_array_equal(found.landmarks, every.landmarks[kept])


@given(
    SHAPES.flatmap(lambda shape: arrays.arrays(np.float32, (*shape, CHANNELS), elements=ANYTHING)),
    st.floats(-1, 2),
    st.floats(0, 1),
)
def test_whatever_a_network_gives_no_face_is_unreal(grid: Floats, min_score: float, max_overlap: float) -> None:
    with np.errstate(all="raise", under="ignore"):
        check(decode(grid, min_score, max_overlap))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channel", range(CHANNELS))
def test_a_cell_that_is_not_finite_is_no_face_and_takes_none_along(value: float, channel: int) -> None:
    grid = empty()
    grid[1, 1, 0] = grid[3, 4, 0] = 3
    grid[1, 1, channel] = value
    found = decode(grid, 0.5)
    check(found)
    assert found.boxes.tolist() == [[32, 24, 8, 8]]


@pytest.mark.parametrize(("size", "side"), [(-3.4e38, 8 / 1024), (-200, 8 / 1024), (200, 8192), (3.4e38, 8192)])
def test_sizes_are_cut(size: float, side: float) -> None:
    grid = empty()
    grid[2, 2, 0], grid[2, 2, 3:5] = 3, size
    with np.errstate(over="raise"):
        found = decode(grid, 0.5)
    assert found.boxes[0, 2:].tolist() == [side, side]


def test_a_score_of_one_is_none_that_a_logit_gives() -> None:
    grid = empty()
    grid[0, 0, 0] = 3e38
    assert len(decode(grid, 1.0).scores) == 0
    assert decode(grid, 0.999999).scores.tolist() == [1.0]


def test_the_threshold_itself_is_enough() -> None:
    grid = empty()
    grid[1, 2, 0] = 0
    assert decode(grid, 0.5).scores.tolist() == [0.5]
    assert len(decode(grid, 0.5001).scores) == 0


def test_no_more_cells_than_are_wanted_are_looked_at_and_those_are_the_best() -> None:
    grid = empty(9, 11)
    grid[..., 0] = np.random.default_rng(0).permutation(99).reshape(9, 11) / 10
    found = decode(grid, 0.5, most=7)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-np.arange(98, 91, -1) / 10)), rtol=1e-6)


@given(grids(), st.floats(2, 60))
def test_what_is_too_small_is_left_out(grid: Floats, least: float) -> None:
    every = decode(grid, 0.5, 1.0, 1.0)
    large = np.sqrt(every.boxes[:, 2] * every.boxes[:, 3])
    found = decode(grid, 0.5, 1.0, 1.0, least_side=least)
    check(found)
    clear = np.abs(large / least - 1) > 1e-4  # the others are too near to tell
    kept = [box.tolist() in found.boxes.tolist() for box in every.boxes[clear]]
    assert kept == (large[clear] >= least).tolist()


def test_nothing_is_found_in_nothing() -> None:
    for grid in (empty(), empty(1, 1), empty(0, 4)):
        check(decode(grid, 0.5))
        assert len(decode(grid, 0.5).scores) == 0


@pytest.mark.parametrize("shape", [(2, 2, 14), (2, 2, 16), (4, 15, 1)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="reshape"):
        decode(np.zeros(shape, np.float32), 0.5)


WIDE_BOXES = BOXES.map(lambda boxes: np.where(boxes < 0.05, np.float32(0), boxes))
"""Without sides that are as small as the rounding of where they are."""


@given(WIDE_BOXES, WIDE_BOXES)
def test_overlaps_are_those_of_each_pair(a: Floats, b: Floats) -> None:
    found = iou(a, b)
    assert found.shape == (len(a), len(b))
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    expected = np.array([[overlap(one, other) for other in b] for one in a]).reshape(len(a), len(b))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_box_overlaps_itself_wholly_and_one_without_area_nothing() -> None:
    boxes = np.array([[1, 2, 3, 4], [5, 5, 0, 3], [5, 5, 0, 3]], np.float32)
    np.testing.assert_array_equal(iou(boxes, boxes), [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


@given(BOXES, st.integers(0, 99), st.sampled_from([0.0, 0.1, 0.4, 0.7, 1.0]))
def test_what_is_kept_is_apart_and_what_is_not_lies_on_something_better(
    boxes: Floats, seed: int, max_overlap: float
) -> None:
    scores = np.random.default_rng(seed).integers(0, 5, len(boxes)).astype(np.float32)  # some are equal
    kept = nms(boxes, scores, max_overlap, inside=1.0)
    assert len(set(kept.tolist())) == len(kept)
    assert (np.diff(scores[kept]) <= 0).all()
    overlaps = iou(boxes, boxes)
    among = overlaps[np.ix_(kept, kept)] > max_overlap
    assert not (among & ~np.eye(len(kept), dtype=bool)).any()
    for gone in set(range(len(boxes))) - set(kept.tolist()):
        better = kept[(scores[kept] > scores[gone]) | ((scores[kept] == scores[gone]) & (kept < gone))]
        assert (overlaps[gone, better] > max_overlap).any()


def test_an_eye_is_no_face_within_a_face_nor_a_face_about_an_eye() -> None:
    face, eye, beside = [0, 0, 100, 100], [20, 30, 20, 15], [95, 0, 100, 100]
    boxes = np.array([face, eye, beside], np.float32)
    assert nms(boxes, np.array([0.9, 0.6, 0.7], np.float32)).tolist() == [0, 2]
    assert nms(boxes, np.array([0.6, 0.9, 0.7], np.float32)).tolist() == [1, 2]
    most_of_it_outside = np.array([face, [90, 30, 20, 15]], np.float32)
    assert len(nms(most_of_it_outside, np.array([0.9, 0.6], np.float32))) == 2


def test_two_looks_at_a_face_are_one() -> None:
    def found(*faces: tuple[float, float]) -> Found:
        boxes = np.array([[x, 0, 50, 50] for x, _ in faces], np.float32).reshape(-1, 4)
        marks = np.repeat(boxes[:, None, :2], LANDMARKS, axis=1)
        return Found(boxes, np.array([score for _, score in faces], np.float32), marks)

    both = joined(found((0, 0.9), (200, 0.5)), found((4, 0.7), (203, 0.8), (400, 0.6)))
    check(both)
    assert both.boxes[:, 0].tolist() == [0, 203, 400]
    assert both.landmarks[:, 0, 0].tolist() == [0, 203, 400]
    assert len(joined(found(), found()).scores) == 0


@pytest.mark.slow
@pytest.mark.alone
def test_decoding_a_grid_of_few_faces_takes_a_fraction_of_a_millisecond() -> None:
    grid = np.random.default_rng(0).normal(0, 0.5, (32, 40, CHANNELS)).astype(np.float32)
    grid[..., 0] = -9
    grid[5:7, 5:7, 0] = grid[20:22, 30:32, 0] = 3
    times = []
    for _ in range(200):
        start = time.perf_counter()
        decode(grid, 0.5)
        times.append(time.perf_counter() - start)
    best = min(times) * 1e3
    print(f"decoding 32×40 cells with two faces: {best:.3f} ms")
    assert best < 0.5
