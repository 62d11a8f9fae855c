"""JSON lines: one object a frame, for programs."""

from __future__ import annotations

import json
from typing import TextIO

from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks import Sink, write_line


class JsonLines(Sink):
    """Writes one object a line to a stream that stays the caller's; each line is flushed at once and is ASCII."""

    name = "--json"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Write one line."""
        write_line(self._stream, json.dumps(result.to_json()))

    def close(self) -> None:
        """Do nothing: the stream is the caller's."""
