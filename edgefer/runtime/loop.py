"""The run: frames from a source through the pipeline to every sink, until it ends or is told to stop."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from edgefer.runtime.frames import Frame, FrameSource
from edgefer.runtime.live import Live
from edgefer.runtime.outlet import Outlet, close_all
from edgefer.runtime.pipeline import Pipeline
from edgefer.runtime.results import Health
from edgefer.runtime.sinks import Sink
from edgefer.runtime.tally import Summary, Tally

HEALTH_EVERY = 1.0
"""Seconds between two reports of how the run is doing."""
RECENT = 5.0
"""Seconds that those reports look back."""


def run(
    source: FrameSource | Live,
    pipeline: Pipeline,
    sinks: Iterable[Sink],
    *,
    max_frames: int | None = None,
    keep_going: Callable[[], bool] = lambda: True,
    temperature: Callable[[], float | None] = lambda: None,
    engine_restarts: Callable[[], int] = lambda: 0,
    say: Callable[[str], None] = lambda _: None,
    report: Callable[[Summary], None] = lambda _: None,
) -> Summary:
    """Feed every frame of an opened source through the pipeline to all sinks; the sinks are closed at the end.

    Ends with the source, after `max_frames`, when `keep_going` says no (it is asked at every frame, and four times a
    second without one), when the last sink has gone, or a window is closed. A sink that fails is left out, and stands
    in the summary. `report` is given the summary also when the run ends with an error, a camera that is given up on.
    """
    outlets = [Outlet(sink, lossless=not source.live, say=say) for sink in sinks]
    tally = Tally()
    reporter = _Reporter(source, tally, outlets, temperature)
    try:
        with _reading(source) as frames:
            for frame, waited in _timed(frames):
                emitted: int | None = None
                if frame is not None:
                    result = pipeline.process(frame)
                    processed = time.perf_counter_ns()
                    for outlet in outlets:
                        outlet.put(frame, result, keep_going)
                    emitted = time.perf_counter_ns()
                    stages = {"capture": waited, **result.stage_ms, "emit": (emitted - processed) / 1e6}
                    tally.add(result, stages, frame.captured)
                    reporter.count(stages)
                reporter.tell_if_due()
                ended = tally.frames == max_frames or _nobody_left(outlets) or not keep_going()
                if emitted is not None:
                    tally.add_stage("other", (time.perf_counter_ns() - emitted) / 1e6)
                if ended:
                    break
    finally:
        close_all(outlets)
        live = source if isinstance(source, Live) else None
        summary = tally.summary(
            skipped=source.skipped,
            dropped=live.dropped if live else 0,
            reconnects=live.reconnects if live else 0,
            engine_restarts=engine_restarts(),
            sink_failures={outlet.name: outlet.failure for outlet in outlets if outlet.failure is not None},
            sink_drops={outlet.name: outlet.dropped for outlet in outlets if outlet.dropped},
        )
        report(summary)
    return summary


def _nobody_left(outlets: Sequence[Outlet]) -> bool:
    """Return whether all sinks have gone, or a person closed the window."""
    return any(outlet.closed_window for outlet in outlets) or (bool(outlets) and not any(o.open for o in outlets))


def _reading(source: FrameSource | Live) -> contextlib.AbstractContextManager[Iterable[Frame | None]]:
    """Return the frames of a source, which nothing reads any more at the end; a live one has a thread of its own."""
    return contextlib.nullcontext(source) if source.live else contextlib.closing(_ahead(source))


def _ahead(source: FrameSource | Live) -> Generator[Frame | None, None, None]:
    """Yield the frames of a file, each read while the one before is worked on."""
    frames = iter(source)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        waiting = reader.submit(next, frames, None)
        while (frame := waiting.result()) is not None:
            waiting = reader.submit(next, frames, None)
            yield frame


def _timed(frames: Iterable[Frame | None]) -> Iterator[tuple[Frame | None, float]]:
    """Yield each frame with the milliseconds that were waited for it."""
    start = time.perf_counter_ns()
    for frame in frames:
        yield frame, (time.perf_counter_ns() - start) / 1e6
        if frame is not None:
            start = time.perf_counter_ns()


class _Reporter:
    """Tells the sinks how the run is doing: every HEALTH_EVERY seconds, and when the camera goes or comes back."""

    def __init__(
        self,
        source: FrameSource | Live,
        tally: Tally,
        outlets: Sequence[Outlet],
        temperature: Callable[[], float | None],
    ) -> None:
        self._source = source
        self._tally = tally
        self._outlets = outlets
        self._temperature = temperature
        self._recent: deque[tuple[float, Mapping[str, float]]] = deque()
        self._next = 0.0
        self._up = True

    def count(self, stages: Mapping[str, float]) -> None:
        """Remember what a frame took, for a while."""
        self._recent.append((time.monotonic(), stages))

    def tell_if_due(self) -> None:
        """Tell the sinks when it is time to."""
        now = time.monotonic()
        up = not isinstance(self._source, Live) or self._source.up
        if now < self._next and up == self._up:
            return
        self._next, self._up = now + HEALTH_EVERY, up
        health = self._health(now)
        for outlet in self._outlets:
            outlet.tell(health)

    def _health(self, now: float) -> Health:
        while self._recent and self._recent[0][0] < now - RECENT:
            self._recent.popleft()
        seconds = self._tally.seconds
        live = self._source if isinstance(self._source, Live) else None
        names = self._recent[-1][1] if self._recent else {}
        return Health(
            camera="up" if self._up else "lost",
            seconds=round(seconds, 1),
            frames=self._tally.frames,
            fps=round(len(self._recent) / max(min(RECENT, seconds), 0.001), 1) if self._up else 0.0,
            dropped=live.dropped if live else 0,
            reconnects=live.reconnects if live else 0,
            stage_ms={name: round(median(stages[name] for _, stages in self._recent), 3) for name in names},
            temperature=self._temperature(),
        )
