"""WIDER FACE as it is published: `wider_face_split/wider_face_train_bbx_gt.txt`, `…_val_…`, and `WIDER_train/images`.

A line with the name of a picture, a line with the number of its faces, then a line a face: x y width height blur
expression illumination invalid occlusion pose. Where the number is 0, a line of zeros follows. Faces that are marked
invalid are ignored, as the benchmark does; those without area are left out. The test set has no labels and is not read.
"""

from __future__ import annotations

from pathlib import Path

from edgefer.errors import DataError
from edgefer.train.scenes import Progress, Scene, Splits
from edgefer.train.scenes._checked import (
    MAX_FACES,
    Labels,
    by_split,
    distinct,
    numbers,
    picture,
    read_lines,
    split_of,
    together,
)

FORM = "wider_face_split/wider_face_train_bbx_gt.txt with WIDER_train/images beside that folder (WIDER FACE)"
FOLDER = "wider_face_split"
PATTERN = "*_bbx_gt.txt"

_INVALID = 7
_FIELDS = 10
_FOLDERS = {"train": "WIDER_train", "validation": "WIDER_val", "test": "WIDER_test"}


def fits(path: Path) -> bool:
    """Return whether the data at `path` looks like this form."""
    if path.is_dir():
        return bool(_files(path))
    return path.suffix.lower() == ".txt" and path.is_file() and not starts_with_hash(path)


def starts_with_hash(path: Path) -> bool:
    """Return whether a text begins with `#`, spaces aside: so do the labels of RetinaFace, and WIDER's never."""
    with path.open("rb") as file:
        return file.read(1000).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"#")


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Return the splits that the names of the files tell; raises DataError with the line that is wrong."""
    files = _files(path) if path.is_dir() else [path]
    splits = by_split(files, [file.stem for file in files])
    return together({name: _read(file, progress) for name, file in splits.items()}, path)


def _files(folder: Path) -> list[Path]:
    return sorted((folder / FOLDER).glob(PATTERN)) or sorted(folder.glob(PATTERN))


def _read(file: Path, progress: Progress | None) -> list[Scene]:
    lines = read_lines(file)
    folder = _pictures(file)
    scenes, at = [], 0
    while at < len(lines):
        if lines[at]:
            scene, at = _scene(file, lines, at, folder)
            scenes.append(scene)
            if progress and len(scenes) % 1000 == 0:
                progress(at, len(lines))
        else:
            at += 1
    if progress:
        progress(len(lines), len(lines))
    return distinct(scenes, file)


def _pictures(file: Path) -> Path:
    root = file.absolute().parent
    root = root.parent if root.name == FOLDER else root
    split = split_of(file.stem)
    choices = [root / _FOLDERS[split] / "images"] if split in _FOLDERS else []
    choices.append(root / "images")
    for folder in choices:
        if folder.is_dir():
            return folder
    raise DataError(
        f"{file}: its pictures are expected in {' or '.join(map(str, choices))}, and there is no such folder"
    )


def _scene(file: Path, lines: list[str], at: int, folder: Path) -> tuple[Scene, int]:
    """Return the picture whose name is in line `at`, and the line after it."""
    where = f"{file}, line {at + 1}"
    path = picture(folder, lines[at], where)
    count = lines[at + 1] if at + 1 < len(lines) else ""
    if not (count.isascii() and count.isdecimal() and len(count) <= 9 and int(count) <= MAX_FACES):
        raise DataError(f"{file}, line {at + 2}: the number of faces expected (0–{MAX_FACES:,}), found {count!a:.80}")
    first, after = at + 2, at + 2 + int(count)
    if after > len(lines) or not all(lines[first:after]):
        raise DataError(f"{where}: {count} faces are announced, and the file is cut short before the last")
    labels = Labels()
    for row in range(first, after):
        _face(labels, lines[row], f"{file}, line {row + 1}")
    if first == after < len(lines) and set(lines[after].split()) == {"0"}:
        after += 1
    return labels.scene(lines[at], path, where), after


def _face(labels: Labels, line: str, where: str) -> None:
    values = numbers(line, where)
    if len(values) not in (4, _FIELDS):
        raise DataError(f"{where}: a face has {_FIELDS} numbers, or 4 without its attributes; found {len(values)}")
    if len(values) == _FIELDS and values[_INVALID]:
        labels.pass_over(values[:4], where)
    else:
        labels.face(values[:4], where)
