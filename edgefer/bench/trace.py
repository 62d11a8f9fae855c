"""Heat, clock and power while something is measured.

The measuring runs in another process; this one has nothing to do but look once a second.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from edgefer.bench._fields import Fields, short, texts
from edgefer.devices import board
from edgefer.devices.description import DeviceProfile
from edgefer.devices.power import PowerMeter
from edgefer.errors import RecordError

INTERVAL_S = 1.0
COMMAND_INTERVAL_S = 5.0
"""Between two questions that start a program: that takes some milliseconds of a core that may be the measured one."""
MAX_POINTS = 4000
"""An hour of one a second; a longer measurement is looked at less often."""
IDLE_S = 3.0
MAX_TEXT = 1000


@dataclass(frozen=True)
class Trace:
    """What was read during a measurement; all tuples but the last have an entry for each point."""

    seconds: tuple[float, ...]
    """When, from the start of the sampling on."""
    temperature_c: tuple[float | None, ...]
    """Of the hottest zone."""
    mhz: tuple[int | None, ...]
    """Clock of the slowest core; a core that has nothing to do may be slower than the one that measures."""
    watts: tuple[float | None, ...]
    """None where it is not told, and between two questions of a command."""
    throttled: tuple[str, ...] = ()
    """What the firmware gave as the reason for slowing the device down at any of these moments, sorted."""
    power_source: str | None = None
    """What the watts are of, such as `ina3221 VDD_IN`; None = the machine does not tell."""

    def __post_init__(self) -> None:
        """Raise RecordError when the parts contradict each other."""
        if not len(self.seconds) == len(self.temperature_c) == len(self.mhz) == len(self.watts) <= MAX_POINTS:
            raise RecordError(f"trace: lists differ in length, or have more than {MAX_POINTS:,} points; measure again")
        if any(b < a for a, b in zip((0.0, *self.seconds), self.seconds, strict=False)):
            raise RecordError("trace: 'seconds' goes back; measure again")
        if self.power_source is None and any(w is not None for w in self.watts):
            raise RecordError("trace: there are watts without 'power_source'; measure again")
        if list(self.throttled) != sorted(set(self.throttled)):
            raise RecordError("trace: 'throttled' must be sorted, each reason once; measure again")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Any) -> Trace:
        """Return the trace of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "trace")
        seconds = entry.readings("seconds", float, MAX_POINTS)
        watts = entry.readings("watts", float, MAX_POINTS)
        if None in seconds:
            raise RecordError("trace: 'seconds' must hold numbers, found None; measure again")
        if any(w is not None and w < 0 for w in watts):
            raise RecordError("trace: 'watts' must be 0 or more; measure again")
        trace = cls(
            seconds=tuple(seconds),
            temperature_c=tuple(entry.readings("temperature_c", float, MAX_POINTS)),
            mhz=tuple(entry.readings("mhz", int, MAX_POINTS)),
            watts=tuple(watts),
            throttled=tuple(_short_text(t) for t in texts(entry.take("throttled", list), "throttled")),
            power_source=None if entry.is_null("power_source") else _short_text(entry.take("power_source", str)),
        )
        entry.done()
        return trace


class Sampler:
    """Samples in a thread of its own for as long as the `with` block lasts; what it saw is its `trace` afterwards."""

    def __init__(
        self,
        profile: DeviceProfile,
        root: Path = board.ROOT,
        meter: PowerMeter | None = None,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Take `meter`, which may have served before; without one it looks for the source of watts itself."""
        self._profile, self._root, self._interval = profile, root, interval_s
        self._meter = PowerMeter(profile, root) if meter is None else meter
        self._points: list[tuple[float, float | None, int | None, float | None]] = []
        self._throttled: set[str] = set()
        self._end = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="edgefer-trace", daemon=True)
        self.started = 0.0
        """The `time.monotonic()` that the trace's seconds count from."""

    def __enter__(self) -> Sampler:
        self.started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the sampling, which may take as long as the profile's commands; raises what went wrong in the thread."""
        self._end.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    @property
    def throttled(self) -> frozenset[str]:
        """What the firmware gave as reasons for slowing the device down until now."""
        return frozenset(self._throttled.copy())

    @property
    def trace(self) -> Trace:
        """What was seen; raises RuntimeError before the end of the `with` block."""
        if not self._points or self._thread.is_alive():
            raise RuntimeError("there is a trace after the with block, when nothing went wrong in it")
        seconds, temperatures, mhz, watts = zip(*self._points, strict=True)
        return Trace(seconds, temperatures, mhz, watts, tuple(sorted(self._throttled)), self._meter.source)

    def _work(self) -> None:
        try:
            self._sample_until_the_end()
        except BaseException as error:  # raised again where the with block ends
            self._error = error

    def _sample_until_the_end(self) -> None:
        due = asked = self.started
        ask = True
        if self._meter.counts:
            self._meter.sample()  # the mean until now is not of this measurement
        while True:
            self._points.append(self._point(ask))
            if ask:
                asked = time.monotonic()
            if len(self._points) >= MAX_POINTS:
                self._points = self._points[::2]
                self._interval *= 2
            due = max(due + self._interval, time.monotonic())
            if self._end.wait(due - time.monotonic()):
                break
            ask = time.monotonic() - asked >= COMMAND_INTERVAL_S
        if (
            self._meter.counts
        ):  # the mean since the last point; what tells of the moment would tell of the rest after it
            self._points.append(self._point(ask=False))

    def _point(self, ask: bool) -> tuple[float, float | None, int | None, float | None]:
        """Return (seconds, °C, MHz, watts) of now; starts programs only if `ask`."""
        watts = self._meter.sample() if ask or not self._meter.starts_process else None
        seconds = time.monotonic() - self.started
        temperature = board.temperature(self._profile, self._root)
        mhz = min(board.frequencies_mhz(self._profile, self._root), default=None)
        if ask:
            state = board.throttled(self._profile, self._root)
            self._throttled.update(state.now if state else ())
        return round(seconds, 3), temperature, mhz, None if watts is None else round(watts, 4)


def mean_watts(trace: Trace, start: float = 0.0, end: float = float("inf")) -> float | None:
    """Return the mean of the watts between two of the trace's seconds; None when nothing is known of that time.

    Each reading counts for the time since the one before it. So the first does not count: the measurement had hardly
    begun.
    """
    known = [(s, w) for s, w in zip(trace.seconds, trace.watts, strict=True) if w is not None]
    # A counter's first reading is a mean since the start of the sampling, and the point of that has no watts.
    begin = trace.seconds[0] if trace.seconds else 0.0
    joules = duration = 0.0
    for (since, _), (second, watts) in zip([(begin, 0.0), *known], known, strict=False):
        weight = min(second, end) - max(since, start)
        if weight > 0:
            joules += weight * watts
            duration += weight
    return joules / duration if duration else None


def idle_watts(meter: PowerMeter, seconds: float = IDLE_S) -> float | None:
    """Return what the board takes while nothing is done for some seconds; None when it does not tell."""
    if meter.source is None:
        return None
    found = []
    begin = time.monotonic()
    meter.sample()  # the mean until now, or the moment in which this process was still busy
    while time.monotonic() - begin < seconds:
        time.sleep(min(INTERVAL_S, seconds))
        found.append(meter.sample())
    known = [watts for watts in found if watts is not None]
    return round(sum(known) / len(known), 4) if known else None


def _short_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise RecordError(f"trace: a text is too long, found {short(text)}; measure again")
    return text
