"""A sustained run: what is compared, and that a day of it fits into the memory of a small board."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from edgefer.bench import steady
from edgefer.bench.steady import STEPS, run_steadily


class Slowing:
    """Takes 1 ms for some seconds, then 4 ms."""

    def __init__(self, after: float) -> None:
        self.end = time.perf_counter() + after

    def __call__(self) -> None:
        time.sleep(0.001 if time.perf_counter() < self.end else 0.004)


def test_the_end_is_compared_with_the_begin() -> None:
    result = run_steadily(Slowing(0.3), 0.6)
    assert result.seconds >= 0.6
    assert result.window_s == pytest.approx(0.2)
    assert 1 <= result.first_p50 < 3
    assert result.last_p50 > 4
    assert result.runs == sum(step.runs for step in result.steps)
    assert 2 < len(result.steps) <= STEPS
    assert [s.seconds for s in result.steps] == sorted(s.seconds for s in result.steps)
    assert result.steps[0].p50 < result.steps[-1].p50


def test_the_windows_are_a_minute_of_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps longer than a minute: only their first and last minute count."""
    clock = Clock(monkeypatch)
    runs = iter(lambda: clock.now, None)

    def call() -> None:
        now = next(runs)
        clock.now += 2.0 if now < 60 else 3.0 if now < 86_400 - 70 else 5.0

    result = run_steadily(call, 86_400)
    assert (result.window_s, result.first_p50, result.last_p50) == (60.0, 2000.0, 5000.0)
    assert len(result.steps) <= STEPS
    assert result.seconds == pytest.approx(86_400, abs=STEPS * 3)


def test_a_day_of_it_needs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many runs are 1.6 MB a copy; kept are those of the windows."""
    clock = Clock(monkeypatch)

    def call() -> None:
        clock.now += 0.432

    tracemalloc.start()
    try:
        result = run_steadily(call, 86_400)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert result.runs == pytest.approx(200_000, abs=2 * STEPS)


def test_one_run_may_take_longer_than_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def call() -> None:
        clock.now += 5.0

    result = run_steadily(call, 3)
    assert (result.runs, result.first_p50, result.last_p50) == (2, 5000.0, 5000.0)
    assert np.isfinite(result.seconds)


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("edgefer.bench.latency.time.perf_counter_ns", lambda: round(self.now * 1e9))
        assert steady.WINDOW_S == 60
