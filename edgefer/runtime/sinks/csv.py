"""A CSV file: one row a face and frame, for spreadsheets and for notebooks."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import re
import stat
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from edgefer.errors import SinkError
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks import Sink

COLUMNS = ("utc", "name", "frame", "time", "id", "x", "y", "width", "height", "label", "certain", "confidence")
"""Those before the labels'; `utc` is when the row was written: `frame` and `time` begin anew with each start."""
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_BLOCK = 1 << 16
_FORMULAS = tuple("=+-@＝＋－＠")
"""What formulas begin with; some spreadsheets take the wide ones too."""


class CsvFile(Sink):
    """Appends rows to a file, each frame's at once, so that a kill loses none of them.

    A file that is there already is appended to when its first line is ours; a row that a power cut left unfinished is
    cut off. The file may be emptied while it is written to (logrotate's `copytruncate`); it then gets a new first line.
    """

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        """Open or create the file; `labels` get a column each.

        Raises SinkError when it cannot be written, is no regular file, has another first line, or is written to by
        another process.
        """
        self.name = f"--csv {path}"
        self._path = path
        self._header = _lines([[*COLUMNS, *(_safe(label) for label in labels)]])
        self._labels = tuple(labels)
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
            self._prepare()
        except OSError as error:
            self._shut()
            raise self._failed(error) from error
        except SinkError:
            self._shut()
            raise

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Append a row for each face; none or all of them arrive. Raises SinkError when the disk is full."""
        if not result.faces:
            return
        utc = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        rows = [
            [
                utc,
                _safe(result.name or ""),
                int(result.frame),
                f"{float(result.time):.4f}",
                int(face.id),
                *(int(n) for n in (face.box.x, face.box.y, face.box.width, face.box.height)),
                _safe(face.label),
                int(face.certain),
                f"{float(face.confidence):.6f}",
                *(f"{float(face.scores[label]):.6f}" for label in self._labels),
            ]
            for face in result.faces
        ]
        try:
            self._append(_lines(rows))
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Make sure that the rows are on the disk. Raises SinkError when they are not."""
        try:
            if self._descriptor >= 0:
                os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            self._shut()

    def _prepare(self) -> None:
        """Check what is there, and make the file end with a whole line."""
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise SinkError(f"{self._path} is no regular file; give the name of one that is, or of a new one")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(f"{self._path} is written to by another process; give each its own file") from None
        size = os.fstat(self._descriptor).st_size
        first = os.pread(self._descriptor, len(self._header), 0)
        if first != self._header:
            if not self._header.startswith(first):
                raise SinkError(
                    f"{self._path} exists, and its first line is not that of this edgefer and model;"
                    " move it away, or give another name"
                )
            size = 0  # a power cut in the first line
        else:
            size = self._whole(size)
        os.ftruncate(self._descriptor, size)
        self._append(b"")

    def _whole(self, size: int) -> int:
        """Return where the last whole line within the first `size` bytes ends; the header is one."""
        while True:
            start = max(0, size - _BLOCK)
            size = start + os.pread(self._descriptor, size - start, start).rfind(b"\n") + 1
            if size > start:
                return size

    def _append(self, data: bytes) -> None:
        """Append whole lines; when the disk is full, leave the file as it was."""
        size = os.fstat(self._descriptor).st_size
        left = memoryview(data if size else self._header + data)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def _shut(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path} cannot be written: {error.strerror}; make room, or choose another place")


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _safe(text: str) -> str:
    """Return `text` on one line, and such that no spreadsheet takes it for a formula."""
    text = _BREAKS.sub(" ", text)
    return f"'{text}" if text.lstrip().startswith(_FORMULAS) else text
