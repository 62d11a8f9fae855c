"""Where int8 ranges end, on values whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.optimize.ranges import BINS, METHODS, entropy, percentile, ranges


class Pretends:
    """Gives prepared outputs, one layer after another, as a model with several outputs does."""

    def __init__(self, *layers: np.ndarray) -> None:
        self.layers = layers
        self.done = 0

    def __call__(self, batch: np.ndarray, training: bool) -> list[Any]:
        assert not training
        start = self.done % len(self.layers[0])
        self.done = start + len(batch)
        return [layer[start : start + len(batch)] for layer in self.layers]


def found(*layers: np.ndarray) -> dict[str, dict[str, tuple[float, float]]]:
    names = [f"layer{i}" for i in range(len(layers))]
    pictures = np.zeros((len(layers[0]), 4, 4, 1), np.float32)
    return ranges(Pretends(*layers), names, pictures)


def test_minmax_holds_every_value() -> None:
    values = np.random.default_rng(0).normal(size=(200, 10)).astype(np.float32)
    low, high = found(values)["minmax"]["layer0"]
    assert (low, high) == (pytest.approx(values.min()), pytest.approx(values.max()))


def test_rare_values_are_cut_and_the_zero_end_stays() -> None:
    rng = np.random.default_rng(0)
    values = np.maximum(rng.normal(size=(128, 1000)), 0).astype(np.float32)
    values[5, 7] = 100.0
    given_ = found(values)
    assert given_["minmax"]["layer0"][1] == 100
    for method in ("percentile", "entropy"):
        low, high = given_[method]["layer0"]
        assert low == 0
        assert 3 < high < 40, method


def test_both_ends_are_cut() -> None:
    values = np.random.default_rng(0).normal(size=(128, 1000)).astype(np.float32)
    values[0, 0], values[1, 1] = 50, -50
    low, high = found(values)["percentile"]["layer0"]
    assert -6 < low < -3
    assert 3 < high < 6


def test_layers_do_not_mix() -> None:
    one, other = np.ones((70, 3), np.float32), np.full((70, 3), 7, np.float32)
    given_ = found(one, other)
    assert given_["minmax"]["layer0"][1] == pytest.approx(1, abs=1e-5)
    assert given_["minmax"]["layer1"][1] == pytest.approx(7, abs=1e-5)


@given(
    st.dictionaries(st.integers(0, BINS - 1), st.integers(1, 1000), min_size=1, max_size=60),
    st.floats(-100, 0),
    st.floats(0.01, 100),
)
def test_no_rule_leaves_the_values(counts: dict[int, int], low: float, high: float) -> None:
    found = np.zeros(BINS)
    found[list(counts)] = list(counts.values())
    for rule in (percentile, entropy):
        a, b = rule(found, low, high)
        assert low - 1e-9 <= a < b <= high + 1e-9


def test_the_methods_are_those_that_are_offered() -> None:
    assert set(found(np.ones((3, 2), np.float32))) == set(METHODS)
