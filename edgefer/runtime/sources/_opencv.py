"""OpenCV's switches that hold for the whole process: what FFmpeg is allowed."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator

import cv2

from edgefer.errors import SourceError

OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
LOCK_TIMEOUT = 30.0
"""Seconds to wait until another thread has opened its capture; that has timeouts of its own."""

CHECKS_CERTIFICATES = (4, 13)
"""The first OpenCV that did, of those tried: 4.10 and 4.12 let an impostor through, 4.11 takes no options at all."""

_opening = threading.Lock()


def has(backend: int) -> bool:
    """Return whether this OpenCV was built with a backend (one of its CAP_ constants)."""
    return bool(cv2.videoio_registry.hasBackend(backend))


def version() -> tuple[int, ...]:
    """Return the first two numbers of OpenCV's version, which may be such as `4.10.0-dev`."""
    return tuple(int(part) for part in re.findall(r"\d+", cv2.__version__)[:2])


@contextlib.contextmanager
def ffmpeg_options(options: str | None) -> Iterator[None]:
    """Have the capture that is opened inside the block take FFmpeg options, as `name;value|name;value`.

    OpenCV knows no other way than the environment, so one capture is opened at a time. What the user has put there
    is kept and wins. Raises SourceError when another thread does not come to an end with its opening.
    """
    if options is None:
        yield
        return
    if not _opening.acquire(timeout=LOCK_TIMEOUT):
        raise SourceError(f"another capture has been opening for {LOCK_TIMEOUT:g} s; start again if it never ends")
    users = os.environ.get(OPTIONS)
    try:
        os.environ[OPTIONS] = f"{options}|{users}" if users else options
        yield
    finally:
        if users is None:
            os.environ.pop(OPTIONS, None)
        else:
            os.environ[OPTIONS] = users
        _opening.release()
