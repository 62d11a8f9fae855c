"""How large a picture is once it is read, told from its file without decoding it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from edgefer.errors import DataError
from edgefer.imagesize import size_of
from edgefer.preprocess import MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS

_EXIF = re.compile(rb"\xff\xe1..Exif\0\0(II\*\0|MM\0\*)", re.DOTALL)
_EXIF_WITHIN = 200_000
_ORIENTATION = 274
_MAX_TAGS = 1000


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height that `read_picture` will give, a rotation noted in a JPEG (EXIF) done.

    Raises DataError when the file is no picture, is cut off or is beyond what `read_picture` takes.
    """
    try:
        regular = path.is_file() and path.stat().st_size <= MAX_PICTURE_BYTES  # a pipe or device would wait
        data = path.read_bytes() if regular else b""
    except OSError as error:
        raise DataError(f"the picture {path} cannot be read: {error}") from error
    size = size_of(data)
    if size is None or size[0] * size[1] > MAX_PICTURE_PIXELS:
        raise DataError(f"{path} is no picture, is cut off or is too large; replace it, or remove it with its labels")
    return size[::-1] if _on_its_side(data) else size


def _on_its_side(data: bytes) -> bool:
    """Return whether the orientation that a camera noted swaps width and height."""
    found = _EXIF.search(data, 0, _EXIF_WITHIN) if data.startswith(b"\xff\xd8") else None
    if found is None:
        return False
    start = found.start(1)
    order: Literal["big", "little"] = "little" if found[1][:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(data[start + at : start + at + length], order)

    tags = number(4, 4)
    for entry in range(tags + 2, tags + 2 + 12 * min(number(tags, 2), _MAX_TAGS), 12):
        if number(entry, 2) == _ORIENTATION:
            return number(entry + 8, 2) in (5, 6, 7, 8)
    return False
