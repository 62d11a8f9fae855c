"""The nouns of the runtime: frames, faces, and who gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from edgefer.preprocess import Box, Pixels


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
    """The file's name, where frames are files."""


@dataclass(frozen=True)
class Face:
    """Where a detector saw a face."""

    box: Box
    score: float = 1.0


class FrameSource(Protocol):
    """Gives frames one by one, once; a context manager that lets go of the camera or file at its end.

    Iterating raises SourceError when a source that should go on (a camera) stops.
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
