"""FER+ (Barsoum et al., 2016): the votes of ten people on each picture of FER2013, in `fer2013new.csv`.

The file stands line by line with fer2013.csv. A picture that the authors left out, for there is no face in it, has a
line without an image name. The numbers in the published names skip such lines, so there a picture's row in fer2013.csv
is its position; only a file without them, cut down to what has a name, is taken to carry rows in its names.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS, canonical
from edgefer.train.data import Dataset, Splits

CHOICES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
"""What a person could choose, in the order of the columns; the last two are no emotions (NF = not a face)."""
EMOTIONS = 8
"""The first of `CHOICES`, which are emotions."""

USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}
ROWS_OF_USAGE = {"Training": (0, 28_709), "PublicTest": (28_709, 32_298), "PrivateTest": (32_298, 35_887)}
"""Where each Usage stands in the Kaggle fer2013.csv, as [first, end)."""

HEADER = ",".join(("Usage", "Imagename", *CHOICES)).encode()
NAME = re.compile(rb"fer(\d{7})\.png", re.ASCII)
MAX_ROWS = 1_000_000
MAX_LINE = 512

Votes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class VotesFile:
    """What `fer2013new.csv` says, line by line."""

    usages: tuple[str, ...]
    votes: Votes
    """uint8 [n, 10] in the order of `CHOICES`."""
    rows: npt.NDArray[np.int64] | None
    """Row of each line's picture in fer2013.csv, or None where the file does not tell."""


def read(path: Path) -> VotesFile:
    """Return the votes of a `fer2013new.csv`.

    Raises DataError with the number of the first line that is not right.
    """
    usages: list[str] = []
    names: list[bytes] = []
    votes = bytearray()
    try:
        with path.open("rb") as file:
            header = file.readline(MAX_LINE).strip().removeprefix(b"\xef\xbb\xbf").replace(b'"', b"").replace(b" ", b"")
            if header != HEADER:
                raise DataError(
                    f"{path}: the first line must be Usage,Image name,{','.join(CHOICES)};"
                    f" found {header[:60].decode(errors='replace')!r}"
                )
            number = 1
            while line := file.readline(MAX_LINE):
                number += 1
                if not line.strip():
                    continue
                if number > MAX_ROWS:
                    raise DataError(f"{path}: more than {MAX_ROWS:,} rows")
                usage, name, counts = _fields(f"{path}, line {number}", line)
                usages.append(usage)
                names.append(name)
                votes += counts
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not usages:
        raise DataError(f"{path} has a header and no rows")
    array = np.frombuffer(bytes(votes), np.uint8).reshape(-1, len(CHOICES))
    return VotesFile(tuple(usages), array, _rows(path, usages, names))


def _fields(where: str, line: bytes) -> tuple[str, bytes, bytes]:
    fields = [f.strip().strip(b'"') for f in line.split(b",")]
    if len(fields) != 2 + len(CHOICES):
        raise DataError(
            f"{where}: {2 + len(CHOICES)} fields expected, found {len(fields)}; a file cut short looks like this"
        )
    usage = fields[0].decode(errors="replace")
    if usage not in ROWS_OF_USAGE:
        raise DataError(f"{where}: Usage must be Training, PublicTest or PrivateTest, found {usage[:20]!r}")
    for choice, field in zip(CHOICES, fields[2:], strict=True):
        if not field.isdigit() or len(field) > 2:
            raise DataError(
                f"{where}: {choice} must be a count of votes, 0–99, found {field[:20].decode(errors='replace')!r}"
            )
    return usage, fields[1], bytes(map(int, fields[2:]))


def _rows(path: Path, usages: list[str], names: list[bytes]) -> npt.NDArray[np.int64] | None:
    """Return the row of each line in fer2013.csv, or None where neither position nor name can be it."""
    if all(names):
        matches = [NAME.fullmatch(name) for name in names]
        numbers = [int(m.group(1)) for m in matches if m]
        if len(numbers) < len(names):
            return None
        if len(set(numbers)) < len(numbers):
            raise DataError(f"{path}: two lines have the same image name")
    else:
        numbers = list(range(len(names)))
    inside = (low <= n < end for n, (low, end) in zip(numbers, map(ROWS_OF_USAGE.__getitem__, usages), strict=True))
    return np.array(numbers, np.int64) if all(inside) else None


