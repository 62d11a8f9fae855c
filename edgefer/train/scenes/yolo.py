"""YOLO's form, as ultralytics lays it out: `images/train/a.jpg` and its faces in `labels/train/a.txt`, `val` likewise.

A line a face: class, x and y of the middle, width, height, and if you like five landmarks as x y or x y visibility, all
but class and visibility as fractions of the picture. One class may occur, the face. A picture without a label file, or
with an empty one, has no faces. `train/images` and `train/labels` are read too, and `images/` and `labels/` alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

from edgefer.errors import DataError
from edgefer.preprocess import PICTURE_SUFFIXES
from edgefer.train.scenes import LANDMARKS, Progress, Scene, Splits
from edgefer.train.scenes._checked import NO_LANDMARKS, Labels, numbers, read_lines
from edgefer.train.scenes._size import picture_size

FORM = "images/train and labels/train, images/val and labels/val, or images/ and labels/ alone (YOLO)"
SPLIT_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
TOLERANCE = 0.01
"""How far fractions may lie outside 0–1, where rounding put them."""

_FIELDS = {5: 0, 5 + 2 * LANDMARKS: 2, 5 + 3 * LANDMARKS: 3}
_NO_LABELS = frozenset({"classes", "README", "readme"})


def fits(path: Path) -> bool:
    """Return whether the data at `path` looks like this form."""
    return path.is_dir() and bool(_folders(path))


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Return the splits that the folders' names tell, or `all`; raises DataError with the line that is wrong.

    The header of every picture with faces is read, since the labels do not tell its size.
    """
    listing = {}
    for split, images, labels in _folders(path):
        if split in listing:
            raise DataError(f"{path} has two folders for the split {split!r}; leave one")
        listing[split] = (images, labels, _listed(images, PICTURE_SUFFIXES))
        _without_picture(images, labels, listing[split][2])
    total = sum(len(pictures) for _, _, pictures in listing.values())
    classes: dict[int, str] = {}
    splits: Splits = {}
    done = 0
    for split, (images, labels, pictures) in listing.items():
        splits[split] = []
        for name in pictures:
            splits[split].append(_scene(images, labels, name, classes))
            done += 1
            if progress and done % 100 == 0:
                progress(done, total)
    if progress:
        progress(total, total)
    return splits


def _folders(path: Path) -> list[tuple[str, Path, Path]]:
    """Return the splits with their folder of pictures and that of labels, or `all` with the only ones."""
    below = [(split, path / "images" / name, path / "labels" / name) for name, split in SPLIT_NAMES.items()]
    apart = [(split, path / name / "images", path / name / "labels") for name, split in SPLIT_NAMES.items()]
    for choice in (below, apart, [("all", path / "images", path / "labels")]):
        found = [folders for folders in choice if folders[1].is_dir() and folders[2].is_dir()]
        if found:
            return found
    return []


def _listed(folder: Path, suffixes: Iterable[str]) -> list[str]:
    """Return the files below `folder` with these suffixes, sorted, as names with slashes."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = (Path(root, name) for name in files if not name.startswith("."))
        found += [p.relative_to(folder).as_posix() for p in names if p.suffix.lower() in suffixes]
    return sorted(found)


def _without_picture(images: Path, labels: Path, pictures: list[str]) -> None:
    """Raise DataError when labels have no picture, or there are none."""
    stems = {os.path.splitext(name)[0] for name in pictures}
    files = [name for name in _listed(labels, {".txt"}) if Path(name).stem not in _NO_LABELS]
    if not files:
        raise DataError(f"{labels} has no label files such as a.txt for {images}/a.jpg")
    for name in files:
        if os.path.splitext(name)[0] not in stems:
            raise DataError(f"{labels / name}: there is no picture for it in {images}")


def _scene(images: Path, labels: Path, name: str, classes: dict[int, str]) -> Scene:
    path = images / name
    file = labels / f"{os.path.splitext(name)[0]}.txt"
    rows = (
        [(f"{file}, line {at}", line) for at, line in enumerate(read_lines(file), 1) if line] if file.exists() else []
    )
    gathered = Labels()
    if not rows:
        return gathered.scene(name, path, str(file))
    width, height = size = picture_size(path)
    for where, line in rows:
        cx, cy, w, h, *points = _face(line, where, classes)
        box = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
        places = [value * (width, height)[i % 2] for i, value in enumerate(points)]
        gathered.face(box, where, places or NO_LANDMARKS)
    return gathered.scene(name, path, str(file), size)


def _face(line: str, where: str, classes: dict[int, str]) -> list[float]:
    """Return the box and, where the line has them, five x and y, NaN where one is not there; all as fractions."""
    values = numbers(line, where)
    if len(values) not in _FIELDS:
        raise DataError(f"{where}: a face has {' or '.join(map(str, _FIELDS))} numbers; found {len(values)}")
    if values[0] != int(values[0]) or values[0] < 0:
        raise DataError(f"{where}: the class must be a whole number from 0, found {values[0]:g}")
    classes.setdefault(int(values[0]), where)
    if len(classes) > 1:
        first, second = classes
        raise DataError(f"{where}: class {second}, but {classes[first]}: class {first}; only one may occur, the face")
    if not all(-TOLERANCE <= value <= 1 + TOLERANCE for value in values[1:5]):
        raise DataError(f"{where}: the box must be in fractions of the picture (0–1), found {line!a:.80}")
    found, step = values[1:5], _FIELDS[len(values)]
    for i in range(5, len(values), step or 1):
        x, y = values[i : i + 2]
        absent = (values[i + 2] <= 0) if step == 3 else (x <= 0 and y <= 0)
        found += (math.nan, math.nan) if absent else (x, y)
    return found
