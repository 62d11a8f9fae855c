"""What each cell is asked for: the grid that says just that gives the faces back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgefer.boxes import iou
from edgefer.grid import CHANNELS, STRIDE, Found, decode
from edgefer.train.detect.targets import (
    BOX,
    CORE,
    DEPTH,
    FREE,
    HAS_MARKS,
    MARKS,
    NEAREST,
    SCORE,
    WEIGHT,
    Labels,
    grid_of,
)

HEIGHT, WIDTH = 192, 256
X = (np.arange(WIDTH // STRIDE) + 0.5) * STRIDE
Y = ((np.arange(HEIGHT // STRIDE) + 0.5) * STRIDE)[:, None]
NONE = np.empty((0, 4), np.float32)


@st.composite
def faces(draw: st.DrawFn, least: float = 8, most: float = 200) -> tuple[float, ...]:
    """Return a box x, y, width, height whose middle is in the picture and whose side is in the range."""
    side, shape = draw(st.floats(least, most)), draw(st.floats(0.6, 1.6))
    w, h = side * math.sqrt(shape), side / math.sqrt(shape)
    x, y = draw(st.floats(0, WIDTH, exclude_max=True)), draw(st.floats(0, HEIGHT, exclude_max=True))
    return x - w / 2, y - h / 2, w, h


def labels(*boxes: tuple[float, ...], marks: bool = True, score: float = 1.0, ignore: object = NONE) -> Labels:
    found = np.array(boxes, np.float32).reshape(-1, 4)
    places = np.random.default_rng(0).uniform(-0.1, 1.1, (len(found), 5, 2))
    points = found[:, None, :2] + places * found[:, None, 2:] if marks else np.full((len(found), 5, 2), np.nan)
    scores = np.full(len(found), score, np.float32)
    return Labels(found, points.astype(np.float32), scores, np.asarray(ignore, np.float32).reshape(-1, 4))


def said(targets: np.ndarray) -> np.ndarray:
    """Return the grid that a network would give which says just what is asked of it."""
    grid = np.zeros((*targets.shape[:2], CHANNELS), np.float32)
    grid[..., 0] = np.where(targets[..., WEIGHT] > 0, 9, -9)
    owned = targets[..., WEIGHT] > 0
    rows, columns = np.nonzero(owned)
    x, y, w, h = targets[owned][:, BOX].T
    grid[owned, 1], grid[owned, 2] = 2 * (x / STRIDE - columns - 0.5), 2 * (y / STRIDE - rows - 0.5)
    grid[owned, 3], grid[owned, 4] = np.log2(w / STRIDE), np.log2(h / STRIDE)
    marks = targets[owned][:, MARKS]
    grid[owned, 5::2] = (marks[:, ::2] - x[:, None]) * 8 / w[:, None]
    grid[owned, 6::2] = (marks[:, 1::2] - y[:, None]) * 8 / h[:, None]
    return grid


def away(box: tuple[float, ...]) -> np.ndarray:
    """Return how far the middle of each cell is from that of a box."""
    x, y, w, h = box
    return np.hypot(X - (x + w / 2), Y - (y + h / 2))


def same(found: Found, known: Labels) -> None:
    """Check that what was found are the very faces, in any order."""
    assert len(found.boxes) == len(known.boxes)
    where = iou(found.boxes, known.boxes).argmax(axis=1)
    assert sorted(where) == list(range(len(known.boxes)))
    np.testing.assert_allclose(found.boxes, known.boxes[where], atol=0.01)
    np.testing.assert_allclose(found.landmarks, known.landmarks[where], atol=0.02)


@given(faces())
def test_decoding_what_is_asked_for_gives_back_the_very_face(box: tuple[float, ...]) -> None:
    known = labels(box)
    same(decode(said(grid_of(known, HEIGHT, WIDTH)), 0.5), known)


@given(st.lists(faces(16), min_size=2, max_size=6))
def test_faces_beside_each_other_all_come_back(boxes: list[tuple[float, ...]]) -> None:
    known = labels(*boxes)
    assume(np.triu(iou(known.boxes, known.boxes), 1).max() == 0)
    same(decode(said(grid_of(known, HEIGHT, WIDTH)), 0.5), known)


@given(faces())
def test_which_cells_answer_for_a_face(box: tuple[float, ...]) -> None:
    targets = grid_of(labels(box, score=0.7), HEIGHT, WIDTH)
    side, distance = math.sqrt(box[2] * box[3]), away(box)
    reach, free = max(CORE * side, NEAREST), max(FREE * side, 1.5 * NEAREST)
    clear = (np.abs(distance - reach) > 1e-3) & (np.abs(distance - free) > 1e-3)  # of the rounding of float32
    expected = np.where(distance <= reach, np.float32(0.7), np.where(distance <= free, np.float32(-1), 0))
    np.testing.assert_array_equal(targets[..., SCORE][clear], expected[clear])
    owned = targets[..., WEIGHT] > 0
    np.testing.assert_array_equal(owned, targets[..., SCORE] > 0)
    assert owned.any(), "every face has a cell"
    np.testing.assert_allclose(targets[owned, WEIGHT] ** 2, 1 / owned.sum(), rtol=1e-5)
    assert (targets[~owned, 1:] == 0).all()


@given(st.lists(faces(16), min_size=2, max_size=5), st.floats(16, 120))
def test_of_faces_of_one_size_the_nearest_owns_a_cell(boxes: list[tuple[float, ...]], side: float) -> None:
    boxes = [(x + w / 2 - side / 2, y + h / 2 - side / 2, side, side) for x, y, w, h in boxes]
    known, distances = labels(*boxes), np.stack([away(box) for box in boxes])
    targets = grid_of(known, HEIGHT, WIDTH)
    rows, columns = np.nonzero(targets[..., WEIGHT] > 0)
    for row, column in zip(rows, columns, strict=True):
        middle = targets[row, column, BOX][:2]
        chosen = np.hypot(X[column] - middle[0], Y[row, 0] - middle[1])
        assert chosen <= distances[:, row, column].min() + 1e-3


@given(st.lists(faces(), max_size=2), st.lists(faces(), min_size=1, max_size=3))
def test_where_labels_say_ignore_nothing_is_asked_but_for_faces(
    boxes: list[tuple[float, ...]], ignored: list[tuple[float, ...]]
) -> None:
    plain = grid_of(labels(*boxes), HEIGHT, WIDTH)
    targets = grid_of(labels(*boxes, ignore=ignored), HEIGHT, WIDTH)
    inside = np.zeros(targets.shape[:2], bool)
    for x, y, w, h in np.array(ignored, np.float32):
        inside |= (x < X) & (x + w > X) & (y < Y) & (y + h > Y)
    expected = np.where(inside & (plain[..., WEIGHT] == 0), -1, plain[..., SCORE])
    np.testing.assert_array_equal(targets[..., SCORE], expected)
    np.testing.assert_array_equal(targets[..., 1:], plain[..., 1:])


def test_landmarks_that_are_not_known_are_not_asked_for() -> None:
    box = (40.0, 40.0, 60.0, 60.0)
    known = labels(box, (150.0, 40.0, 60.0, 60.0))
    known.landmarks[1, 3] = np.nan  # one of the five is enough
    targets = grid_of(known, HEIGHT, WIDTH)
    owned = targets[..., WEIGHT] > 0
    left = owned & (X < 128)
    assert (targets[left, HAS_MARKS] == 1).all()
    assert (targets[owned & (X > 128), HAS_MARKS] == 0).all()
    assert np.isfinite(targets).all()
    np.testing.assert_allclose(targets[left][:, MARKS], np.tile(known.landmarks[0].ravel(), (left.sum(), 1)))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 160), (256, 64)])
def test_no_face_asks_every_cell_for_none(height: int, width: int) -> None:
    targets = grid_of(labels(), height, width)
    assert targets.shape == (height // STRIDE, width // STRIDE, DEPTH)
    assert targets.dtype == np.float32
    assert not targets.any()
