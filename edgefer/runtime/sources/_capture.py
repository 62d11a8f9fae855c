"""What video files and cameras share: a cv2.VideoCapture that has proved that it gives pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

import cv2
import numpy as np

from edgefer.errors import SourceError
from edgefer.preprocess import Pixels
from edgefer.quiet import native_chatter_silenced
from edgefer.runtime.frames import Frame


def open_capture(target: str | int, backend: int = cv2.CAP_ANY, options: list[int] | None = None) -> Capture | None:
    """Open `target` and read its first picture; None when either fails. OpenCV's own messages are not shown."""
    with native_chatter_silenced():
        try:
            handle = cv2.VideoCapture(target, backend, options or [])
            good, first = handle.read() if handle.isOpened() else (False, None)
        except cv2.error:
            return None
        if not good or first is None:
            handle.release()
            return None
    return Capture(handle, as_bgr(first))


class Capture:
    """A frame source over an open cv2.VideoCapture, whose first picture is read already."""

    def __init__(self, handle: cv2.VideoCapture, first: Pixels) -> None:
        self.skipped = 0
        self.live = False
        self.stops: str | None = None
        """The message of the error that the end of the stream is; None: the end is nothing unusual."""
        self._handle = handle
        self._first: Pixels | None = first
        self._index = 0
        self._opened = time.monotonic()
        self._media_time = 0.0

    @property
    def fps(self) -> float | None:
        """The frame rate that the file or driver states, None when it states none."""
        rate = float(self._handle.get(cv2.CAP_PROP_FPS))
        return rate if 0 < rate <= 1000 else None

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.release()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames up to the end; raises SourceError at the end of what should have none."""
        while True:
            image, self._first = self._first, None
            if image is None:
                good, raw = self._handle.read()
                if not good or raw is None:
                    break
                image = as_bgr(raw)
            yield Frame(self._index, self._time(), image)
            self._index += 1
        if self.stops is not None:
            raise SourceError(f"{self.stops} (after {self._index} frames)")

    def _time(self) -> float:
        if self.live:
            return time.monotonic() - self._opened
        stated = float(self._handle.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if self._index and not stated > self._media_time:  # some containers state none
            stated = self._media_time + 1 / (self.fps or 25.0)
        self._media_time = max(stated, 0.0)
        return self._media_time


def as_bgr(picture: object) -> Pixels:
    """Return what OpenCV read as uint8 BGR [h, w, 3]; grey gets three equal channels."""
    pixels = np.asarray(picture, np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])
