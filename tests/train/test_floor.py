"""The floor under every class's recall."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edgefer.errors import TrainError
from edgefer.train import floor

RNG = np.random.default_rng(1)
LABELS = RNG.choice(4, 4000, p=[0.55, 0.35, 0.1, 0.0])
LOGITS = 1.2 * np.eye(4)[LABELS] + RNG.normal(size=(4000, 4)) + np.log([0.55, 0.35, 0.1, 1e-4])
"""A class of a tenth that is overlooked, as it should be where errors are counted, and one that never comes."""


def recalls(shift: np.ndarray) -> np.ndarray:
    said = (LOGITS + shift).argmax(axis=1)
    return np.array([(said[c == LABELS] == c).mean() for c in range(3)])


def accuracy(shift: np.ndarray) -> float:
    return float(((LOGITS + shift).argmax(axis=1) == LABELS).mean())


def test_a_class_is_raised_to_the_floor_and_no_further() -> None:
    assert recalls(np.zeros(4))[2] < 0.3
    shift = floor.biases(LOGITS, LABELS, 0.45)
    assert recalls(shift).min() >= 0.45
    assert shift[3] == 0
    raised = next(s for s in np.arange(0, 3, floor.STEP) if recalls(np.array([0, 0, s, 0])).min() >= 0.45)
    assert accuracy(shift) >= accuracy(np.array([0, 0, raised, 0]))  # no worse than raising the one class alone
    assert accuracy(np.zeros(4)) - accuracy(shift) < 0.03


def test_a_floor_that_holds_already_moves_nothing() -> None:
    assert not floor.biases(LOGITS, LABELS, 0.05).any()


def test_a_floor_that_is_out_of_reach_gives_what_came_nearest() -> None:
    shift = floor.biases(LOGITS, LABELS, 0.99)
    assert recalls(floor.biases(LOGITS, LABELS, 0.45)).min() < recalls(shift).min() < 0.99


def test_the_shift_goes_into_the_last_layer() -> None:
    keras = pytest.importorskip("keras", reason="needs edgefer[train]")
    inputs = keras.Input((5,))
    net = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    pictures = RNG.normal(size=(7, 5)).astype(np.float32)
    before = net.predict(pictures, verbose=0)
    floor.apply(net, np.array([0.5, 0.0, -1.0]))
    np.testing.assert_allclose(net.predict(pictures, verbose=0) - before, np.tile([0.5, 0, -1], (7, 1)), atol=1e-5)


def test_a_network_without_such_biases_is_refused() -> None:
    last = SimpleNamespace(name="out", bias=None)
    with pytest.raises(TrainError, match="recall_floor needs a last layer with biases; out has none: leave it out"):
        floor.apply(SimpleNamespace(layers=[last]), np.zeros(3))


def test_a_run_that_could_not_end_well_does_not_begin() -> None:
    keras = pytest.importorskip("keras", reason="needs edgefer[train]")
    from edgefer.train.recipe import Recipe
    from edgefer.train.step import build_trainer

    trainer = build_trainer(keras, Recipe(arch="mlp", epochs=1, recall_floor=0.4), 7, 2, (), False)
    assert floor.last_bias(trainer.net).shape == (7,)
    with pytest.raises(TrainError, match="leave it out"):
        build_trainer(keras, Recipe(arch="mlp-relu", epochs=1, recall_floor=0.4), 7, 2, (), False)