def attach(splits: Splits, path: Path) -> Splits:
    """Return `splits` with the votes of a `fer2013new.csv`, and with the rows in fer2013.csv where the file tells them.

    A split that has rows is matched by them; another one must have as many pictures as the file has lines of its
    Usage (`all`: as the whole file), in the same order. Raises DataError when that is not so.
    """
    file = read(path)
    return {name: _with_votes(name, data, file, path) for name, data in splits.items()}


def _with_votes(name: str, data: Dataset, file: VotesFile, path: Path) -> Dataset:
    if data.rows is not None:
        if file.rows is None:
            raise DataError(f"{path}: the image names do not tell rows of fer2013.csv, which the data has")
        line_of = {row: i for i, row in enumerate(file.rows.tolist())}
        lines = [line_of.get(row, -1) for row in data.rows.tolist()]
        if -1 in lines:
            raise DataError(
                f"{path} lacks {lines.count(-1):,} of the {len(data):,} pictures of the {name} split,"
                f" such as row {int(data.rows[lines.index(-1)])} of fer2013.csv"
            )
        return dataclasses.replace(data, votes=file.votes[np.array(lines, np.int64)])
    if data.names != FER2013_LABELS:
        raise DataError(
            f"{path} stands in the order of fer2013.csv, which is not the order of a folder of pictures;"
            " give fer2013.csv, or a .npz with rows"
        )
    here = np.array([name == "all" or USAGES[name] == usage for usage in file.usages])
    if int(here.sum()) != len(data):
        what = "rows" if name == "all" else f"{USAGES[name]} rows"
        raise DataError(
            f"{path} has {int(here.sum()):,} {what}, but the {name} split has {len(data):,} pictures;"
            " they must stand one to one, in order"
        )
    rows = None if file.rows is None else file.rows[here]
    return dataclasses.replace(data, votes=file.votes[here], rows=rows)


def not_a_face(votes: Votes) -> npt.NDArray[np.bool_]:
    """Return, bool [n], where more people chose NF or `unknown` than any one emotion."""
    found: npt.NDArray[np.bool_] = votes[:, EMOTIONS:].max(axis=1) > votes[:, :EMOTIONS].max(axis=1)
    return found


def counts(votes: Votes, names: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the votes for each of `names`, int64 [n, k], and which pictures to keep, bool [n].

    A choice with a single vote is taken for a slip and does not count, as in the authors' own code (`ferplus.py` of
    github.com/microsoft/FERPlus, after Barsoum et al., 2016, arXiv:1608.01041). Contempt has no class in FER2013 and
    does not count either. Not kept is what is not a face (`not_a_face`) and what has no vote left. The authors also
    drop pictures without an absolute majority, about a fifth; here they stay, with the doubt in their distribution.

    Raises DataError when `names` has none of FER+'s emotions.
    """
    columns = {names.index(canonical(c)): i for i, c in enumerate(CHOICES[:EMOTIONS]) if canonical(c) in names}
    if not columns:
        raise DataError(f"FER+ has votes for {', '.join(CHOICES[:EMOTIONS])}; the data has {', '.join(names)}")
    counted = np.zeros((len(votes), len(names)), np.int64)
    for label, column in columns.items():
        counted[:, label] = np.where(votes[:, column] > 1, votes[:, column], 0)
    return counted, ~not_a_face(votes) & (counted.sum(axis=1) > 0)


def majority(
    votes: Votes, names: tuple[str, ...], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the label with the most votes, int64 [n], and which pictures to keep, bool [n]; see `counts`.

    Where several have the most, the one of `labels` (the data set's own) wins if it is among them, else the first of
    `names`. What is not kept has its own label still.
    """
    counted, keep = counts(votes, names)
    own = counted[np.arange(len(labels)), labels] == counted.max(axis=1)
    return np.where(own | ~keep, labels, counted.argmax(axis=1)).astype(np.int64), keep


def distribution(votes: Votes, names: tuple[str, ...]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the shares of the votes, float32 [n, k], and which pictures to keep, bool [n]; see `counts`.

    Each row that is kept adds up to 1; another one is zero.
    """
    counted, keep = counts(votes, names)
    counted[~keep] = 0
    return (counted / np.maximum(counted.sum(axis=1, keepdims=True), 1)).astype(np.float32), keep
