"""Counting a run as it goes, in a fixed amount of memory: stages, ages, emotions over time, flicker."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgefer.runtime.results import FrameResult

PERIODS = 120
"""Parts that a run is divided into, at most, to show emotions over time."""


class Spread:
    """The distribution of a duration, in steps of 2 % from 1 µs to some minutes; its size does not grow."""

    _STEP = math.log(1.02)
    _BINS = 1000

    def __init__(self) -> None:
        self._counts = [0] * self._BINS
        self._n = 0
        self._sum = 0.0

    def add(self, ms: float) -> None:
        """Count one duration in milliseconds."""
        step = int(math.log(ms * 1000) / self._STEP) + 1 if ms > 0.001 else 0
        self._counts[min(step, self._BINS - 1)] += 1
        self._n += 1
        self._sum += ms

    @property
    def total(self) -> float:
        """The sum of all, in milliseconds."""
        return self._sum

    def percentile(self, share: float) -> float:
        """Return the duration in milliseconds that `share` (0–1) of all do not exceed, within 2 %; 0 for none."""
        if not self._n:
            return 0.0
        wanted, seen = share * self._n, 0
        for step, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return math.exp(step * self._STEP) / 1000
        return math.exp(self._BINS * self._STEP) / 1000


@dataclass(frozen=True)
class StageFigures:
    """What one stage of a frame took, in milliseconds."""

    p50: float
    p99: float
    share: float
    """Of all the time that the run's frames took, 0–1."""


@dataclass(frozen=True)
class Period:
    """A part of the run: how often each emotion was shown in it."""

    start: float
    """Seconds since the run began."""
    seconds: float
    emotions: dict[str, int]


@dataclass(frozen=True)
class Summary:
    """How a run went."""

    frames: int
    skipped: int
    """Frames or pictures that could not be read."""
    dropped: int
    """Frames of a camera that a newer one replaced before they were looked at."""
    reconnects: int
    engine_restarts: int
    seconds: float
    frames_per_second: float
    frames_with_faces: int
    faces: int
    emotions: dict[str, int]
    """Label as shown → number of faces that showed it, over all frames."""
    over_time: tuple[Period, ...]
    stages_ms: dict[str, StageFigures]
    age_ms: dict[str, float] | None
    """p50 and p99 of how old a camera's frame was when its answer was there; None for files."""
    label_changes: int
    label_changes_per_minute: float | None
    """Flicker: how often a face's label changed, for each minute of a face; None without such a minute's part."""
    unsmoothed_changes_per_minute: float | None
    """The same of the labels before smoothing."""
    sink_failures: dict[str, str]
    """Sink → why it gave up."""
    sink_drops: dict[str, int]
    """Sink → frames that it was too slow for."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data for `json.dumps`."""
        return asdict(self)


class Tally:
    """Takes every frame's result; says at any time how the run went so far."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.frames = 0
        self._with_faces = 0
        self._emotions: Counter[str] = Counter()
        self._stages: dict[str, Spread] = {}
        self._ages = Spread()
        self._aged = False
        self._flicker = _Flicker()
        self._periods: list[Counter[str]] = []
        self._period_s = 60.0

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began

    def add(self, result: FrameResult, stage_ms: Mapping[str, float], captured: float | None) -> None:
        """Count a frame; `stage_ms` has all its stages, `captured` is the monotonic time of a camera's frame."""
        self.frames += 1
        self._with_faces += bool(result.faces)
        shown = Counter(face.shown for face in result.faces)
        self._emotions.update(shown)
        for stage, ms in stage_ms.items():
            self.add_stage(stage, ms)
        if captured is not None:
            self._aged = True
            self._ages.add((time.monotonic() - captured) * 1000)
        if result.name is None:
            self._flicker.add(result)
        self._period().update(shown)

    def add_stage(self, stage: str, ms: float) -> None:
        """Count what one stage of a frame took; `other` is the bookkeeping that no stage is charged with."""
        self._stages.setdefault(stage, Spread()).add(ms)

    def _period(self) -> Counter[str]:
        """Return the current period's counts; when there are too many periods, two become one each."""
        index = int(self.seconds / self._period_s)
        while index >= PERIODS:  # more than once when a camera was away for long
            self._periods = [sum(self._periods[i : i + 2], Counter[str]()) for i in range(0, len(self._periods), 2)]
            self._period_s *= 2
            index //= 2
        while len(self._periods) <= index:
            self._periods.append(Counter())
        return self._periods[index]

    def stages_ms(self) -> dict[str, StageFigures]:
        """Return what each stage took so far."""
        whole = sum(spread.total for spread in self._stages.values()) or 1.0
        return {
            stage: StageFigures(
                round(spread.percentile(0.5), 4), round(spread.percentile(0.99), 4), round(spread.total / whole, 4)
            )
            for stage, spread in self._stages.items()
        }

    def summary(self, **counts: Any) -> Summary:
        """Return the figures; `counts` are those fields of Summary that others know: drops, reconnects, sinks."""
        seconds = self.seconds
        return Summary(
            frames=self.frames,
            seconds=round(seconds, 3),
            frames_per_second=round(self.frames / seconds, 3) if seconds else 0.0,
            frames_with_faces=self._with_faces,
            faces=sum(self._emotions.values()),
            emotions=dict(self._emotions.most_common()),
            over_time=tuple(
                Period(i * self._period_s, min(self._period_s, seconds - i * self._period_s), dict(c.most_common()))
                for i, c in enumerate(self._periods)
            ),
            stages_ms=self.stages_ms(),
            age_ms={"p50": round(self._ages.percentile(0.5), 3), "p99": round(self._ages.percentile(0.99), 3)}
            if self._aged
            else None,
            label_changes=self._flicker.changes,
            label_changes_per_minute=self._flicker.per_minute(self._flicker.changes),
            unsmoothed_changes_per_minute=self._flicker.per_minute(self._flicker.raw_changes),
            **counts,
        )


class _Flicker:
    """Counts changes of labels, and the time that faces were there for."""

    def __init__(self) -> None:
        self.changes = 0
        self.raw_changes = 0
        self._face_seconds = 0.0
        self._last: dict[int, tuple[str, str]] = {}
        self._time: float | None = None

    def add(self, result: FrameResult) -> None:
        """Compare the faces of a frame with those of the frame before."""
        elapsed = 0.0 if self._time is None else max(0.0, result.time - self._time)
        now = {face.id: (face.label, face.raw_label) for face in result.faces}
        for face, (label, raw) in now.items():
            before = self._last.get(face)
            if before is not None:
                self._face_seconds += elapsed
                self.changes += label != before[0]
                self.raw_changes += raw != before[1]
        self._last, self._time = now, result.time

    def per_minute(self, changes: int) -> float | None:
        """Return changes for each minute of a face; None before a second of one."""
        return round(changes * 60 / self._face_seconds, 2) if self._face_seconds >= 1 else None
