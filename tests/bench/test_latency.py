"""Latency: how long is measured, what is counted, and that nothing is left out."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from edgefer.bench.latency import FULL, QUANTILES, QUICK, Latency, Plan, percentiles, summarise, time_runs


class Counter:
    def __init__(self, slow_at: int = -1) -> None:
        self.calls = 0
        self.slow_at = slow_at

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.slow_at:
            time.sleep(0.05)


def measure(call: Callable[[], object], plan: Plan) -> Latency:
    nanoseconds, seconds = time_runs(call, plan)
    return summarise(nanoseconds / 1e6, seconds)


def test_runs_and_warm_up_runs_are_as_planned() -> None:
    call = Counter()
    assert measure(call, Plan(1, 7, 0.0, 20, 0.0)).runs == 20
    assert call.calls == 27


def test_a_round_does_its_share() -> None:
    call = Counter()
    plan = Plan(6, 7, 0.0, 20, 0.3)
    assert (plan.round_runs, plan.round_seconds) == (4, pytest.approx(0.05))
    start = time.perf_counter()
    result = measure(call, plan)
    assert 0.05 <= time.perf_counter() - start < 0.29
    assert result.runs >= 4


def test_both_the_runs_and_the_seconds_are_reached() -> None:
    call = Counter()
    start = time.perf_counter()
    result = measure(call, Plan(1, 1, 0.05, 10, 0.1))
    assert time.perf_counter() - start >= 0.15
    assert result.seconds >= 0.1
    assert result.runs >= 10
    assert call.calls > result.runs


def test_an_outlier_stays_in_the_figures() -> None:
    result = measure(Counter(slow_at=15), Plan(1, 0, 0.0, 30, 0.0))
    assert result.max >= 50
    assert result.mean >= 50 / 30
    assert result.p50 < 50


def test_a_slow_warm_up_is_not_in_the_figures() -> None:
    assert measure(Counter(slow_at=3), Plan(1, 5, 0.0, 30, 0.0)).max < 50


def test_figures_are_milliseconds() -> None:
    result = measure(lambda: time.sleep(0.002), Plan(1, 0, 0.0, 5, 0.0))
    assert 2 <= result.min < 60
    assert result.min <= result.p50 <= result.p90 <= result.p95 <= result.p99 <= result.max
    assert result.seconds >= 0.01


def test_the_summary_is_what_numpy_says() -> None:
    values = np.random.default_rng(0).gamma(2, 3, 501)
    result = summarise(values, 1.5)
    assert result.p50 == np.median(values)
    assert result.std == pytest.approx(np.std(values, ddof=1))
    assert (result.runs, result.seconds, result.min, result.max) == (501, 1.5, values.min(), values.max())
    assert result.quantiles == pytest.approx(np.quantile(values, QUANTILES), abs=1e-6)
    assert percentiles([1, 2, 3, 4], (0, 50, 100)) == (1.0, 2.5, 4.0)


def test_the_quantiles_begin_and_end_at_one_in_a_hundred() -> None:
    assert QUANTILES[:3] == (0.01, 0.05, 0.1)
    assert QUANTILES[-3:] == (0.9, 0.95, 0.99)
    assert len(QUANTILES) == 21


def test_only_the_full_plan_is_not_quick() -> None:
    assert QUICK.quick
    assert not FULL.quick
    assert Plan(6, 50, 2.0, 1024, 60.0) == FULL
    assert Plan(6, 50, 2.0, 1024, 59.0).quick
    assert Plan(5, 50, 2.0, 1024, 60.0).quick
    assert not Plan(9, 100, 3.0, 5000, 600.0).quick


@pytest.mark.parametrize(
    "numbers",
    [(1, 1, 0.0, 1, 0.0), (1, -1, 0.0, 5, 0.0), (1, 1, -1.0, 5, 0.0), (1, 1, 0.0, 5, -1.0), (0, 1, 0.0, 5, 0)],
)
def test_a_senseless_plan_is_refused(numbers: tuple[int, int, float, int, float]) -> None:
    with pytest.raises(ValueError, match="a plan needs"):
        Plan(*numbers)


def test_an_error_of_the_call_passes() -> None:
    def fails() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        measure(fails, QUICK)
