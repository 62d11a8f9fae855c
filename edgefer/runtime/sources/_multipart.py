"""The parts of a multipart/x-mixed-replace stream, with everything that a server may send bounded."""

from __future__ import annotations

import re
from collections.abc import Callable

from edgefer.errors import SourceError

MAX_PART = 32 * 1024 * 1024
"""Bytes of a part, and of what may stand between two."""
MAX_LINE = 8_192
MAX_HEADERS = 64
_CHUNK = 65_536


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary that a Content-Type names, without dashes in front; None when it names none."""
    found = re.search(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', content_type, re.IGNORECASE)
    boundary = (found[1] or found[2]).strip().lstrip("-") if found else ""
    return boundary.encode("latin-1", "replace") or None


class Parts:
    """Takes a stream apart; `read(most)` returns some bytes, b"" at its end; `start` was read before.

    Cameras are careless: boundaries come with dashes too many and lengths are left out or wrong. A wrong length costs
    the pictures it touches, then the next boundary is found.
    """

    def __init__(self, read: Callable[[int], bytes], boundary: bytes | None, start: bytes = b"") -> None:
        self._read = read
        self._boundary = boundary
        self._buffer = bytearray(start)

    def next(self) -> bytes | None:
        """Return the body of the next part; None at the end. Raises SourceError for what is beyond all measure."""
        if not self._skip_to_boundary():
            return None
        length = self._headers()
        if length is None:
            return None
        return self._until_boundary() if length < 0 else self._exactly(length)

    def _skip_to_boundary(self) -> bool:
        skipped = 0
        while True:
            line = self._line()
            if line is None:
                return False
            mark = line.strip()
            if mark.startswith(b"--") and self._boundary is None:
                self._boundary = mark.lstrip(b"-")
            if self._boundary is not None and mark.lstrip(b"-") == self._boundary:
                return True
            if self._boundary is not None and mark.lstrip(b"-") == self._boundary + b"--":
                return False
            skipped += len(line)
            if skipped > MAX_PART:
                raise SourceError(f"{MAX_PART} bytes came without the start of a picture")

    def _headers(self) -> int | None:
        """Return the length that the headers of a part state, -1 when they state none; None at the end."""
        length = -1
        for _ in range(MAX_HEADERS):
            line = self._line()
            if line is None:
                return None
            if not line.strip():
                return length
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value.strip()[:18])
                if length > MAX_PART:
                    raise SourceError(f"a picture of {length} bytes was announced, at most {MAX_PART} are read")
        raise SourceError(f"a picture came with more than {MAX_HEADERS} header lines")

    def _line(self) -> bytes | None:
        """Return the next line, or MAX_LINE bytes of a longer one; None at the end."""
        start = 0
        while True:
            end = self._buffer.find(b"\n", start, MAX_LINE)
            if end >= 0 or len(self._buffer) >= MAX_LINE:
                return self._take(end + 1 if end >= 0 else MAX_LINE)
            start = len(self._buffer)
            if not self._fill():
                return None

    def _exactly(self, length: int) -> bytes | None:
        while len(self._buffer) < length:
            if not self._fill():
                return None
        return self._take(length)

    def _until_boundary(self) -> bytes | None:
        delimiter = b"--" + (self._boundary or b"")
        start = 0
        while True:
            end = self._buffer.find(delimiter, start)
            if end >= 0:
                return self._take(end)
            start = max(0, len(self._buffer) - len(delimiter))
            if start > MAX_PART:
                raise SourceError(f"a picture of more than {MAX_PART} bytes came")
            if not self._fill():
                return None

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _fill(self) -> bool:
        data = self._read(_CHUNK)
        self._buffer += data
        return bool(data)
