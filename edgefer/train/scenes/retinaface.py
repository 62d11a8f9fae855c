"""The labels that RetinaFace's authors made for WIDER FACE: `train/label.txt`, with the pictures in `train/images`.

A line `# name of a picture`, then a line a face: x y width height, and in the training set five landmarks as x y flag
(-1 -1 -1 where there is none) and a quality, which is not used. Faces without area are left out. Of a folder, `train`
and `val` are read; what is published of `test` is names without faces.
"""

from __future__ import annotations

import math
from pathlib import Path

from edgefer.errors import DataError
from edgefer.train.scenes import LANDMARKS, Progress, Scene, Splits
from edgefer.train.scenes._checked import (
    NO_LANDMARKS,
    Labels,
    by_split,
    distinct,
    numbers,
    picture,
    read_lines,
    together,
)
from edgefer.train.scenes.wider import starts_with_hash

FORM = "train/label.txt and val/label.txt with images/ beside each (RetinaFace's labels of WIDER FACE)"
LABELS = "label.txt"

_WITH_LANDMARKS = 4 + 3 * LANDMARKS


def fits(path: Path) -> bool:
    """Return whether the data at `path` looks like this form."""
    if path.is_dir():
        return bool(_files(path))
    return path.suffix.lower() == ".txt" and path.is_file() and starts_with_hash(path)


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Return the splits that the folders' names tell; raises DataError with the line that is wrong."""
    files = _files(path) if path.is_dir() else [path]
    splits = by_split(files, [file.absolute().parent.name for file in files])
    return together({name: _read(file, progress) for name, file in splits.items()}, path)


def _files(folder: Path) -> list[Path]:
    files = [folder / LABELS] + [folder / split / LABELS for split in ("train", "val")]
    return [file for file in files if file.is_file()]


def _read(file: Path, progress: Progress | None) -> list[Scene]:
    lines = read_lines(file)
    starts = [at for at, line in enumerate(lines) if line.startswith("#")]
    before = next((at for at, line in enumerate(lines[: starts[0]] if starts else lines) if line), None)
    if before is not None:
        raise DataError(f"{file}, line {before + 1}: a line `# picture` must come first, found {lines[before]!a:.80}")
    scenes = []
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        where = f"{file}, line {start + 1}"
        name = lines[start][1:].strip()
        path = picture(file.parent / "images", name, where)
        labels = Labels()
        for at in range(start + 1, end):
            if lines[at]:
                _face(labels, lines[at], f"{file}, line {at + 1}")
        scenes.append(labels.scene(name, path, where))
        if progress and len(scenes) % 1000 == 0:
            progress(len(scenes), len(starts))
    if progress:
        progress(len(starts), len(starts))
    return distinct(scenes, file)


def _face(labels: Labels, line: str, where: str) -> None:
    values = numbers(line, where)
    if len(values) == 4:
        labels.face(values, where, NO_LANDMARKS)
        return
    if len(values) not in (_WITH_LANDMARKS, _WITH_LANDMARKS + 1):
        raise DataError(
            f"{where}: a face has 4 numbers, or {_WITH_LANDMARKS + 1} with landmarks and quality; found {len(values)}"
        )
    landmarks: list[float] = []
    for x, y, flag in zip(values[4:19:3], values[5:19:3], values[6:19:3], strict=True):
        landmarks += (math.nan, math.nan) if flag < 0 or (x, y) == (-1, -1) else (x, y)
    labels.face(values[:4], where, landmarks)
