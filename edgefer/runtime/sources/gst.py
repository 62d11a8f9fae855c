"""A GStreamer pipeline that ends in appsink, through an OpenCV that was built with GStreamer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._uris import shown

if TYPE_CHECKING:
    from edgefer.runtime.sources._capture import Capture

FORM = "GStreamer pipeline ('gst:videotestsrc ! videoconvert ! appsink')"
ADJUSTABLE = False
TIMEOUTS_SINCE = (4, 7)
"""The OpenCV from which its GStreamer waits for a limited time only. Before, it is opened in a thread of its own."""
OPEN_TIMEOUT = 15.0
MOST_STUCK = 4
"""Openings that never came back, after which there are no more: each holds a thread for good."""

_stuck: list[threading.Thread] = []


def matches(uri: str) -> bool:
    """Return whether `uri` begins with `gst:`."""
    return uri.startswith("gst:")


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open the pipeline; raises SourceError when it is wrong or gives no picture, and when it ends."""
    pipeline = uri.removeprefix("gst:").strip()
    if "appsink" not in pipeline:
        raise SourceError(f"{shown(uri)!r} has no appsink to take pictures from; end it with ! videoconvert ! appsink")
    return open_pipeline(pipeline, shown(uri))


def open_pipeline(pipeline: str, where: str) -> FrameSource:
    """Open a pipeline, which messages call `where`; raises SourceError as `open_source` does."""
    import cv2

    from edgefer.runtime.sources._capture import Manner, open_capture
    from edgefer.runtime.sources._opencv import has, version

    if not has(cv2.CAP_GSTREAMER):
        raise SourceError(
            f"{where} needs an OpenCV with GStreamer, and this one ({cv2.__version__}) has none, as all from pip; take"
            " the system's: apt install python3-opencv (JetPack brings its own), a virtual environment made with"
            " --system-site-packages, and pip uninstall opencv-python-headless in it"
        )
    timed = version() >= TIMEOUTS_SINCE
    manner = Manner(
        cv2.CAP_GSTREAMER,
        live=True,
        stops=f"{where} gives no more pictures; check the camera and its cable",
        timeouts=timed,
    )
    capture = open_capture(pipeline, manner) if timed else _in_time(lambda: open_capture(pipeline, manner), where)
    if capture is None:
        raise SourceError(f"{where} gives no picture; try it with gst-launch-1.0, fakesink in place of appsink")
    return capture


def _in_time(open_it: Callable[[], Capture | None], where: str) -> Capture | None:
    """Return what `open_it` returns; raises SourceError when that takes too long, and closes what comes too late."""
    _stuck[:] = [thread for thread in _stuck if thread.is_alive()]
    if len(_stuck) >= MOST_STUCK:
        raise SourceError(f"{where}: {MOST_STUCK} openings never came back; start again, with OpenCV 4.7 or later")
    found: list[Capture | None] = []
    errors: list[BaseException] = []
    lock, late = threading.Lock(), threading.Event()

    def work() -> None:
        capture = None
        try:
            capture = open_it()
        except BaseException as error:
            errors.append(error)
        with lock:
            found.append(capture)
            if late.is_set() and capture is not None:
                capture.__exit__(None, None, None)

    thread = threading.Thread(target=work, name="edgefer-gst-open", daemon=True)
    thread.start()
    thread.join(OPEN_TIMEOUT)
    with lock:
        if not found:
            late.set()
            _stuck.append(thread)
            raise SourceError(f"{where} gave no picture for {OPEN_TIMEOUT:g} s; check that its elements are installed")
    if errors:
        raise errors[0]
    return found[0]
