"""What all readers do with files of strangers: sizes bounded, numbers looked at, paths kept inside their folder."""

from __future__ import annotations

import math
import os
import re
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgefer.errors import DataError
from edgefer.train.scenes import LANDMARKS, LIMIT, Scene, Splits

MAX_BYTES = 500_000_000
"""Of a label file; the largest of COCO has 470 million."""
MAX_LINES = 5_000_000
MAX_FACES = 10_000
"""Boxes in one picture."""
MIN_SIDE = 1e-3
"""Pixels: what is smaller has no area."""
NO_LANDMARKS = (math.nan,) * (2 * LANDMARKS)

_NUMBER = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_SPLIT = re.compile(r"(?<![a-z])(train|val|test)(?:ing|id|idation)?(?![a-z])")
_SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
_FOREIGN = re.compile(r"[\0-\x1f\x7f\ud800-\udfff]|^[a-z]:", re.IGNORECASE)


@dataclass
class Labels:
    """The faces of one picture, while its labels are read."""

    boxes: list[Sequence[float]] = field(default_factory=list)
    landmarks: list[Sequence[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ignore: list[Sequence[float]] = field(default_factory=list)

    def face(
        self, box: Sequence[float], where: str, landmarks: Sequence[float] = NO_LANDMARKS, score: float = 1.0
    ) -> None:
        """Add a face; one without area is left out. Raises DataError for a negative size, or for too many faces."""
        if self._sized(box, where):
            self.boxes.append(box)
            self.landmarks.append(landmarks)
            self.scores.append(score)

    def pass_over(self, box: Sequence[float], where: str) -> None:
        """Add a box that counts neither for nor against; raises DataError like `face`."""
        if self._sized(box, where):
            self.ignore.append(box)

    def scene(self, name: str, path: Path, where: str, size: tuple[int, int] = (0, 0)) -> Scene:
        """Return what was gathered, with the `size` (width, height) of the picture; raises DataError."""
        try:
            return Scene(
                name,
                path,
                np.array(self.boxes, np.float32).reshape(-1, 4),
                np.array(self.landmarks, np.float32).reshape(-1, LANDMARKS, 2),
                np.array(self.scores, np.float32),
                np.array(self.ignore, np.float32).reshape(-1, 4),
                *size,
            )
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def _sized(self, box: Sequence[float], where: str) -> bool:
        if len(self.boxes) + len(self.ignore) >= MAX_FACES:
            raise DataError(f"{where}: more than {MAX_FACES:,} boxes in one picture")
        if min(box[2:]) < 0:
            raise DataError(f"{where}: a box has a negative size: {box[2]:g} × {box[3]:g}")
        return min(box[2:]) >= MIN_SIDE


def read_text(path: Path) -> str:
    """Return a label file as text.

    Raises DataError when it is missing, no plain file, larger than MAX_BYTES, or not UTF-8; OSError when
    it cannot be read.
    """
    if not path.is_file():  # a pipe or device would wait or never end
        raise DataError(f"there is no label file {path}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES:,} bytes")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8: byte {error.start} is {data[error.start]:#04x}") from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a label file without the spaces around them; raises DataError like `read_text`."""
    text = read_text(path)
    if text.count("\n") > MAX_LINES:
        raise DataError(f"{path} has more than {MAX_LINES:,} lines")
    return [line.strip() for line in text.split("\n")]  # splitlines would divide at what JSON may hold in a string


def numbers(line: str, where: str) -> list[float]:
    """Return the numbers of a line; raises DataError when one of them is none or is beyond LIMIT."""
    return [
        _bounded(float(word), where) if _NUMBER.fullmatch(word) else _no_number(word, where) for word in line.split()
    ]


def json_numbers(value: object, where: str) -> list[float]:
    """Return a list of numbers that JSON gave; raises DataError when it is something else or beyond LIMIT."""
    if not isinstance(value, list):
        raise DataError(f"{where}: a list of numbers expected, found {shown(value)}")
    return [
        _bounded(number, where) if isinstance(number, (int, float)) and not isinstance(number, bool)
        else _no_number(number, where)
        for number in value
    ]  # fmt: skip


def json_size(record: dict[str, object], where: str) -> tuple[int, int]:
    """Return width and height of the picture that a JSON object tells; (0, 0) when it tells none.

    Raises DataError when only one is there, or they are no whole numbers from 1 to LIMIT.
    """
    sides = [record.get("width"), record.get("height")]
    if sides == [None, None]:
        return 0, 0
    whole = [side for side in sides if isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= LIMIT]
    if len(whole) < 2:
        raise DataError(f"{where}: width and height must be whole numbers from 1, found {shown(sides)}")
    return whole[0], whole[1]


def picture(folder: Path, name: object, where: str) -> Path:
    """Return the path of a picture that labels name.

    Raises DataError when there is no such file, or the name leads out of `folder`.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= 1000:
        raise DataError(f"{where}: the name of a picture expected, found {shown(name)}")
    parts = re.split(r"[/\\]", name)
    if _FOREIGN.search(name) or not parts[0] or ".." in parts:
        raise DataError(f"{where}: {name!a:.200} must be the name of a file inside {folder}")
    path = folder / name
    if not os.path.isfile(path):  # False too for names that no file can have
        raise DataError(f"{where}: there is no picture {name!a:.200} in {folder}")
    return path


def shown(value: object) -> str:
    """Return what was found as short ASCII, however large or deep it is."""
    return reprlib.repr(value).encode("ascii", "backslashreplace").decode()[:80]


def distinct(scenes: Iterable[Scene], where: Path) -> list[Scene]:
    """Return the scenes; raises DataError when one picture is there twice."""
    result: dict[Path, Scene] = {}
    for scene in scenes:
        if result.setdefault(scene.path, scene) is not scene:
            raise DataError(f"{where}: the picture {scene.name!a:.200} stands there twice")
    return list(result.values())


def split_of(name: str) -> str:
    """Return the split that the name of a file or folder tells (train, val, test as a word of it), else `all`."""
    found = set(_SPLIT.findall(name.lower()))
    return _SPLIT_NAMES[found.pop()] if len(found) == 1 else "all"


def by_split(files: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Return the file of each split, which `names` tell; a single file need not tell.

    Raises DataError when two are of one split, or one of several tells none.
    """
    splits: dict[str, Path] = {}
    for file, name in zip(files, names, strict=True):
        split = split_of(name)
        if split in splits:
            raise DataError(f"{splits[split]} and {file} are both for the split {split!r}; give one of the files")
        splits[split] = file
    if len(splits) > 1 and "all" in splits:
        raise DataError(f"{splits['all']}: the name does not tell whether it is for train, val or test; give one file")
    return splits


def together(splits: Splits, where: Path) -> Splits:
    """Return the splits; raises DataError when one picture is in two of them."""
    distinct((scene for scenes in splits.values() for scene in scenes), where)
    return splits


def _bounded(number: float, where: str) -> float:
    if not abs(number) <= LIMIT:
        raise DataError(f"{where}: numbers must be finite and at most {LIMIT:,.0f}, found {shown(number)}")
    return float(number)


def _no_number(word: object, where: str) -> float:
    raise DataError(f"{where}: a number expected, found {shown(word)}")
