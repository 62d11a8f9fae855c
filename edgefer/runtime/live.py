"""A live source that stays up: only its newest frame, and a new connection whenever it stops or falls silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType

from edgefer.errors import SourceError
from edgefer.runtime.frames import Frame, FrameSource
from edgefer.runtime.memory import give_memory_back

TICK = 0.25
"""Seconds that a wait for a frame takes at most."""
OPENING = 20.0
"""Seconds that a camera may take for its first frame, beyond the stall limit."""
STEADY = 3.0
"""Seconds that a connection must last before failures are counted from 0 again."""
MOST_STUCK = 4
"""Captures that have not come back from the driver, with which no further one is begun."""
HOPELESS = 60.0
"""Seconds after which a capture that has not come back never will."""


@dataclass(frozen=True)
class Retry:
    """When a camera is given up on, and how long to wait before it is tried again."""

    stall: float = 20.0
    """Seconds without a frame after which the capture is abandoned."""
    most: int | None = None
    """Failures in a row after which the run ends; None: never."""
    delays: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 10.0, 60.0)
    """Seconds before each next try; the last one stays."""

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row (1 = the first)."""
        return self.delays[min(failures, len(self.delays)) - 1]


class _Capture(threading.Thread):
    """Reads one connection to its end and leaves each frame in the slot; a later frame replaces an earlier one."""

    def __init__(self, slot: _Slot, open_it: Callable[[], FrameSource]) -> None:
        super().__init__(name="edgefer-capture", daemon=True)
        self.failure: str | None = None
        """Why it ended; None while it runs."""
        self.first_frame: float | None = None
        self.skipped = 0
        self.abandoned: float | None = None
        self._slot = slot
        self._open_it = open_it
        self._unwanted = threading.Event()

    def run(self) -> None:
        reason = "it ended"
        try:
            if not self._unwanted.is_set():
                with self._open_it() as source:
                    self._read(source)
        except Exception as error:  # whatever a driver raises, the camera is tried again
            reason = " ".join(str(error).split()) or type(error).__name__
        self.failure = reason
        self._slot.wake()

    def _read(self, source: FrameSource) -> None:
        try:
            for frame in source:
                if self._unwanted.is_set():
                    return
                self.skipped = source.skipped
                if self.first_frame is None:
                    self.first_frame = time.monotonic()
                self._slot.put(self, frame)
        finally:
            self.skipped = source.skipped

    def abandon(self) -> None:
        """Take no more frames of it; it lets go of the camera as soon as the driver gives it back."""
        self._unwanted.set()
        self._slot.refuse(self)
        if self.abandoned is None:
            self.abandoned = time.monotonic()


class _Slot:
    """Room for one frame between the capture and the run."""

    def __init__(self) -> None:
        self.dropped = 0
        self.index = 0
        self.owner: _Capture | None = None
        self._frame: Frame | None = None
        self._taken = False
        self._woken = False
        self._changed = threading.Condition()

    def put(self, capture: _Capture, frame: Frame) -> None:
        with self._changed:
            if capture is not self.owner:  # abandoned, and late
                return
            if self._taken:  # what came while the run was still being prepared is neither numbered nor counted
                self.dropped += self._frame is not None
                self.index += 1
            self._frame = replace(frame, index=self.index, captured=time.monotonic())
            self._changed.notify()

    def refuse(self, capture: _Capture) -> None:
        """Take nothing of `capture` any more."""
        with self._changed:
            if capture is self.owner:
                self.owner = None

    def take(self, timeout: float) -> Frame | None:
        with self._changed:
            if self._frame is None and not self._woken:
                self._changed.wait(timeout)
            frame, self._frame, self._woken = self._frame, None, False
            self._taken |= frame is not None
            return frame

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify()


