"""Latency of one call: warm up, then time every run; nothing is left out of the figures."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Nanoseconds = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` a few times a second while something is measured."""

QUANTILES = (0.01, *(round(0.05 * i, 2) for i in range(1, 20)), 0.99)
"""Where a record keeps the distribution of its times: .01, .05, .10 … .95, .99."""


@dataclass(frozen=True)
class Plan:
    """How long one row is measured, over all its rounds; a phase lasts until both its runs and its seconds are reached.

    A round is a fresh process: where the system puts its memory differs from one to the next, and with it the times,
    so only several of them tell how exact a figure is (V. Stinner, pyperf; T. Kalibera and R. Jones, 2013).
    """

    rounds: int
    warmup_runs: int
    """In each round."""
    warmup_seconds: float
    """In each round."""
    min_runs: int
    min_seconds: float

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.min_runs < 2 or min(self.warmup_runs, self.warmup_seconds, self.min_seconds) < 0:
            raise ValueError(f"a plan needs a round, at least 2 runs and nothing negative, found {self}")

    @property
    def quick(self) -> bool:
        """Whether it is too short for a figure to be published."""
        return (
            self.rounds < FULL.rounds
            or self.warmup_runs < FULL.warmup_runs
            or self.warmup_seconds < FULL.warmup_seconds
            or self.min_runs < FULL.min_runs
            or self.min_seconds < FULL.min_seconds
        )

    @property
    def round_runs(self) -> int:
        """The least number of runs of one round."""
        return max(2, -(-self.min_runs // self.rounds))

    @property
    def round_seconds(self) -> float:
        """The least seconds of one round."""
        return self.min_seconds / self.rounds


FULL = Plan(rounds=6, warmup_runs=50, warmup_seconds=2.0, min_runs=1024, min_seconds=60.0)
"""What a published figure needs: the 1,024 samples and 60 s of MLPerf Mobile."""
QUICK = Plan(rounds=4, warmup_runs=10, warmup_seconds=0.1, min_runs=200, min_seconds=1.0)
"""Enough for a first impression; its records say so."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds over all timed runs."""

    runs: int
    seconds: float
    """Spent in timed runs and between them."""
    mean: float
    std: float
    """Sample standard deviation."""
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    quantiles: tuple[float, ...]
    """At QUANTILES."""


def time_runs(call: Callable[[], object], plan: Plan) -> tuple[Nanoseconds, float]:
    """Warm up and time `call` for one round of the plan; return each run's nanoseconds int64 [n], and the seconds."""
    start = time.perf_counter_ns()
    runs = 0
    while runs < plan.warmup_runs or time.perf_counter_ns() - start < plan.warmup_seconds * 1e9:
        call()
        runs += 1
    return time_for(call, plan.round_runs, plan.round_seconds)


def time_for(call: Callable[[], object], min_runs: int, min_seconds: float) -> tuple[Nanoseconds, float]:
    """Time `call` at once, until both are reached; return each run's nanoseconds int64 [n], and the seconds."""
    took = array("q")
    begin = end = time.perf_counter_ns()
    while len(took) < min_runs or end - begin < min_seconds * 1e9:
        run = time.perf_counter_ns()
        call()
        end = time.perf_counter_ns()
        took.append(end - run)
    return np.frombuffer(took, np.int64), (end - begin) / 1e9


def summarise(milliseconds: npt.ArrayLike, seconds: float) -> Latency:
    """Return the figures for the times of at least 2 runs, of which none is left out."""
    values = np.asarray(milliseconds, np.float64)
    p50, p90, p95, p99 = percentiles(values, (50, 90, 95, 99))
    return Latency(
        runs=values.size,
        seconds=seconds,
        mean=float(values.mean()),
        std=float(values.std(ddof=1)),
        min=float(values.min()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(values.max()),
        quantiles=tuple(round(q, 6) for q in percentiles(values, [100 * q for q in QUANTILES])),
    )


def percentiles(values: npt.ArrayLike, wanted: Sequence[float]) -> tuple[float, ...]:
    """Return percentiles (0–100) of at least one value, interpolated linearly between neighbours."""
    return tuple(float(v) for v in np.percentile(np.asarray(values, np.float64), wanted))
