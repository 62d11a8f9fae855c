"""Where results go: one file a kind; each imports what it needs when it is used."""

from __future__ import annotations

import os
from typing import Protocol, TextIO

from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult


class StopRun(Exception):
    """Raised by a sink when the person watching wants the run to end."""


class Sink(Protocol):
    """Takes every frame with its result."""

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Take one frame; raises SinkError when it cannot, StopRun when the run should end."""

    def close(self) -> None:
        """Finish; may be called more than once."""


def write_line(stream: TextIO, line: str) -> None:
    """Write one line at once; raises StopRun when whoever read the stream has gone, as `head` does."""
    try:
        stream.write(line + "\n")
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # what is still buffered must not fail at exit
        raise StopRun from None
