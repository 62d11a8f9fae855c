"""The annotated video, as an MP4 file that appears when it is whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edgefer.errors import SinkError
from edgefer.preprocess import Pixels
from edgefer.quiet import native_chatter_silenced
from edgefer.runtime.annotate import annotate
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult


class VideoFile:
    """Writes annotated frames to a temporary file beside `path`, which takes its name at `close`.

    The first frame gives the size; others are fitted into it, with black borders where their shape differs.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """Prepare to write; raises SinkError when the folder is missing or not writable, or the name is not .mp4."""
        if path.suffix.lower() != ".mp4":
            raise SinkError(f"{path} cannot be recorded to: the name must end in .mp4")
        if path.is_dir():
            raise SinkError(f"{path} is a folder; give the name of a file")
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".tmp.mp4", dir=path.parent)
        except OSError as error:
            raise SinkError(
                f"{path} cannot be written: {error.strerror} ({path.parent}); choose another folder"
            ) from error
        os.close(handle)
        self._path, self._temporary = path, Path(name)
        self._fps = fps if 0 < fps <= 1000 else 25.0
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0
        self._closed = False

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Draw the result and append the frame; raises SinkError when OpenCV cannot encode."""
        picture = annotate(frame.image, result.faces)
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
        self._writer.write(fit(picture, self._size))
        self._frames += 1

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
            self._temporary.chmod(0o644)
            self._temporary.replace(self._path)
        except OSError as error:
            raise SinkError(f"{self._path} could not be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink()


def _frames(path: Path) -> int:
    """Return how many frames a finished video file states; 0 when it cannot be opened."""
    with native_chatter_silenced():
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
