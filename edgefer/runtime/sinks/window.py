"""A window on the screen."""

from __future__ import annotations

import contextlib
import os
import sys

import cv2

from edgefer.errors import SinkError
from edgefer.runtime.annotate import annotate
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import Sink, StopRun

TITLE = "edgefer (q closes)"
_KEYS = {ord("q"), ord("Q"), 27}
_ADVICE = "install opencv-python in place of opencv-python-headless, or use --record FILE.mp4"


class Window(Sink):
    """Shows annotated frames; q, Esc or closing the window ends the run."""

    name = "--show"
    main_thread = True

    def __init__(self, blur: bool = False) -> None:
        """Open the window; raises SinkError without a display, or when OpenCV is the headless one."""
        if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # OpenCV's Qt would abort the whole process.
            raise SinkError(f"no window can be opened: there is no display (DISPLAY is not set); with one, {_ADVICE}")
        self._blur = blur
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)
        except cv2.error as error:
            raise SinkError(f"no window can be opened: this OpenCV cannot show any; {_ADVICE}") from error

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Show one frame; raises StopRun when the person closed the window."""
        cv2.imshow(TITLE, annotate(frame.image, result.faces, blur=self._blur))
        self._look()

    def tell(self, health: Health) -> None:
        """Keep the window alive while no frame comes; raises StopRun when the person closed it."""
        self._look()

    def _look(self) -> None:
        if cv2.waitKey(1) & 0xFF in _KEYS or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            raise StopRun

    def close(self) -> None:
        """Close the window."""
        with contextlib.suppress(cv2.error):
            cv2.destroyWindow(TITLE)
