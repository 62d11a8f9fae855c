"""Figures against hand-made cases and against their own definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.metrics import agree, measure, wilson


def one_hot(labels: list[int], k: int) -> np.ndarray:
    return np.eye(k, dtype=np.float32)[labels]


def test_by_hand() -> None:
    result = measure(one_hot([0, 0, 1, 1], 3), np.array([0, 1, 1, 1]), ["a", "b", "c"])
    assert result.accuracy == 0.75
    assert result.confusion == ((1, 0, 0), (1, 2, 0), (0, 0, 0))
    assert result.per_class["a"].precision == 0.5
    assert result.per_class["a"].recall == 1.0
    assert result.per_class["b"].f1 == pytest.approx(0.8)
    assert result.per_class["c"].support == 0
    assert result.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)  # c occurs nowhere
    assert result.weighted_f1 == pytest.approx((2 / 3 + 3 * 0.8) / 4)


def test_wilson_against_a_published_value() -> None:
    low, high = wilson(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_estimate(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_invariants(pairs: list[tuple[int, int]]) -> None:
    labels = np.array([a for a, _ in pairs])
    result = measure(one_hot([b for _, b in pairs], 5), labels, list("abcde"))
    assert np.sum(result.confusion) == result.n == len(pairs)
    assert 0 <= result.macro_f1 <= 1
    assert result.accuracy == pytest.approx(np.trace(np.array(result.confusion)) / len(pairs))


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        measure(one_hot([0], 2), np.array([0, 1]), ["a", "b"])


def test_agreement() -> None:
    same = agree(one_hot([0, 1], 2), one_hot([0, 0], 2))
    assert (same.top1, same.max_difference, same.mean_difference) == (0.5, 1.0, 0.5)
