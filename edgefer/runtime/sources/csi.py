"""The camera on a Jetson's ribbon cable, through NVIDIA's part of GStreamer."""

from __future__ import annotations

import re
from fractions import Fraction

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources import gst
from edgefer.runtime.sources._uris import shown

FORM = "camera on a Jetson's ribbon cable (csi://0)"
ADJUSTABLE = True
SIZE = (1280, 720)
FPS = 30.0


def matches(uri: str) -> bool:
    """Return whether `uri` begins with `csi://`."""
    return uri.lower().startswith("csi://")


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open camera N of `csi://N`; raises SourceError when it gives no picture, and when it stops."""
    found = re.fullmatch(r"csi://([0-9]{0,2})", uri, re.IGNORECASE)
    if found is None:
        raise SourceError(f"{shown(uri)!r} is no camera: write csi://0, the number is the sensor's")
    return gst.open_pipeline(pipeline(int(found[1] or 0), options), f"the camera at {shown(uri)}")


def pipeline(sensor: int, options: CaptureOptions) -> str:
    """Return the pipeline in the words of gst-launch: the sensor's scaler makes the size, appsink drops old frames."""
    from edgefer.runtime.sources._capture import wished_size

    width, height = wished_size(options, *SIZE)
    rate = Fraction(options.fps or FPS).limit_denominator(1001)
    return (
        f"nvarguscamerasrc sensor-id={sensor}"
        f" ! video/x-raw(memory:NVMM), width=(int){width}, height=(int){height},"
        f" framerate=(fraction){rate.numerator}/{rate.denominator}"
        " ! nvvidconv ! video/x-raw, format=(string)BGRx"
        " ! videoconvert ! video/x-raw, format=(string)BGR"
        " ! appsink drop=true max-buffers=1 sync=false"
    )
