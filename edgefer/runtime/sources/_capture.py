"""What everything that OpenCV captures shares: a cv2.VideoCapture that has proved that it gives pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from edgefer.errors import SourceError
from edgefer.preprocess import MAX_PICTURE_PIXELS, Pixels
from edgefer.quiet import silence_opencv
from edgefer.runtime.frames import CaptureOptions, Frame
from edgefer.runtime.sources._opencv import ffmpeg_options, has
from edgefer.runtime.sources._stream import Stream

READ_TIMEOUT = 10.0
"""Seconds in which a live source must be open, and then give each picture."""


@dataclass(frozen=True)
class Manner:
    """How a target is to be captured."""

    backend: int
    live: bool = False
    stops: str = ""
    """Of a live source: the message of the error that its end is."""
    timeouts: bool = False
    """Whether the backend takes READ_TIMEOUT."""
    ffmpeg: str | None = None
    """Options for FFmpeg, as `name;value|name;value`."""
    prepare: Callable[[cv2.VideoCapture], None] | None = None
    """Called before the first picture is read."""
    patience: int = 0
    """How many pictures in a row may fail before the source counts as stopped."""


def open_capture(target: str | int, manner: Manner) -> Capture | None:
    """Open `target` and read its first picture; None when either fails.

    Raises SourceError when its pictures are larger than a picture may be: that is seen before any is decoded.
    """
    silence_opencv()
    limit = int(READ_TIMEOUT * 1000)
    parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    try:
        with ffmpeg_options(manner.ffmpeg):
            handle = cv2.VideoCapture(target, manner.backend, parameters if manner.timeouts else [])
    except cv2.error:
        return None
    try:
        if not handle.isOpened():
            handle.release()
            return None
        if manner.prepare:
            manner.prepare(handle)
        width, height = handle.get(cv2.CAP_PROP_FRAME_WIDTH), handle.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if width * height > MAX_PICTURE_PIXELS:
            raise SourceError(_too_large(width, height))
        capture = Capture(handle, manner)
        return capture if capture.ready() else None
    except BaseException:
        handle.release()
        raise


def open_stream(uri: str, options: str, missing: str, stops: str) -> Capture:
    """Open a network stream with FFmpeg and these options for it; raises SourceError with `missing`, and at its end."""
    ffmpeg = has(cv2.CAP_FFMPEG)
    backend = cv2.CAP_FFMPEG if ffmpeg else cv2.CAP_ANY
    manner = Manner(backend, live=True, stops=stops, timeouts=ffmpeg, ffmpeg=options)
    capture = open_capture(uri, manner)
    if capture is None:
        raise SourceError(missing)
    return capture


def wished_size(options: CaptureOptions, width: int, height: int) -> tuple[int, int]:
    """Return the size to ask for, even numbers; a side that is not wished follows the shape of `width` × `height`."""
    if options.width and options.height:
        return options.width, options.height
    if options.width:
        return options.width, max(2, round(options.width * height / width / 2) * 2)
    if options.height:
        return max(2, round(options.height * width / height / 2) * 2), options.height
    return width, height


class Capture(Stream):
    """A frame source over an open cv2.VideoCapture."""

    def __init__(self, handle: cv2.VideoCapture, manner: Manner) -> None:
        super().__init__()
        self.live = manner.live
        self._handle = handle
        self._manner = manner
        self._media_time = 0.0

    @property
    def fps(self) -> float | None:
        """The frame rate that the file or driver states, None when it states none."""
        rate = float(self._handle.get(cv2.CAP_PROP_FPS))
        return rate if 0 < rate <= 1000 else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames up to the end; raises SourceError at the end of a live source."""
        yield from super().__iter__()
        if self.live:
            raise SourceError(f"{self._manner.stops} (after {self._index} frames)")

    def ready(self) -> bool:
        """Read the first picture; without one let go of the handle and return False."""
        self._first = self._read()
        if self._first is None:
            self._close()
        return self._first is not None

    def _read(self) -> Pixels | None:
        """Return the next picture; one that could not be read is counted, and None ends it all."""
        deadline = time.monotonic() + READ_TIMEOUT
        failed = 0
        while True:
            try:
                good, raw = self._handle.read()
            except cv2.error:
                good, raw = False, None
            if good and raw is not None:
                self.skipped += failed
                if raw.shape[0] * raw.shape[1] > MAX_PICTURE_PIXELS:  # a stream may change its size on the way
                    raise SourceError(_too_large(raw.shape[1], raw.shape[0]))
                return as_bgr(raw)
            failed += 1
            if failed > self._manner.patience or time.monotonic() > deadline:
                return None

    def _time(self) -> float:
        if self.live:
            return super()._time()
        stated = float(self._handle.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if self._index and not stated > self._media_time:  # some containers state none
            stated = self._media_time + 1 / (self.fps or 25.0)
        self._media_time = max(stated, 0.0)
        return self._media_time

    def _close(self) -> None:
        self._handle.release()


def _too_large(width: float, height: float) -> str:
    return f"its pictures have {width:.0f}×{height:.0f} pixels, at most {MAX_PICTURE_PIXELS} are read"


def as_bgr(picture: object) -> Pixels:
    """Return what OpenCV read as uint8 BGR [h, w, 3]; grey gets three equal channels."""
    pixels = np.asarray(picture, np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, :3])