class Live:
    """A frame source over a live one.

    A thread reads the camera and keeps only the newest frame, so a frame is never older than the work on the one
    before it, however slow that is. When the camera stops, fails or gives nothing for `retry.stall` seconds, it is
    opened anew after `retry.delay`. Frames are numbered through, dropped ones too, and timed from the beginning of the
    run. Between frames it yields None, at least four times a second, so that whoever iterates can look after other
    things; everything but the reading happens in the iterating thread.
    """

    live = True

    def __init__(
        self,
        first: FrameSource | None,
        reopen: Callable[[], FrameSource],
        *,
        where: str,
        retry: Retry = Retry(),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`first` is open and is read first; None: it is away as yet, and opened as if it had just been lost.

        `where` is what messages call the camera, without passwords; `say` is told when it goes and comes back.
        """
        self.reconnects = 0
        self.up = True
        self.fps = first.fps if first is not None else None
        self._slot = _Slot()
        self._reopen = reopen
        self._where = where
        self._retry = retry
        self._say = say
        self._began = time.monotonic()
        self._last = self._began
        self._lost_at = self._began
        self._failures = 0
        self._next_try: float | None = None
        self._captures: list[_Capture] = []
        self._skipped = 0
        self._start(reopen if first is None else lambda: first)

    @property
    def dropped(self) -> int:
        """Frames that a newer one replaced before anybody took them."""
        return self._slot.dropped

    @property
    def skipped(self) -> int:
        """Corrupt frames, over all connections."""
        return self._skipped + sum(capture.skipped for capture in self._captures)

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the camera; waits 2 seconds at most for a driver that does not answer."""
        deadline = time.monotonic() + 2
        for capture in self._captures:
            capture.abandon()
        for capture in self._captures:
            capture.join(max(0.0, deadline - time.monotonic()))

    def __iter__(self) -> Iterator[Frame | None]:
        """Yield the newest frame, or None while there is none; raises SourceError when the camera is given up on."""
        while True:
            frame = self._slot.take(self._patience())
            if frame is not None:
                self._came()
                yield replace(frame, time=(frame.captured or self._last) - self._began)
            else:
                self._look_after()
                yield None

    def _patience(self) -> float:
        """Return the seconds to wait for a frame before something else is due."""
        if self._next_try is None:
            return TICK
        return min(TICK, max(0.0, self._next_try - time.monotonic()))

    def _came(self) -> None:
        now = time.monotonic()
        self._last = now
        if not self.up:
            self.up = True
            self.reconnects += 1
            self._say(f"camera {self._where} is back after {now - self._lost_at:.0f} s (reconnect {self.reconnects})")
        if self._failures and now - (self._captures[-1].first_frame or now) >= STEADY:
            self._failures = 0

    def _look_after(self) -> None:
        """Notice that the camera is gone or silent, and try it again when it is time."""
        now = time.monotonic()
        if self._next_try is not None:
            if now >= self._next_try:
                self._start(self._reopen)
            return
        capture = self._captures[-1]
        if capture.failure is not None:
            self._lost(capture.failure, now)
        elif capture.first_frame is None and now - self._last > self._retry.stall + OPENING:
            self._lost(f"it did not open within {self._retry.stall + OPENING:.0f} s", now)
        elif capture.first_frame is not None and now - self._last > self._retry.stall:
            self._lost(f"no picture for {self._retry.stall:.0f} s", now)

    def _lost(self, reason: str, now: float) -> None:
        self._captures[-1].abandon()
        self._failures += 1
        if self._retry.most is not None and self._failures > self._retry.most:
            raise SourceError(f"camera {self._where} is lost, {self._retry.most} retries failed; the last: {reason}")
        if self.up:
            self.up = False
            self._lost_at = now
            self._say(f"camera {self._where} is lost: {reason}; trying again until it is back")
        self._next_try = now + self._retry.delay(self._failures)

    def _start(self, open_it: Callable[[], FrameSource]) -> None:
        now = time.monotonic()
        stuck = [capture for capture in self._captures if capture.is_alive()]
        self._skipped += sum(capture.skipped for capture in self._captures if capture not in stuck)
        self._captures = stuck
        if len(stuck) >= MOST_STUCK:
            if now - min(capture.abandoned or now for capture in stuck) > HOPELESS:
                raise SourceError(
                    f"camera {self._where}: {MOST_STUCK} reads never came back from its driver; "
                    "only a new process can help: start edgefer again, or let systemd do so (docs/unattended.md)"
                )
            self._next_try = now + TICK
            return
        if self._failures:
            give_memory_back()
        self._next_try = None
        self._last = now
        capture = _Capture(self._slot, open_it)
        self._slot.owner = capture
        self._captures.append(capture)
        capture.start()
