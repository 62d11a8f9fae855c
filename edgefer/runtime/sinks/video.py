"""The annotated video, as an MP4 file that appears when it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
from pathlib import Path

import cv2
import numpy as np

from edgefer.errors import SinkError
from edgefer.preprocess import Pixels
from edgefer.quiet import silence_opencv
from edgefer.runtime.annotate import annotate
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks import Sink

_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{16}\.tmp\.mp4")
"""Names of recordings that are under way; one that nobody holds a lock on was left by a process that was killed."""


class VideoFile(Sink):
    """Writes annotated frames to a temporary file beside `path`, which takes its name at `close`.

    What a process that was killed left in that folder is removed: pictures of people that nobody would find again.

    The first frame gives the size; others are fitted into it, with black borders where their shape differs. With
    `by_time` (cameras) a frame is left out or repeated where frames come faster or slower than `fps`, so that the video
    plays at the speed of what it shows; an outage is cut to a second.
    """

    def __init__(self, path: Path, fps: float, *, blur: bool = False, by_time: bool = False) -> None:
        """Prepare to write; raises SinkError for a folder that is missing or not writable, a name not .mp4 or taken."""
        if path.suffix.lower() != ".mp4":
            raise SinkError(f"{path} cannot be recorded to: the name must end in .mp4")
        if path.is_dir():
            raise SinkError(f"{path} is a folder; give the name of a file")
        if path.exists():
            raise SinkError(
                f"{path} exists, and a recording never replaces another: choose another name,"
                " or let the time be part of it, as in clip-%Y%m%d-%H%M%S.mp4"
            )
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp.mp4")
        try:
            _remove_unfinished(path.parent)
            self._lock = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SinkError(
                f"{path} cannot be written: {error.strerror} ({path.parent}); choose another folder"
            ) from error
        silence_opencv()
        self.name = f"--record {path}"
        self._blur = blur
        self._path, self._temporary = path, temporary
        self._fps = fps if 0 < fps <= 1000 else 25.0
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0
        self._by_time = by_time
        self._began: float | None = None
        self._closed = False

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Draw the result and append the frame; raises SinkError when OpenCV cannot encode."""
        times = self._times(result.time)
        if not times:
            return
        picture = annotate(frame.image, result.faces, blur=self._blur)
        if self._writer is None or self._size is None:
            height, width = picture.shape[:2]
            self._size = (width + width % 2, height + height % 2)  # the codec wants even sides
            self._writer = cv2.VideoWriter(
                str(self._temporary.resolve()), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size
            )
            if not self._writer.isOpened():
                raise SinkError(
                    f"{self._path} cannot be recorded: this OpenCV has no MP4 encoder; run without --record"
                )
        fitted = fit(picture, self._size)
        for _ in range(times):
            self._writer.write(fitted)
        self._frames += times

    def _times(self, now: float) -> int:
        """Return how often the frame of `now`, in seconds, is to be written."""
        if not self._by_time:
            return 1
        if self._began is None:
            self._began = now
        missing = round((now - self._began) * self._fps) + 1 - self._frames
        most = max(1, round(self._fps))
        if missing > most:  # the camera was away
            self._began += (missing - most) / self._fps
            missing = most
        return max(0, missing)

    def close(self) -> None:
        """Finish the file and give it its name; without any frame there is no file. Raises SinkError (full disk)."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._writer is None or not self._writer.isOpened():
                return
            self._writer.release()
            arrived = _frames(self._temporary)  # the encoder does not say that the disk was full
            if arrived != self._frames:
                raise SinkError(
                    f"{self._path} could not be written:"
                    f" {arrived} of {self._frames} frames arrived on disk; is it full?"
                )
            place = _free(self._path)
            self._temporary.replace(place)
            if place != self._path:
                raise SinkError(f"{self._path} has come into being meanwhile and is kept: this recording is {place}")
        except OSError as error:
            raise SinkError(f"{self._path} could not be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            os.close(self._lock)


def _remove_unfinished(folder: Path) -> None:
    for path in [path for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name)]:
        with contextlib.suppress(OSError):  # somebody else's, or still written to
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def _free(path: Path) -> Path:
    """Return `path`, or where there is something by now, the first free one of NAME-2.mp4, NAME-3.mp4 and so on."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(place for place in itertools.chain([path], others) if not place.exists())


def _frames(path: Path) -> int:
    """Return how many frames a finished video file states; 0 when it cannot be opened."""
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    return count


def fit(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """Return `picture`, uint8 [h, w, 3], as large as `size` (width, height) allows, centred on black."""
    width, height = size
    high, wide = picture.shape[:2]
    if (wide, high) == size:
        return picture
    scale = min(width / wide, height / high)
    if 0 <= width - wide <= 1 and 0 <= height - high <= 1:
        scale = 1.0
    inner = (max(1, round(wide * scale)), max(1, round(high * scale)))
    if inner != (wide, high):
        picture = np.asarray(cv2.resize(picture, inner, interpolation=cv2.INTER_AREA), np.uint8)
    whole = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    whole[top : top + inner[1], left : left + inner[0]] = picture
    return whole
