"""A network camera over RTSP, through OpenCV's FFmpeg."""

from __future__ import annotations

from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._uris import shown

FORM = "RTSP camera (rtsp://USER:PASSWORD@HOST/PATH, rtsps://…)"
ADJUSTABLE = False
OPTIONS = "rtsp_transport;tcp|protocol_whitelist;rtsp,rtsps,rtp,srtp,tcp,udp,tls,crypto"
"""TCP, because lost UDP packets smear pictures; and whatever the stream says, FFmpeg opens no file."""


def matches(uri: str) -> bool:
    """Return whether `uri` is an rtsp or rtsps address."""
    return uri.lower().startswith(("rtsp://", "rtsps://"))


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open the stream; raises SourceError when nothing answers with video in time, and when the stream stops."""
    from edgefer.runtime.sources._capture import open_stream

    where = shown(uri)
    return open_stream(
        uri,
        OPTIONS,
        f"no camera at {where}: nothing answered there with a video stream in time; check address, user and password",
        f"the camera at {where} gives no more pictures; check its power and the network",
    )
