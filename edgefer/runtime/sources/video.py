"""A video file: every frame, at media time."""

from __future__ import annotations

import os
from pathlib import Path

from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._uris import is_path, shown

FORM = "video file (clip.mp4, .avi, .mkv, .mov, .webm, …)"
ADJUSTABLE = False
SUFFIXES = frozenset(
    {".mp4", ".m4v", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".mjpeg", ".mjpg", ".ts", ".wmv", ".flv"}
    | {".3gp", ".ogv", ".gif"}
)
CONTAINERS = "mov,mp4,m4a,3gp,matroska,webm,avi,mpeg,mpegvideo,mpegts,mjpeg,asf,flv,ogg,gif,m4v,h264,hevc"
OPTIONS = f"protocol_whitelist;file|format_whitelist;{CONTAINERS}"
"""A playlist that calls itself clip.mp4 must not make FFmpeg open other files."""


def matches(uri: str) -> bool:
    """Return whether `uri` is a path that ends as a video does."""
    return is_path(uri) and Path(uri).suffix.lower() in SUFFIXES and not uri.endswith("/") and not os.path.isdir(uri)


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Open a video file; raises SourceError when it is missing or no frame of it can be decoded."""
    import cv2

    from edgefer.runtime.sources._capture import Manner, open_capture
    from edgefer.runtime.sources._opencv import has

    if not os.path.isfile(uri):
        raise SourceError(f"there is no video {shown(uri)}; check the path")
    backend = cv2.CAP_FFMPEG if has(cv2.CAP_FFMPEG) else cv2.CAP_ANY
    try:  # an absolute path, so that no name is taken for a protocol
        capture = open_capture(os.path.realpath(uri), Manner(backend, ffmpeg=OPTIONS))
    except SourceError as error:
        raise SourceError(f"{shown(uri)} cannot be read as a video: {error}") from error
    if capture is None:
        size = os.path.getsize(uri)
        raise SourceError(f"{shown(uri)} cannot be read as a video ({size} bytes); try to play it with ffplay")
    return capture
