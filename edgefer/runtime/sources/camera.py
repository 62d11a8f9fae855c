"""A camera: by number, by device file, or over the network."""

from __future__ import annotations

import re
from pathlib import Path

from edgefer.errors import SourceError
from edgefer.runtime.frames import FrameSource

FORM = "camera (0, /dev/video0, http://, https:// or rtsp:// address)"
TIMEOUT_MS = 10_000


def matches(uri: str) -> bool:
    """Return whether `uri` is a number, a file under /dev, or an http, https or rtsp address."""
    return (uri.isascii() and uri.isdigit()) or uri.startswith("/dev/") or _is_address(uri)


def open_source(uri: str) -> FrameSource:
    """Open a camera and see that it gives a picture; raises SourceError when it does not.

    A local camera or an rtsp stream that stops is a SourceError as well; an http stream may end.
    """
    import cv2

    from edgefer.runtime.sources._capture import open_capture

    if _is_address(uri):
        backend = cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_ANY
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT_MS]
        capture = open_capture(uri, backend, timeouts if backend == cv2.CAP_FFMPEG else None)
        reason = "nothing answered there with a video stream in time; open the address in a player"
    else:
        number = _number(uri)
        reason = "it is missing, in use, or gives no picture; list them with ls /dev/video*; try --source demo"
        if number is None:
            raise SourceError(f"{uri} is no camera: give its number or /dev/videoN; list them with ls /dev/video*")
        capture = open_capture(number)
    shown = without_password(uri)
    if capture is None:
        raise SourceError(f"no camera at {shown}: {reason}")
    capture.live = True
    if not uri.lower().startswith("http"):
        capture.stops = f"the camera at {shown} gives no more pictures; check its cable and power, then start again"
    return capture


def without_password(uri: str) -> str:
    """Return an address fit for a message: `rtsp://user:secret@host` → `rtsp://…@host`."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1…@", uri)


def _is_address(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://", "rtsp://"))


def _number(uri: str) -> int | None:
    """Return N for `N`, `/dev/videoN` and links to it (/dev/v4l/by-id/…)."""
    if uri.isdigit():
        return int(uri)
    found = re.fullmatch(r"/dev/video(\d+)", str(Path(uri).resolve()))
    return int(found[1]) if found else None
