"""What one picture, a folder and a pattern share: files read one by one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from edgefer.errors import SourceError
from edgefer.preprocess import read_picture
from edgefer.quiet import silence_opencv
from edgefer.runtime.frames import Frame


class Pictures:
    """A frame source over picture files; those that cannot be read are skipped and counted."""

    fps: float | None = None
    live = False

    def __init__(self, files: Sequence[Path], where: str) -> None:
        silence_opencv()
        self.skipped = 0
        self._files = files
        self._where = where
        self._opened = time.monotonic()

    def __enter__(self) -> Pictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        """Yield the pictures that can be read; raises SourceError at the end when it was none."""
        index = 0
        for file in self._files:
            image = read_picture(file)
            if image is None:
                self.skipped += 1
                continue
            yield Frame(index, time.monotonic() - self._opened, image, file.name)
            index += 1
        if index == 0:
            raise SourceError(f"{self._where}: no picture could be read, {self.skipped} tried; are they whole?")
