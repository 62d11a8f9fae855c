"""A video file: every frame, at media time."""

from __future__ import annotations

from pathlib import Path

from edgefer.errors import SourceError
from edgefer.runtime.frames import FrameSource

FORM = "video file (clip.mp4, .avi, .mkv, .mov, .webm, …)"
SUFFIXES = frozenset(
    {".mp4", ".m4v", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".mjpeg", ".mjpg", ".ts", ".wmv", ".flv"}
    | {".3gp", ".ogv", ".gif"}
)


def matches(uri: str) -> bool:
    """Return whether `uri` is a path that ends as a video does."""
    return "://" not in uri and Path(uri).suffix.lower() in SUFFIXES and not Path(uri).is_dir()


def open_source(uri: str) -> FrameSource:
    """Open a video file; raises SourceError when it is missing or no frame of it can be decoded."""
    from edgefer.runtime.sources._capture import open_capture

    path = Path(uri)
    if not path.is_file():
        raise SourceError(f"there is no video {uri}; check the path")
    capture = open_capture(str(path.resolve()))  # absolute, so that no name is taken for a protocol
    if capture is None:
        raise SourceError(f"{uri} cannot be read as a video ({path.stat().st_size} bytes); try to play it with ffplay")
    return capture
