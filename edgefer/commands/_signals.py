"""What a run hears from outside while it goes: stop, and read the configuration again."""

from __future__ import annotations

import signal
from types import FrameType


class Signals:
    """Notes SIGINT, SIGTERM (stop after this frame) and SIGHUP (read the configuration again).

    Without a configuration SIGHUP means that the terminal has closed, and stops too, unless it is ignored (nohup).
    """

    def __init__(self, *, configured: bool) -> None:
        self.stop: int | None = None
        self.reload = False
        self.opening = True
        """Whether there is nothing yet to be finished: a signal then ends the process at once."""
        self._configured = configured
        self._previous = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        if not configured and self._previous[signal.SIGHUP] == signal.SIG_IGN:
            del self._previous[signal.SIGHUP]

    def __enter__(self) -> Signals:
        for number in self._previous:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and self._configured:
            self.reload = True
        elif self.stop is not None or (self.opening and number == signal.SIGINT):  # a second one interrupts at once
            raise KeyboardInterrupt
        elif self.opening:
            raise SystemExit(0)
        else:
            self.stop = number
