"""Keep native libraries from writing to the terminal: they know no logger, only file descriptors 1 and 2."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

NO_TELEMETRY = {"CI": "true"}
"""Environment under which openvino and nncf report nothing to anyone: the only switch that both know.

It is more than privacy: the reporting thread once hung a conversion for good, in a fork during an import.
"""


@contextlib.contextmanager
def telemetry_off() -> Iterator[None]:
    """Keep openvino from reporting its import over the network, and from leaving an identifier in the home folder."""
    kept = {name: os.environ.get(name) for name in NO_TELEMETRY}
    os.environ.update(NO_TELEMETRY)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def native_chatter_silenced() -> Iterator[None]:
    """Send file descriptors 1 and 2 to nowhere inside the block; Python's exceptions pass as ever.

    EDGEFER_VERBOSE=1 in the environment leaves them alone.
    """
    if os.environ.get("EDGEFER_VERBOSE") == "1":
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)


@contextlib.contextmanager
def native_errors_silenced() -> Iterator[None]:
    """Keep native libraries off standard error inside the block; what Python writes to `sys.stderr` goes there as ever.

    libjpeg has a line for each damaged picture of a camera, and no switch. Descriptor 2 leads nowhere once, and
    `sys.stderr` gets a descriptor of its own, so other threads may write meanwhile. EDGEFER_VERBOSE=1 changes nothing.
    """
    if os.environ.get("EDGEFER_VERBOSE") == "1":
        yield
        return
    before = sys.stderr
    before.flush()
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = open(own, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # whoever read it has gone
            sys.stderr.flush()
        sys.stderr = before
        os.dup2(own, 2)
        os.close(own)


@functools.cache
def silence_opencv() -> None:
    """Keep OpenCV and its FFmpeg from writing to the terminal, for good: what they found is in our own errors.

    Unlike `native_chatter_silenced` it may be called while other threads write. It must come before the first capture.
    EDGEFER_VERBOSE=1 leaves them as they are, and so do OPENCV_LOG_LEVEL and OPENCV_FFMPEG_LOGLEVEL.
    """
    if os.environ.get("EDGEFER_VERBOSE") == "1":
        return
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        opencv_log_level(0)


def opencv_log_level(level: int) -> int:
    """Set how much OpenCV itself logs (0: nothing), and return what it was."""
    import cv2

    change = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel  # it moved between versions
    return int(change(level))
