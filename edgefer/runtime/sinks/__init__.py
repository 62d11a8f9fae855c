"""Where results go: one file a kind; each imports what it needs when it is used."""

from __future__ import annotations

from typing import Protocol

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
