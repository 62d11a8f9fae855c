"""Latency of one call: warm up, then time every run; nothing is left out of the figures."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` while something is measured; the unit is one hundredth of a measurement."""


@dataclass(frozen=True)
class Plan:
    """How long to measure: each phase lasts until both its runs and its seconds are reached."""

    warmup_runs: int
    warmup_seconds: float
    min_runs: int
    min_seconds: float

    def __post_init__(self) -> None:
        if self.min_runs < 2 or self.warmup_runs < 0 or self.warmup_seconds < 0 or self.min_seconds < 0:
            raise ValueError(f"a plan needs at least 2 runs and nothing negative, found {self}")

    @property
    def quick(self) -> bool:
        """Whether it is too short for a figure to be published."""
        return (
            self.warmup_runs < FULL.warmup_runs
            or self.warmup_seconds < FULL.warmup_seconds
            or self.min_runs < FULL.min_runs
            or self.min_seconds < FULL.min_seconds
        )


FULL = Plan(warmup_runs=50, warmup_seconds=2.0, min_runs=1024, min_seconds=60.0)
"""What a published figure needs: the 1,024 samples and 60 s of MLPerf Mobile."""
QUICK = Plan(warmup_runs=10, warmup_seconds=0.2, min_runs=200, min_seconds=1.0)
"""Enough for a first impression; its records say so."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds over all timed runs."""

    runs: int
    seconds: float
    """From the start of the first timed run to the end of the last."""
    mean: float
    std: float
    """Sample standard deviation."""
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


def measure(call: Callable[[], object], plan: Plan, progress: Callable[[float], None] | None = None) -> Latency:
    """Time `call` as the plan says; `progress` gets the part that is done, 0–1, a few times a second."""
    start = time.perf_counter_ns()
    runs = 0
    while runs < plan.warmup_runs or time.perf_counter_ns() - start < plan.warmup_seconds * 1e9:
        call()
        runs += 1

    took = array("q")
    begin = end = shown = time.perf_counter_ns()
    while len(took) < plan.min_runs or end - begin < plan.min_seconds * 1e9:
        run = time.perf_counter_ns()
        call()
        end = time.perf_counter_ns()
        took.append(end - run)
        if progress is not None and end - shown > 300_000_000:
            shown = end
            by_time = (end - begin) / (plan.min_seconds * 1e9) if plan.min_seconds else 1.0
            progress(min(1.0, by_time, len(took) / plan.min_runs))
    if progress is not None:
        progress(1.0)
    return summarise(np.frombuffer(took, np.int64) / 1e6, (end - begin) / 1e9)


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
    )


def percentiles(values: npt.ArrayLike, wanted: Sequence[float]) -> tuple[float, ...]:
    """Return percentiles (0–100) of at least one value, interpolated linearly between neighbours."""
    return tuple(float(v) for v in np.percentile(np.asarray(values, np.float64), wanted))


def part_of(progress: Progress | None, index: int, total: int) -> Callable[[float], None] | None:
    """Return what `measure` calls while it takes measurement `index` of `total`."""
    if progress is None:
        return None
    return lambda fraction: progress(int(100 * (index + fraction)), 100 * total)
