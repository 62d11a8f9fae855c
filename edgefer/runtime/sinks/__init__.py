"""Where results go: one file a kind; each imports what it needs when it is used.

A run gives every sink a thread of its own and a short queue (see outlet.py): a slow or dead one holds up nobody else.
"""

from __future__ import annotations

import abc
import os
from typing import TextIO

from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health


class StopRun(Exception):
    """Raised by a sink that the person watching has closed: it wants no more, and is not at fault."""


class Sink(abc.ABC):
    """Takes every frame with its result. All calls come from one thread, which is not the one that made the sink."""

    name: str
    """What messages call it, such as `--record out.mp4`."""
    main_thread = False
    """Whether it must be called from the main thread, as windows must; then a slow one does hold up the run."""

    @abc.abstractmethod
    def write(self, frame: Frame, result: FrameResult) -> None:
        """Take one frame; raises SinkError when it cannot go on, StopRun when it is no longer wanted."""

    def tell(self, health: Health) -> None:  # noqa: B027 - most sinks have no use for it
        """Take note of how the run is doing; raises as `write` does."""

    @abc.abstractmethod
    def close(self) -> None:
        """Finish, and wait some seconds at most; may be called more than once. Raises SinkError."""


def write_line(stream: TextIO, line: str) -> None:
    """Write one line at once; raises StopRun when whoever read the stream has gone, as `head` does."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is still buffered must not fail at exit
        raise StopRun from None
