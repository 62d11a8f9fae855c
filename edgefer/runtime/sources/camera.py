"""A camera that Linux shows as /dev/videoN: USB, or a capture card."""

from __future__ import annotations

import errno
import functools
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._uris import shown

if TYPE_CHECKING:
    import cv2

FORM = "camera (0, /dev/video0, or a link such as /dev/v4l/by-id/…)"
ADJUSTABLE = True
DEV = Path("/dev")
PROC = Path("/proc")
PATIENCE = 5
"""Pictures in a row that a camera may send broken: USB cameras do now and then."""
RAW_PIXELS = 640 * 480
"""Above this size USB 2 is too slow for raw pictures at 30 a second, so they are asked for as JPEG."""


def matches(uri: str) -> bool:
    """Return whether `uri` is a number or under /dev."""
    return (uri.isascii() and uri.isdigit()) or (uri.startswith("/dev/") and "\0" not in uri)


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open a camera and see that it gives a picture; raises SourceError when it does not, and when it stops.

    Links are followed at each opening, so a camera that comes back under another number is found by its id.
    """
    import cv2

    from edgefer.runtime.sources._capture import Manner, open_capture
    from edgefer.runtime.sources._opencv import has

    where = shown(uri)
    device = device_of(uri)
    number = re.fullmatch(r"video(\d{1,9})", device.name)
    if number is None or not device.exists():
        raise SourceError(f"no camera at {where}: {trouble(device)}{advice()}")
    manner = Manner(
        cv2.CAP_V4L2 if has(cv2.CAP_V4L2) else cv2.CAP_ANY,
        live=True,
        stops=f"the camera at {where} gives no more pictures; check its cable and power",
        prepare=functools.partial(_ask, options),
        patience=PATIENCE,
    )
    capture = open_capture(int(number[1]), manner)
    if capture is None:
        raise SourceError(f"no camera at {where}: {trouble(device)}{advice()}")
    return capture


def device_of(uri: str) -> Path:
    """Return the device file that a number, a path under /dev or a link means now."""
    name = f"video{int(uri)}" if uri.isdigit() and len(uri) < 10 else uri.removeprefix("/dev/")
    return Path(os.path.realpath(DEV / name))


def trouble(device: Path) -> str:
    """Return why a device file gave no picture, and what to do, found by looking at it."""
    listing = "list the cameras with ls /dev/video* /dev/v4l/by-id/"
    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            return f"{device.name} is no camera; {listing}"
        os.close(os.open(device, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return f"there is no {device.name}, is it plugged in? {listing}"
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"{device.name} may not be opened; sudo usermod -aG video $USER, then log in again"
        if error.errno == errno.EBUSY:
            return f"{device.name} is in use by another program; stop that"
        if error.errno in (errno.ENODEV, errno.ENXIO):
            return f"{device.name} is no longer connected; plug the camera in again"
        return f"{device.name} cannot be opened ({error.strerror}); {listing}"
    if not re.fullmatch(r"video\d+", device.name):
        return f"{device.name} is no camera; {listing}"
    user = holder(device)
    if user:
        return f"{device.name} is in use by {user}; stop that"
    return (
        f"{device.name} gives no picture: it is in use by another program, or is the second device of a camera, which"
        f" has none; {listing}"
    )


def holder(device: Path) -> str | None:
    """Return name and number of another process that has a device open, as far as this user may see it."""
    for link in PROC.glob("[0-9]*/fd/*"):
        process = link.parent.parent
        try:
            if process.name != str(os.getpid()) and os.readlink(link) == str(device):
                return f"{(process / 'comm').read_text(errors='replace').strip()} (process {process.name})"
        except OSError:  # it ended, or is another user's
            continue
    return None


def advice() -> str:
    """Return where the built-in camera of this board is found instead; nothing on other machines."""
    from edgefer.devices.board import device_tree_model

    model = device_tree_model()
    if "Raspberry Pi" in model:
        return ". The camera on the ribbon cable is --source picamera2://"
    if "Jetson" in model:
        return ". The camera on the ribbon cable is --source csi://0"
    return ""


def _ask(options: CaptureOptions, handle: cv2.VideoCapture) -> None:
    """Ask the driver for format, size and rate; it takes the nearest that it has."""
    import cv2

    if (options.width or 0) * (options.height or options.width or 0) > RAW_PIXELS or (options.height or 0) > 480:
        handle.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))  # a camera without JPEG keeps what it has
    if options.width or options.height:
        from edgefer.runtime.sources._capture import wished_size

        width, height = wished_size(options, 4, 3)
        handle.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        handle.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    if options.fps:
        handle.set(cv2.CAP_PROP_FPS, options.fps)
