"""Lines for a person: one when what is seen changes."""

from __future__ import annotations

from typing import TextIO

from edgefer.page import plain
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks import Sink, write_line


class TextLines(Sink):
    """Writes `time  #id label confidence` whenever the labels seen differ from the line before."""

    name = "text"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: object = None

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Write one line if something changed."""
        seen = (result.name, tuple((face.id, face.shown) for face in result.faces))
        if seen == self._last:
            return
        self._last = seen
        faces = "   ".join(f"#{f.id} {f.shown} {f.confidence:.0%}" for f in result.faces) or "no face"
        line = f"{result.time:8.2f} s  {faces}{f'   {result.name}' if result.name else ''}"
        write_line(self._stream, plain(line))  # names come from strangers: no line, no escape of theirs

    def close(self) -> None:
        """Do nothing: the stream is the caller's."""
