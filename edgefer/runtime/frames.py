"""The nouns of the runtime: frames, faces, and who gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from edgefer.errors import SourceError
from edgefer.preprocess import Box, Eyes, Pixels

FLIPS = ("none", "h", "v")
TURNS = (0, 90, 180, 270)
MAX_SIDE = 16_384


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    index: int
    """0 for the first frame that could be read."""
    time: float
    """Seconds since the source was opened; for video files and the demo, seconds of media time."""
    image: Pixels
    """uint8 BGR [h, w, 3]."""
    name: str | None = None
    """The file's name, where each frame is a file: such frames have nothing to do with one another."""
    captured: float | None = None
    """When a live source gave it, in seconds of `time.monotonic`."""


@dataclass(frozen=True)
class CaptureOptions:
    """How pictures are wanted of a source. A size or rate is a wish: a camera gives the nearest that it has."""

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    rotate: int = 0
    """Degrees clockwise: 0, 90, 180 or 270."""
    flip: str = "none"
    """`h` mirrors left and right, `v` top and bottom; after the rotation."""

    def __post_init__(self) -> None:
        """Raise SourceError for a value out of range."""
        for name, value in (("width", self.width), ("height", self.height)):
            if value is not None and not 1 <= value <= MAX_SIDE:
                raise SourceError(f"{name} is {value}; it must be 1–{MAX_SIDE} pixels")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise SourceError(f"fps is {self.fps}; it must be above 0 and at most 1000")
        if self.rotate not in TURNS:
            raise SourceError(f"rotate is {self.rotate}; choose one of {', '.join(map(str, TURNS))}")
        if self.flip not in FLIPS:
            raise SourceError(f"flip is {self.flip!r}; choose one of {', '.join(FLIPS)}")


@dataclass(frozen=True)
class Face:
    """Where a detector saw a face."""

    box: Box
    score: float = 1.0
    eyes: Eyes | None = None
    """Where the eyes are, if the detector tells."""


class FrameSource(Protocol):
    """Gives frames one by one, once; a context manager that lets go of the camera or file at its end.

    Opening and iterating may happen in a thread. Iterating raises SourceError when a source that should go on (a
    camera) stops; a read comes back within some 15 seconds, with a frame or an error, wherever the driver allows it.
    """

    skipped: int
    """Pictures or frames that could not be read so far."""

    @property
    def fps(self) -> float | None:
        """Frames a second as the source states it, None where that means nothing."""

    @property
    def live(self) -> bool:
        """Whether frames come in real time, and are lost when nobody takes them."""

    def __enter__(self) -> FrameSource:
        """Return the source itself, open."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the camera or file."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""


class FaceDetector(Protocol):
    """Finds faces."""

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in a picture, uint8 BGR [h, w, 3], from left to right."""

    def forget(self) -> None:
        """Remember nothing of the pictures so far: the next one does not follow them."""
