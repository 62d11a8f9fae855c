"""One picture."""

from __future__ import annotations

from pathlib import Path

from edgefer.errors import SourceError
from edgefer.preprocess import PICTURE_SUFFIXES, read_picture
from edgefer.runtime.frames import FrameSource

FORM = "picture (party.jpg, .png, .webp, …)"


def matches(uri: str) -> bool:
    """Return whether `uri` is a path that ends as a picture does."""
    return "://" not in uri and Path(uri).suffix.lower() in PICTURE_SUFFIXES and not Path(uri).is_dir()


def open_source(uri: str) -> FrameSource:
    """Return a source of one frame; raises SourceError when the file is missing or is no picture."""
    from edgefer.runtime.sources._pictures import Pictures

    path = Path(uri)
    if not path.is_file():
        raise SourceError(f"there is no picture {uri}; check the path")
    if read_picture(path) is None:
        raise SourceError(f"{uri} cannot be read as a picture ({path.stat().st_size} bytes); is it whole?")
    return Pictures([path], uri)
