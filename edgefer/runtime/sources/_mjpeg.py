"""Motion JPEG over HTTP: only whole pictures come out, and none is decoded before its size is known."""

from __future__ import annotations

import http.client

import cv2
import numpy as np

from edgefer.errors import SourceError
from edgefer.imagesize import jpeg_extent
from edgefer.preprocess import Pixels
from edgefer.runtime.sources import _capture
from edgefer.runtime.sources._capture import as_bgr
from edgefer.runtime.sources._multipart import Parts
from edgefer.runtime.sources._stream import Stream
from edgefer.runtime.sources._web import Answer, reason

MAX_PIXELS = 7680 * 4320
_PADDING = b"\0\r\n\t \xff"


class Mjpeg(Stream):
    """A frame source over an answer, which it closes at the end; pictures that are not whole are skipped.

    Its end is a SourceError, and so it is when no whole picture comes in time.
    """

    live = True
    fps: float | None = None

    def __init__(self, answer: Answer, parts: Parts, where: str) -> None:
        """Raises SourceError when no whole picture comes in time."""
        super().__init__()
        self._answer = answer
        self._parts = parts
        self._where = where
        self._first = self._read()

    def _read(self) -> Pixels:
        timeout = _capture.READ_TIMEOUT
        self._answer.allow(timeout)
        try:
            while (part := self._parts.next()) is not None:
                image = decode(part)
                if image is not None:
                    return image
                self.skipped += 1
        except TimeoutError as error:
            raise self._error(f"no whole picture came for {timeout:g} s") from error
        except http.client.IncompleteRead as error:
            raise self._error("the stream ended") from error
        except (OSError, http.client.HTTPException, ValueError, SourceError) as error:
            raise self._error(reason(error)) from error
        raise self._error("the stream ended")

    def _close(self) -> None:
        self._answer.close()

    def _error(self, what: str) -> SourceError:
        skipped = f", {self.skipped} broken" if self.skipped else ""
        return SourceError(
            f"the camera at {self._where} gives no more pictures: {what} (after {self._index} frames{skipped})"
        )


def decode(part: bytes) -> Pixels | None:
    """Return the picture of a part as uint8 BGR [h, w, 3]; None unless it is one whole JPEG of a sane size."""
    data = part.lstrip(b"\r\n")
    extent = jpeg_extent(data)
    if extent is None or extent[0] * extent[1] > MAX_PIXELS or data[extent[2] :].strip(_PADDING):
        return None
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8, extent[2]), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if picture is None else as_bgr(picture)
