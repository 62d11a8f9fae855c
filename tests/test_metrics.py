"""Figures against hand-made cases and against their own definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.metrics import agree, expected_calibration_error, mcnemar, measure, reliability, wilson


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


def test_calibration_error_by_hand() -> None:
    given = np.array([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 0])
    # 0.9: half are right; 0.7: half are right.
    assert expected_calibration_error(given, labels) == pytest.approx((2 * 0.4 + 2 * 0.2) / 4)
    # One bin: half are right of what was given 0.8 in the mean.
    assert expected_calibration_error(given, labels, bins=1) == pytest.approx(0.3)
    result = measure(given, labels, ["a", "b"])
    assert result.as_dict()["ece"] == result.ece == pytest.approx(0.3)


def test_a_bin_holds_its_upper_edge() -> None:
    given = np.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25], [1.0, 0.0]])
    bins = reliability(given, np.array([0, 1, 0, 1]), 4)
    assert [b.count for b in bins] == [0, 2, 1, 1]
    assert (bins[1].low, bins[1].high, bins[1].confidence, bins[1].accuracy) == (0.25, 0.5, 0.5, 0.5)
    assert (bins[0].confidence, bins[0].accuracy) == (0.0, 0.0)
    assert bins[3].accuracy == 0.0


@given(st.lists(st.tuples(st.floats(0.34, 1), st.booleans()), min_size=1), st.integers(1, 30))
def test_calibration_error_is_what_guo_defines(pictures: list[tuple[float, bool]], bins: int) -> None:
    given = np.array([[p, (1 - p) / 2, (1 - p) / 2] for p, _ in pictures])
    labels = np.array([0 if right else 2 for _, right in pictures])
    right = given.argmax(axis=1) == labels
    expected = 0.0
    for low, high in zip(np.linspace(0, 1, bins + 1)[:-1], np.linspace(0, 1, bins + 1)[1:], strict=True):
        inside = (given.max(axis=1) > low) & (given.max(axis=1) <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - given.max(axis=1)[inside].mean())
    assert expected_calibration_error(given, labels, bins) == pytest.approx(expected, abs=1e-9)
    assert sum(b.count for b in reliability(given, labels, bins)) == len(pictures)


def test_what_is_no_probability_is_still_counted() -> None:
    given = np.array([[np.nan, 0.2], [1.002, 0.0]], np.float32)
    bins = reliability(given, np.array([1, 0]), 5)
    assert [b.count for b in bins] == [1, 0, 0, 0, 1]
    assert np.isfinite(expected_calibration_error(given, np.array([1, 0])))


@pytest.mark.parametrize(("shape", "labels", "bins"), [((0, 2), 0, 15), ((2, 2), 3, 15), ((2,), 2, 15), ((2, 2), 2, 0)])
def test_reliability_refuses_what_does_not_fit(shape: tuple[int, ...], labels: int, bins: int) -> None:
    with pytest.raises(ValueError, match="cannot put"):
        reliability(np.zeros(shape), np.zeros(labels, np.int64), bins)


def answers(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels that two classifiers give, and the right ones (always 0), with so many pictures of each case."""
    counts = (both, first, second, neither)
    return np.repeat([0, 0, 1, 1], counts), np.repeat([0, 1, 0, 2], counts), np.zeros(sum(counts), np.int64)


def test_mcnemar_by_hand() -> None:
    found = mcnemar(*answers(both=10, first=7, second=1, neither=2))
    assert (found.n, found.only_first_right, found.only_second_right) == (20, 7, 1)
    assert found.p == 2 * (1 + 8) / 256
    assert found.difference == pytest.approx(30)


def test_mcnemar_takes_probabilities() -> None:
    one, other, labels = answers(5, 4, 3, 2)
    given = mcnemar(np.eye(3, dtype=np.float32)[one], np.eye(3, dtype=np.float32)[other], labels)
    assert given == mcnemar(one, other, labels)


def test_mcnemar_of_the_same_answers() -> None:
    one, _, labels = answers(5, 0, 0, 5)
    same = mcnemar(one, one, labels)
    assert (same.p, same.difference) == (1.0, 0.0)
    assert same.ci95[0] == -same.ci95[1] < 0


def test_paired_interval_against_a_published_value() -> None:
    # The example of diffpropci.mp in the R package PropCIs 0.3: b = 40, c = 20, n = 160, and c - b there.
    found = mcnemar(*answers(50, 40, 20, 50))
    assert found.ci95 == pytest.approx((3.089632, 21.601726), abs=1e-6)


def test_paired_interval_stays_inside() -> None:
    assert mcnemar(*answers(0, 2, 0, 0)).ci95[1] == 100


@pytest.mark.parametrize(("first", "second"), [(0, 1), (3, 3), (0, 40), (86, 150), (2510, 2490), (4000, 3500)])
def test_mcnemar_is_the_binomial_test(first: int, second: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="comes with scikit-learn")
    found = mcnemar(*answers(7, first, second, 9))
    assert found.p == pytest.approx(stats.binomtest(first, first + second).pvalue, rel=1e-9)
    turned = mcnemar(*answers(7, second, first, 9))
    assert (turned.p, turned.difference) == (found.p, -found.difference)


def test_a_probability_below_every_float_is_zero() -> None:
    assert mcnemar(*answers(0, 9000, 0, 0)).p == 0.0


@pytest.mark.parametrize(("one", "other", "labels"), [(0, 0, 0), (2, 3, 2), (3, 2, 2), (2, 2, 3)])
def test_mcnemar_refuses_what_does_not_fit(one: int, other: int, labels: int) -> None:
    with pytest.raises(ValueError, match="cannot compare"):
        mcnemar(*(np.zeros(n, np.int64) for n in (one, other, labels)))
