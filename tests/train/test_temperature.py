"""The temperature: it finds the valley, changes no label, and is the same each time."""

from __future__ import annotations

import numpy as np
import pytest

from edgefer.bundle import MAX_TEMPERATURE, MIN_TEMPERATURE
from edgefer.errors import TrainError
from edgefer.metrics import expected_calibration_error
from edgefer.train.temperature import fit_temperature, softmax


def world(n: int = 20_000, k: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels that are drawn from softmax(logits), so that 1 is the right temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return logits, labels


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return -float(np.log(softmax(logits, temperature)[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("true", [0.3, 0.8, 1.0, 2.5, 9.0])
def test_it_finds_what_the_logits_were_multiplied_by(true: float) -> None:
    logits, labels = world()
    assert fit_temperature(logits * true, labels) == pytest.approx(true, rel=0.03)


def test_it_is_the_least_loss_of_all() -> None:
    logits, labels = world(500, seed=3)
    found = fit_temperature(4 * logits, labels)
    assert loss(4 * logits, labels, found) <= min(loss(4 * logits, labels, t) for t in np.geomspace(0.05, 20, 2000))


def test_it_repairs_overconfidence_and_changes_no_label() -> None:
    logits, labels = world(seed=1)
    before, after = softmax(3 * logits), softmax(3 * logits, fit_temperature(3 * logits, labels))
    assert expected_calibration_error(before, labels) > 0.15
    assert expected_calibration_error(after, labels) < 0.02
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))


def test_it_is_repeatable_and_a_plain_number() -> None:
    logits, labels = world(300)
    found = fit_temperature(logits.astype(np.float32), labels)
    assert type(found) is float
    assert found == fit_temperature(logits.astype(np.float32), labels)


def test_it_stays_in_its_bounds() -> None:
    labels = np.array([0, 1, 2])
    assert fit_temperature(np.eye(3), labels) == pytest.approx(MIN_TEMPERATURE, rel=1e-5)
    assert fit_temperature(-np.eye(3), labels) == pytest.approx(MAX_TEMPERATURE, rel=1e-5)
    for logits in (np.eye(3), -np.eye(3)):
        assert MIN_TEMPERATURE <= fit_temperature(logits, labels) <= MAX_TEMPERATURE


def test_where_nothing_is_better_it_is_1() -> None:
    assert fit_temperature(np.full((5, 3), 7.0), np.array([0, 1, 2, 0, 1])) == 1.0


def test_large_logits_do_not_overflow() -> None:
    logits = np.array([[1e4, 0.0], [0.0, -1e4]])
    np.testing.assert_array_equal(softmax(logits), [[1, 0], [1, 0]])
    np.testing.assert_allclose(softmax(logits, 20.0).sum(axis=1), 1)
    assert np.isfinite(fit_temperature(logits, np.array([0, 1])))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(TrainError, match="not finite"):
        fit_temperature(np.array([[0.0, bad]]), np.array([0]))


@pytest.mark.parametrize(("shape", "n"), [((3, 2), 2), ((3,), 3), ((0, 2), 0)])
def test_shapes_must_fit(shape: tuple[int, ...], n: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        fit_temperature(np.zeros(shape), np.zeros(n, np.int64))
