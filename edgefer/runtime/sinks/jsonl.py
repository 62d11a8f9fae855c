"""JSON lines: one object a frame, for programs."""

from __future__ import annotations

import json
from typing import TextIO

from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult


class JsonLines:
    """Writes one object a line to a stream that stays the caller's; each line is flushed at once and is ASCII."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Write one line."""
        self._stream.write(json.dumps(result.to_json()) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: the stream is the caller's."""
