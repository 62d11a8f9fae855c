"""The Kaggle `fer2013.csv`: `emotion,pixels,Usage`, 2,304 grey levels in text a row.

The text (270 MB) is parsed once, strictly; the arrays are kept in the user's cache directory, under a name made of
the file's path, size and time of change.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS
from edgefer.train import kept
from edgefer.train.data import Dataset, Progress, Splits

USAGES = {b"Training": "train", b"PublicTest": "validation", b"PrivateTest": "test"}
PIXELS = 48 * 48
MAX_ROWS = 1_000_000
MAX_LINE = 4 * PIXELS + 64
GREY = {str(v).encode(): v for v in range(256)}

Bytes = npt.NDArray[np.uint8]


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Return the splits of the file (train = Training, validation = PublicTest, test = PrivateTest).

    Raises DataError with the number of the first line that is not right.
    """
    name = _cache_name(path)
    arrays = kept.load(name)
    if arrays is None or not {"images", "labels", "usages"} <= arrays.keys():
        images, labels, usages = _parse(path, progress)
        kept.store(name, images=images, labels=labels, usages=usages)
    else:
        images, labels, usages = arrays["images"], arrays["labels"], arrays["usages"]
    names = list(USAGES.values())
    return {
        name: Dataset(images[usages == i], labels[usages == i].astype(np.int64), FER2013_LABELS)
        for i, name in enumerate(names)
        if (usages == i).any()
    }


def _parse(path: Path, progress: Progress | None) -> tuple[Bytes, Bytes, Bytes]:
    pictures, labels, usages = bytearray(), bytearray(), bytearray()
    order = list(USAGES)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.readline(MAX_LINE).strip().removeprefix(b"\xef\xbb\xbf").replace(b'"', b"").replace(b" ", b"")
            if header != b"emotion,pixels,Usage":
                raise DataError(f"{path}: the first line must be emotion,pixels,Usage; found {header[:60]!r}")
            number, done = 1, len(header)
            while line := file.readline(MAX_LINE):
                number, done = number + 1, done + len(line)
                if not line.strip():
                    continue
                if number > MAX_ROWS:
                    raise DataError(f"{path}: more than {MAX_ROWS:,} rows")
                emotion, pixels, usage = _fields(path, number, line)
                labels.append(_label(path, number, emotion))
                pictures += _picture(path, number, pixels)
                if usage not in USAGES:
                    raise DataError(
                        f"{path}, line {number}: Usage must be Training, PublicTest or PrivateTest,"
                        f" found {usage[:20]!r}; a file cut short looks like this: get it again"
                    )
                usages.append(order.index(usage))
                if progress and number % 500 == 0:
                    progress(done, size)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not labels:
        raise DataError(f"{path} has a header and no rows")
    if progress:
        progress(size, size)
    images = np.frombuffer(bytes(pictures), np.uint8).reshape(-1, 48, 48)
    return images, np.frombuffer(bytes(labels), np.uint8), np.frombuffer(bytes(usages), np.uint8)


def _fields(path: Path, number: int, line: bytes) -> list[bytes]:
    fields = [f.strip().strip(b'"') for f in line.split(b",")]
    if len(fields) != 3:
        raise DataError(
            f"{path}, line {number}: 3 fields expected (emotion,pixels,Usage), found {len(fields)}"
            "; a file cut short looks like this: get it again"
        )
    return fields


def _label(path: Path, number: int, field: bytes) -> int:
    if field not in (b"0", b"1", b"2", b"3", b"4", b"5", b"6"):
        raise DataError(f"{path}, line {number}: emotion must be 0–6, found {field[:20].decode(errors='replace')!r}")
    return int(field)


def _picture(path: Path, number: int, field: bytes) -> bytes:
    values = field.split()
    if len(values) != PIXELS:
        raise DataError(f"{path}, line {number}: {PIXELS} pixels expected, found {len(values)}")
    try:
        return bytes(map(GREY.__getitem__, values))
    except KeyError as error:
        raise DataError(
            f"{path}, line {number}: pixels must be whole numbers 0–255,"
            f" found {error.args[0][:20].decode(errors='replace')!r}"
        ) from None


def _cache_name(path: Path) -> str:
    status = path.stat()
    key = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    return f"fer2013-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
