"""A folder of pictures, or a pattern of names, in the order that a person would put them: 2.jpg before 10.jpg."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from edgefer.errors import SourceError
from edgefer.preprocess import PICTURE_SUFFIXES
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources import video
from edgefer.runtime.sources._uris import is_path, shown

FORM = "folder or pattern of pictures (photos/, 'photos/*.jpg')"
ADJUSTABLE = False


def matches(uri: str) -> bool:
    """Return whether `uri` is a folder, ends in a slash as one does, or is a pattern and no file."""
    if not is_path(uri) or uri.startswith("/dev/"):
        return False
    return uri.endswith("/") or os.path.isdir(uri) or _is_pattern(uri)


def open_source(uri: str, options: CaptureOptions) -> FrameSource:
    """Return the pictures right in the folder, not below it, or those that fit; raises SourceError for none."""
    from edgefer.runtime.sources._pictures import Pictures

    try:
        found = [Path(name) for name in glob.iglob(uri)] if _is_pattern(uri) else list(Path(uri).iterdir())
    except OSError as error:
        raise SourceError(f"{shown(uri)} cannot be read as a folder: {error.strerror}; check the path") from error
    files = [f for f in found if f.suffix.lower() in PICTURE_SUFFIXES and not f.name.startswith(".")]
    if not files:
        raise SourceError(f"there is no picture in {shown(uri)}; it needs files such as 1.jpg or a.png right in it")
    return Pictures(sorted(files, key=natural), shown(uri))


def natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Return a key that sorts digits in names as numbers."""
    parts = re.findall(r"\d+|\D+", file.name.lower())
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in parts], str(file)


def _is_pattern(uri: str) -> bool:
    """Return whether `uri` has *, ? or [ in it, and names neither a file nor videos."""
    return glob.has_magic(uri) and not os.path.lexists(uri) and Path(uri).suffix.lower() not in video.SUFFIXES
