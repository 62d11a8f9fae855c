"""A thread and a short queue for each sink: one that is slow, dead or broken holds up nobody else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from edgefer.errors import EdgeferError
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import Sink, StopRun

DEPTH = 4
"""Frames that wait for a sink at most: they are what memory it can hold on to."""
PATIENCE = 15.0
"""Seconds that a sink gets to finish in."""
_THREAD = "edgefer sink "


def close_all(outlets: Sequence[Outlet]) -> None:
    """Let all sinks finish, side by side, for PATIENCE seconds at most."""
    deadline = time.monotonic() + PATIENCE
    for outlet in outlets:
        outlet.finish()
    for outlet in outlets:
        outlet.close(deadline)


def any_stuck() -> bool:
    """Return whether a sink's thread still runs after its outlet was closed; such a process cannot end by itself."""
    return any(thread.name.startswith(_THREAD) for thread in threading.enumerate())


class Outlet:
    """Hands frames to one sink, in its own thread unless the sink wants the main one.

    `lossless`: `put` waits until there is room (files: no frame is lost); else the oldest waiting frame makes room.
    """

    def __init__(self, sink: Sink, *, lossless: bool, say: Callable[[str], None]) -> None:
        self.name = sink.name
        self.dropped = 0
        """Frames that the sink was too slow for."""
        self.failure: str | None = None
        """Why the sink gave up; None while it works, or when it was closed by whoever watched."""
        self.closed_window = False
        """Whether a person closed the window that the sink is."""
        self._sink = sink
        self._lossless = lossless
        self._say = say
        self._open = True
        self._frames: deque[tuple[Frame, FrameResult]] = deque()
        self._health: Health | None = None
        self._finish = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        if not sink.main_thread:
            self._thread = threading.Thread(target=self._work, name=f"{_THREAD}{sink.name}", daemon=True)
            self._thread.start()

    @property
    def open(self) -> bool:
        """Whether the sink still takes frames."""
        return self._open

    def put(self, frame: Frame, result: FrameResult, keep_going: Callable[[], bool] = lambda: True) -> None:
        """Hand a frame over; a lossless outlet waits for room while `keep_going`."""
        if not self._open:
            return
        if self._thread is None:
            self._guarded(partial(self._sink.write, frame, result))
            return
        with self._changed:
            while self._lossless and self._open and len(self._frames) >= DEPTH and keep_going():
                self._changed.wait(0.25)
            if len(self._frames) >= DEPTH:
                if self._lossless:
                    return  # told to stop while it waited
                self._frames.popleft()
                self.dropped += 1
                if self.dropped == 1:
                    self._say(f"{self.name} is slower than the camera; it gets fewer frames")
            self._frames.append((frame, result))
            self._changed.notify_all()

    def tell(self, health: Health) -> None:
        """Hand over how the run is doing; only the newest waits."""
        if not self._open:
            return
        if self._thread is None:
            self._guarded(partial(self._sink.tell, health))
            return
        with self._changed:
            self._health = health
            self._changed.notify_all()

    def finish(self) -> None:
        """Let the sink write what waits and close itself; returns at once. `close` must follow."""
        if self._thread is None:
            self._guarded(self._sink.close)
            self._open = False
            return
        with self._changed:
            self._finish = True
            self._changed.notify_all()

    def close(self, deadline: float) -> None:
        """Wait until the sink has finished, until `deadline` of `time.monotonic` at most."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
            if self._thread.is_alive():
                self._fail(f"it did not finish within {PATIENCE:.0f} s")
        self._open = False

    def _work(self) -> None:
        while self._open:
            with self._changed:
                while not (self._frames or self._health or self._finish):
                    self._changed.wait()
                item = self._frames.popleft() if self._frames else None
                health, self._health = self._health, None
                done = self._finish and item is None
                self._changed.notify_all()
            if health is not None:
                self._guarded(partial(self._sink.tell, health))
            if item is not None and self._open:
                self._guarded(partial(self._sink.write, *item))
            if done:
                break
        self._guarded(self._sink.close)
        self._open = False

    def _guarded(self, call: Callable[[], None]) -> None:
        """Call the sink; what goes wrong ends this sink and no other."""
        try:
            call()
        except StopRun:
            self._shut()
            self.closed_window = self._sink.main_thread
            self._try_to_say(f"{self.name}: nobody listens any more")
        except (EdgeferError, OSError) as error:
            self._fail(str(error))
        except Exception as error:  # a fault of ours or of a library: it must not take the camera down
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        self._shut()
        if self.failure is None:
            self.failure = reason
            self._try_to_say(f"{self.name} failed and is left out from now on: {reason}")

    def _try_to_say(self, what: str) -> None:
        with contextlib.suppress(OSError):  # who hears nothing must not keep the sink from being closed
            self._say(what)

    def _shut(self) -> None:
        with self._changed:
            self._open = False
            self._frames.clear()
            self._changed.notify_all()
