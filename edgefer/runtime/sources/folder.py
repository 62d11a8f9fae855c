"""A folder of pictures, in the order that a person would put them: 2.jpg before 10.jpg."""

from __future__ import annotations

import re
from pathlib import Path

from edgefer.errors import SourceError
from edgefer.preprocess import PICTURE_SUFFIXES
from edgefer.runtime.frames import FrameSource

FORM = "folder of pictures (photos/)"


def matches(uri: str) -> bool:
    """Return whether `uri` is a folder, or ends in a slash as one does."""
    return bool(uri) and "://" not in uri and not uri.startswith("/dev/") and (uri.endswith("/") or Path(uri).is_dir())


def open_source(uri: str) -> FrameSource:
    """Return the pictures right in the folder, not below it; raises SourceError when there is none."""
    from edgefer.runtime.sources._pictures import Pictures

    try:
        files = [f for f in Path(uri).iterdir() if f.suffix.lower() in PICTURE_SUFFIXES and not f.name.startswith(".")]
    except OSError as error:
        raise SourceError(f"{uri} cannot be read as a folder: {error.strerror}; check the path") from error
    if not files:
        raise SourceError(f"there is no picture in {uri}; it needs files such as 1.jpg or a.png right in it")
    return Pictures(sorted(files, key=natural), uri)


def natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Return a key that sorts digits in names as numbers."""
    parts = re.findall(r"\d+|\D+", file.name.lower())
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in parts], file.name
