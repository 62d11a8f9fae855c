"""Rotation and flip, for every kind of source alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import TracebackType

import cv2
import numpy as np

from edgefer.preprocess import Pixels
from edgefer.runtime.frames import CaptureOptions, Frame, FrameSource

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_FLIPS = {"h": 1, "v": 0}


class Turned:
    """A frame source that turns and mirrors the pictures of another, which it opens and closes with itself."""

    def __init__(self, source: FrameSource, options: CaptureOptions) -> None:
        self.skipped = source.skipped
        self._source = source
        self._options = options

    @property
    def fps(self) -> float | None:
        """The other source's."""
        return self._source.fps

    @property
    def live(self) -> bool:
        """The other source's."""
        return self._source.live

    def __enter__(self) -> Turned:
        self._source.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, turned."""
        try:
            for frame in self._source:
                self.skipped = self._source.skipped
                yield dataclasses.replace(frame, image=turn(frame.image, self._options.rotate, self._options.flip))
        finally:
            self.skipped = self._source.skipped


def turn(image: Pixels, rotate: int, flip: str) -> Pixels:
    """Return the picture turned clockwise by `rotate` degrees and then mirrored, as an array of its own."""
    turned = cv2.rotate(image, _TURNS[rotate]) if rotate else image
    if flip != "none":
        turned = cv2.flip(turned, _FLIPS[flip])
    return np.ascontiguousarray(turned, np.uint8)
