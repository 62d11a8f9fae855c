"""A drawn clip: two cartoon heads whose emotions change, for a trial without camera or files."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, Frame, FrameSource
from edgefer.runtime.sources._uris import shown

FORM = "demo or demo:FRAMES (a drawn clip)"
ADJUSTABLE = False
FRAMES = 150
MAX_FRAMES = 1_000_000


def matches(uri: str) -> bool:
    """Return whether `uri` is `demo` or begins with `demo:`."""
    return uri == "demo" or uri.startswith("demo:")


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Return the clip; raises SourceError when what follows `demo:` is no number of frames."""
    number = uri.partition(":")[2] if ":" in uri else str(FRAMES)
    if not (number.isascii() and number.isdigit() and len(number) <= 7 and 1 <= int(number) <= MAX_FRAMES):
        raise SourceError(f"{shown(uri)!r} is no demo: after the colon comes a number of frames from 1 to {MAX_FRAMES}")
    return Demo(int(number))


class Demo:
    """A frame source that draws each frame when it is asked for, as fast as they are taken."""

    live = False

    def __init__(self, frames: int) -> None:
        from edgefer.cartoon.clip import FPS, clip

        self.skipped = 0
        self.fps: float | None = FPS
        self._frames = clip(frames)

    def __enter__(self) -> Demo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames at media time."""
        for index, (image, _) in enumerate(self._frames):
            yield Frame(index, index / (self.fps or 25.0), image)
