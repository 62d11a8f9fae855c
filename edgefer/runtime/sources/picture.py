"""One picture."""

from __future__ import annotations

import os
from pathlib import Path

from edgefer.errors import SourceError
from edgefer.preprocess import MAX_PICTURE_PIXELS, PICTURE_SUFFIXES, read_picture
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources import folder
from edgefer.runtime.sources._uris import is_path, shown

FORM = "picture (party.jpg, .png, .webp, …)"
ADJUSTABLE = False


def matches(uri: str) -> bool:
    """Return whether `uri` is a path that ends as a picture does, and no pattern."""
    return is_path(uri) and Path(uri).suffix.lower() in PICTURE_SUFFIXES and not folder.matches(uri)


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Return a source of one frame; raises SourceError when the file is missing or is no picture."""
    from edgefer.runtime.sources._pictures import Pictures

    if not os.path.isfile(uri):
        raise SourceError(f"there is no picture {shown(uri)}; check the path")
    path = Path(uri)
    source = Pictures([path], shown(uri))
    if read_picture(path) is None:
        raise SourceError(
            f"{shown(uri)} cannot be read as a picture ({path.stat().st_size} bytes); is it whole, and of at most"
            f" {MAX_PICTURE_PIXELS // 1_000_000} million pixels?"
        )
    return source
