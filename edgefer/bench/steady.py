"""A sustained run: one call again and again without a pause, and whether it stays as fast as it began.

A day of it is some hundred million runs, more than the memory of a small board. So a step's figures are taken when it
ends, and only the times of the first and of the last window are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.bench.latency import percentiles, time_for
from edgefer.bench.rows import Step

STEPS = 120
"""Parts that a run is told in, at most."""
WINDOW_S = 60.0
"""What is compared: so much at the begin and at the end, or thirds of a shorter run."""

Milliseconds = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Steady:
    """The figures of a sustained run, in milliseconds unless they say seconds."""

    seconds: float
    """Spent in the runs and between them, without the fraction of a thousandth that taking the figures needs."""
    runs: int
    window_s: float
    first_p50: float
    last_p50: float
    steps: tuple[Step, ...]


def run_steadily(call: Callable[[], object], seconds: float) -> Steady:
    """Run `call` for so many seconds, at least twice."""
    window = min(WINDOW_S, seconds / 3)
    first: list[Milliseconds] = []
    last: deque[tuple[Milliseconds, float]] = deque()
    steps: list[Step] = []
    begun = past = 0.0
    while past < seconds or len(steps) < 2:
        nanoseconds, took = time_for(call, 1, seconds / STEPS)
        ms = nanoseconds / 1e6
        p50, p99 = percentiles(ms, (50, 99))
        steps.append(Step(past + took / 2, len(ms), p50, p99))
        past += took
        if begun < window:
            first.append(ms)
            begun += took
        last.append((ms, took))
        while sum(s for _, s in last) - last[0][1] >= window:
            last.popleft()
    return Steady(
        seconds=past,
        runs=sum(step.runs for step in steps),
        window_s=window,
        first_p50=_median_within(np.concatenate(first), window),
        last_p50=_median_within(np.concatenate([ms for ms, _ in last])[::-1], window),
        steps=tuple(steps),
    )


def _median_within(ms: Milliseconds, seconds: float) -> float:
    """Return the median of the runs that together take so long, of the first where it alone takes longer."""
    fit = np.searchsorted(np.cumsum(ms), seconds * 1000, side="right")
    return float(np.median(ms[: max(1, int(fit))]))
