"""A video file again and again, for trials that last: time and frame numbers go on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import TracebackType

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, Frame, FrameSource
from edgefer.runtime.sources import video
from edgefer.runtime.sources._uris import shown

FORM = "video file without end (loop:clip.mp4, or loop:TIMES:clip.mp4)"
ADJUSTABLE = False
MAX_TIMES = 1_000_000


def matches(uri: str) -> bool:
    """Return whether `uri` begins with `loop:`."""
    return uri.startswith("loop:")


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open the video; raises SourceError when it cannot be opened, or TIMES is out of range."""
    found = re.fullmatch(r"loop:(?:([0-9]+):)?(.+)", uri, re.DOTALL)
    if found is None or not video.matches(found[2]):
        raise SourceError(f"{shown(uri)!r} is no loop: write loop:clip.mp4 or loop:10:clip.mp4")
    if found[1] and not (len(found[1]) <= 7 and 1 <= int(found[1]) <= MAX_TIMES):
        raise SourceError(f"{shown(uri)!r} is no loop: it is repeated 1 to {MAX_TIMES} times")
    return Loop(found[2], int(found[1]) if found[1] else None)


class Loop:
    """A frame source that opens a video file anew at each end; `times` None is without end."""

    live = False

    def __init__(self, path: str, times: int | None) -> None:
        self.skipped = 0
        self._path = path
        self._times = times
        self._video = video.open_source(path, CaptureOptions())
        self.fps = self._video.fps

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames of all rounds; raises SourceError when the file can no longer be opened."""
        index, begin, last, done = 0, 0.0, 0.0, 0
        while True:
            for frame in self._video:
                last = begin + frame.time
                yield replace(frame, index=index, time=last)
                index += 1
            done += 1
            self._video.__exit__(None, None, None)
            if done == self._times:
                return
            self._video = video.open_source(self._path, CaptureOptions())
            begin = last + 1 / (self.fps or 25.0)
