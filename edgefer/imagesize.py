"""How large a picture file says that it is, read from its bytes before anything is decoded.

Sixty bytes can claim to be a picture of gigabytes, and a JPEG that was cut off made some versions of OpenCV fill the
missing part with the picture decoded before. So the size is bounded, and wholeness seen, before a decoder is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Size = tuple[int, int]
"""Width and height in pixels."""

_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")  # stuffed zeros, fill bytes and restarts are passed over
_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_KNOWN = frozenset(range(0xC0, 0xF0)) | {0xFE}
_PNM_GAP = rb"(?:\s|#[^\n]{0,1000}\n)+"
_PNM = re.compile(rb"P([1-6])" + _PNM_GAP + rb"(\d{1,9})" + _PNM_GAP + rb"(\d{1,9})(?:" + _PNM_GAP + rb"(\d{1,5})\s)?")
_PNM_HEADER = 4_096
_MAX_JPEG_SEGMENTS = 2_000
_MAX_JPEG_SCANS = 100
"""Progressive pictures have some ten. Each makes a decoder go over all pixels, so many empty ones keep it busy."""
_MAX_PNG_CHUNKS = 100_000


def size_of(data: bytes) -> Size | None:
    """Return the size that a JPEG, PNG, BMP, WebP, TIFF or PNM picture states, before any rotation.

    None for every other format, for headers that contradict themselves, and for JPEG, PNG and WebP that are cut off.
    """
    if data.startswith(b"\xff\xd8"):
        found = jpeg_extent(data)
        return found and (found[0], found[1])
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _positive(_png(data))
    if data.startswith(b"BM"):
        return _positive(_bmp(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _positive(_webp(data))
    if data.startswith((b"II*\0", b"MM\0*")):
        return _positive(_tiff(data))
    found_pnm = _PNM.match(data, 0, _PNM_HEADER)
    return _positive((int(found_pnm[2]), int(found_pnm[3]))) if found_pnm else None


def jpeg_extent(data: bytes) -> tuple[int, int, int] | None:
    """Return width, height and length in bytes of the JPEG that `data` begins with; None unless it is whole.

    Whole: every segment lies inside, there is one frame header before the first scan, there are no more scans than a
    decoder should be asked for, and it ends with its own end marker. Damage inside the coded pixels is not seen; a
    decoder then paints grey, never what it painted before.
    """
    position, size, scans = 2, None, 0
    if not data.startswith(b"\xff\xd8"):
        return None
    for _ in range(_MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            return None
        marker, position = found[1][0], found.end()
        if marker == 0xD9:
            return (*size, position) if size and scans else None
        length = int.from_bytes(data[position : position + 2], "big")
        if marker not in _JPEG_KNOWN or marker == 0xD8 or length < 2 or position + length > len(data):
            return None
        if marker in _FRAME_HEADERS:
            if size is not None or length < 8:
                return None
            height, width = _number(data, position + 3, 2, "big"), _number(data, position + 5, 2, "big")
            size = _positive((width, height))
            if size is None:
                return None
        if marker == 0xDA:
            scans += 1
            if size is None or scans > _MAX_JPEG_SCANS:
                return None
        position += length
    return None


def pnm_maximum(data: bytes) -> int | None:
    """Return the value that means white in a grey or colour PNM picture, 1–65535; None for any other picture."""
    found = _PNM.match(data, 0, _PNM_HEADER)
    if found is None or found[4] is None or found[1] in b"14":
        return None
    return int(found[4]) if 1 <= int(found[4]) <= 65_535 else None


def _number(data: bytes, at: int, length: int, order: Literal["big", "little"]) -> int:
    """Return an unsigned number; 0 where `data` ends before, which no picture has as its size."""
    part = data[at : at + length]
    return int.from_bytes(part, order) if len(part) == length else 0


def _positive(size: Size | None) -> Size | None:
    return size if size and size[0] > 0 and size[1] > 0 else None


def _png(data: bytes) -> Size | None:
    if data[8:16] != b"\0\0\0\rIHDR":
        return None
    position = 8
    for _ in range(_MAX_PNG_CHUNKS):
        end = position + 12 + _number(data, position, 4, "big")
        if end > len(data):
            return None
        if data[position + 4 : position + 8] == b"IEND":
            return _number(data, 16, 4, "big"), _number(data, 20, 4, "big")
        position = end
    return None


def _bmp(data: bytes) -> Size | None:
    if _number(data, 14, 4, "little") == 12:  # the header of OS/2
        return _number(data, 18, 2, "little"), _number(data, 20, 2, "little")
    width = int.from_bytes(data[18:22], "little", signed=True)
    return width, abs(int.from_bytes(data[22:26], "little", signed=True))  # negative: the top row comes first


def _webp(data: bytes) -> Size | None:
    if len(data) < 30 or len(data) < 8 + _number(data, 4, 4, "little"):
        return None
    form = data[12:16]
    if form == b"VP8X":
        return _number(data, 24, 3, "little") + 1, _number(data, 27, 3, "little") + 1
    if form == b"VP8L":
        bits = _number(data, 21, 4, "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":
        return _number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF
    return None


def _tiff(data: bytes) -> Size | None:
    """Return the size of the first picture, or of its tiles where those are larger: memory is taken for both."""
    order: Literal["big", "little"] = "little" if data.startswith(b"II") else "big"
    tags = dict(_tiff_tags(data, order))
    width, height = tags.get(256, 0), tags.get(257, 0)
    if tags.get(277, 1) > 4 or not width or not height:  # samples a pixel
        return None
    return max(width, tags.get(322, 0)), max(height, tags.get(323, 0))


def _tiff_tags(data: bytes, order: Literal["big", "little"]) -> Iterator[tuple[int, int]]:
    """Yield tag and value of the first directory, where the value is one number."""
    start = _number(data, 4, 4, order)
    for index in range(_number(data, start, 2, order)):
        entry = start + 2 + 12 * index
        kind, count = _number(data, entry + 2, 2, order), _number(data, entry + 4, 4, order)
        if count == 1 and kind in (3, 4):
            yield _number(data, entry, 2, order), _number(data, entry + 8, 2 if kind == 3 else 4, order)
