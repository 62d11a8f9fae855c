"""The loss of a detector: it asks for the faces, all of them, and for nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="needs edgefer[train]")

import tensorflow as tf

from edgefer.grid import CHANNELS, STRIDE, decode
from edgefer.train.backend import load_keras
from edgefer.train.detect.loss import BOX_WEIGHT, MARKS_WEIGHT, loss_of
from edgefer.train.detect.targets import BOX, DEPTH, HAS_MARKS, MARKS, SCORE, WEIGHT, Labels, grid_of

keras = load_keras()
loss = loss_of(keras)
FACES = np.array([[20, 30, 40, 50], [90, 16, 24, 28]], np.float32)


def targets_of(boxes: np.ndarray = FACES, score: float = 1.0, marks: bool = True) -> np.ndarray:
    """Return the targets of faces in a view of 96 × 128 pixels, with a batch of one."""
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    points = boxes[:, None, :2] + places * boxes[:, None, 2:]
    scores = np.full(len(boxes), score, np.float32)
    ignore = np.array([[0, 0, 20, 20]], np.float32)
    return grid_of(Labels(boxes, points if marks else points * np.nan, scores, ignore), 96, 128)[None]


def perfect(targets: np.ndarray, sure: float = 12.0) -> np.ndarray:
    """Return the grid that says what is asked for."""
    grid = np.zeros((*targets.shape[:3], CHANNELS), np.float32)
    owned = targets[..., WEIGHT] > 0
    grid[..., 0] = np.where(owned, sure, -sure)
    _, rows, columns = np.nonzero(owned)
    x, y, w, h = targets[owned][:, BOX].T
    grid[owned, 1], grid[owned, 2] = 2 * (x / STRIDE - columns - 0.5), 2 * (y / STRIDE - rows - 0.5)
    grid[owned, 3], grid[owned, 4] = np.log2(w / STRIDE), np.log2(h / STRIDE)
    marks = targets[owned][:, MARKS]
    grid[owned, 5::2] = (marks[:, ::2] - x[:, None]) * 8 / w[:, None]
    grid[owned, 6::2] = (marks[:, 1::2] - y[:, None]) * 8 / h[:, None]
    return grid


def with_gradient(targets: np.ndarray, grid: np.ndarray) -> tuple[float, np.ndarray]:
    values = tf.constant(grid)
    with tf.GradientTape() as tape:
        tape.watch(values)
        result = loss(targets, values)
    return float(result), tape.gradient(result, values).numpy()


def expected(targets: np.ndarray, grid: np.ndarray) -> float:
    """Return the loss, cell by cell, as the papers write it."""
    total = faces = 0.0
    for index in np.ndindex(targets.shape[:3]):
        aims, cell = targets[index].astype(float), grid[index].astype(float)
        weight, quality = aims[WEIGHT], 0.0
        if weight > 0:
            x, y = ((index[2 - i] + 0.5 + cell[1 + i] / 2) * STRIDE for i in (0, 1))
            w, h = (STRIDE * 2 ** min(max(cell[3 + i], -2), 7) for i in (0, 1))
            bx, by, bw, bh = aims[BOX]
            wide = max(0, min(x + w / 2, bx + bw / 2) - max(x - w / 2, bx - bw / 2))
            high = max(0, min(y + h / 2, by + bh / 2) - max(y - h / 2, by - bh / 2))
            overlap = wide * high / (w * h + bw * bh - wide * high)
            around = [
                max(m + s / 2, n + t / 2) - min(m - s / 2, n - t / 2) for m, s, n, t in ((x, w, bx, bw), (y, h, by, bh))
            ]
            distance = ((x - bx) ** 2 + (y - by) ** 2) / (around[0] ** 2 + around[1] ** 2)
            points = np.array([x, y]) + np.array([w, h]) * cell[5:].reshape(5, 2) / 8
            off = np.abs(points - aims[MARKS].reshape(5, 2)).sum() / math.sqrt(bw * bh) / 5
            total += weight * (BOX_WEIGHT * (1 - overlap + distance) + MARKS_WEIGHT * aims[HAS_MARKS] * off)
            faces += weight
            quality = aims[SCORE] * overlap
        if weight > 0 or aims[SCORE] >= 0:
            score = 1 / (1 + math.exp(-cell[0]))
            crossed = -quality * math.log(score) - (1 - quality) * math.log(1 - score)
            total += (weight if weight > 0 else 1) * (quality - score) ** 2 * crossed
    return total / max(faces, 1)


@given(st.integers(0, 10_000), st.floats(0.3, 1))
@settings(max_examples=30)
def test_it_is_what_the_papers_say(seed: int, score: float) -> None:
    targets = targets_of(score=score, marks=seed % 4 > 0)
    grid = perfect(targets, 2.0) + np.random.default_rng(seed).normal(0, 0.7, (1, 12, 16, CHANNELS)).astype(np.float32)
    assert float(loss(targets, grid)) == pytest.approx(expected(targets, grid), rel=1e-4)


def test_by_hand() -> None:
    """One cell: a face of 8 × 8 pixels in its middle is found twice as wide, with landmarks 2 pixels off."""
    targets = np.zeros((1, 1, 1, DEPTH), np.float32)
    targets[..., SCORE] = targets[..., WEIGHT] = targets[..., HAS_MARKS] = 1
    targets[..., BOX] = (4, 4, 8, 8)
    targets[..., MARKS] = 4
    grid = np.zeros((1, 1, 1, CHANNELS), np.float32)
    grid[..., 3] = 1
    grid[..., 5::2] = 1  # an eighth of 16 pixels
    scores = (0.5 - 0.5) ** 2 * math.log(2)  # half of it is the face, and so the network says
    boxes = 2.0 * (1 - 0.5 + 0)
    marks = 2 / 8
    assert float(loss(targets, grid)) == pytest.approx(scores + boxes + marks, rel=1e-6)


def test_a_perfect_grid_costs_nearly_nothing() -> None:
    targets = targets_of()
    assert float(loss(targets, perfect(targets))) < 1e-3
    nothing = np.zeros_like(targets)
    assert float(loss(nothing, np.full((1, 12, 16, CHANNELS), -12, np.float32))) < 1e-6
    assert float(loss(nothing, np.full((1, 12, 16, CHANNELS), 2, np.float32))) > 1


def test_following_its_slope_from_an_untrained_grid_leads_to_the_faces() -> None:
    targets = targets_of()
    start = np.zeros((1, 12, 16, CHANNELS), np.float32)
    start[..., 0], start[..., 3:5] = -4.6, 2
    grid, optimizer = keras.Variable(start), keras.optimizers.Adam(0.05)
    optimizer.build([grid])

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            result = loss(targets, grid.value)
        optimizer.apply([tape.gradient(result, grid.value)])
        return result

    losses = [float(step()) for _ in range(500)]
    assert losses[-1] < 0.1 * losses[0]
    found = decode(np.asarray(grid.value)[0], 0.5)
    assert len(found.boxes) == 2
    order = found.boxes[:, 0].argsort()
    np.testing.assert_allclose(found.boxes[order], FACES, atol=1.5)


@given(st.integers(0, 10_000), st.sampled_from([5.0, 50.0, 500.0]))
@settings(max_examples=30)
def test_it_stays_finite_for_any_grid(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    grid = (size * rng.choice([-1, 1], (1, 12, 16, CHANNELS))).astype(np.float32)
    value, slope = with_gradient(targets_of(), grid)
    assert math.isfinite(value)
    assert np.isfinite(slope).all()


def test_nothing_is_asked_of_what_is_not_labelled() -> None:
    rng = np.random.default_rng(0)
    with_marks, without = targets_of(), targets_of(marks=False)
    assert np.isfinite(without).all()
    grid = perfect(with_marks, 2.0) + rng.normal(0, 0.5, (1, 12, 16, CHANNELS)).astype(np.float32)
    owned = with_marks[..., WEIGHT] > 0
    free = (with_marks[..., SCORE] < 0) & ~owned
    empty = with_marks[..., SCORE] == 0
    assert min(owned.sum(), free.sum(), empty.sum()) > 3
    _, slope = with_gradient(with_marks, grid)
    assert (slope[free] == 0).all(), "where any answer is right"
    assert (slope[empty][:, 1:] == 0).all(), "no face has no box"
    assert (slope[empty][:, 0] != 0).all()
    assert (slope[owned] != 0).any(axis=0).all()
    _, slope = with_gradient(without, grid)
    assert (slope[..., 5:] == 0).all(), "landmarks that nobody knows"
    assert (slope[owned][:, :5] != 0).any(axis=0).all()
