"""What sources that read picture after picture share: the first is read early, as proof, and is the first frame."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from edgefer.preprocess import Pixels
from edgefer.runtime.frames import Frame

if TYPE_CHECKING:
    from typing_extensions import Self


class Stream(ABC):
    """A frame source but for its `fps` and `live`: numbers and times the pictures, and is a context manager.

    Whoever opens it puts into `_first` what `_read` gives first.
    """

    def __init__(self) -> None:
        """Time is counted from here."""
        self.skipped = 0
        self._first: Pixels | None = None
        self._index = 0
        self._opened = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames up to the end; raises SourceError as `_read` does."""
        while True:
            image, self._first = self._first, None
            if image is None:
                image = self._read()
            if image is None:
                return
            yield Frame(self._index, self._time(), image)
            self._index += 1

    def _time(self) -> float:
        """Return the time of the picture that was just read, in seconds."""
        return time.monotonic() - self._opened

    @abstractmethod
    def _read(self) -> Pixels | None:
        """Return the next picture, uint8 BGR [h, w, 3]; None at the end. Raises SourceError when it may not end."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of the camera or file."""
