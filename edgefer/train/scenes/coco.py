"""COCO's form: a JSON file with `images`, `categories` and `annotations` whose `bbox` is x, y, width, height.

The category called face is read, or the only one. `iscrowd` makes a box to ignore; five keypoints (x, y, visibility)
are the landmarks, in the order of `Scene`, and other numbers of keypoints are passed over. Pictures are looked for in
`images/` or beside the file, there also in folders called like the split; `annotations/` may hold the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from edgefer.errors import DataError
from edgefer.train.scenes import LANDMARKS, Progress, Scene, Splits
from edgefer.train.scenes._checked import (
    NO_LANDMARKS,
    Labels,
    by_split,
    distinct,
    json_numbers,
    json_size,
    picture,
    read_text,
    shown,
    together,
)

FORM = "a .json with images, annotations and categories, or a folder with such files in annotations/ (COCO)"
EXPORTED = "_annotations.coco.json"

Record = dict[str, object]


def fits(path: Path) -> bool:
    """Return whether the data at `path` looks like this form."""
    return bool(_files(path)) if path.is_dir() else path.suffix.lower() == ".json"


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Return the splits that the files' names tell; raises DataError that says what is wrong and where."""
    files = _files(path) if path.is_dir() else [path]
    splits = by_split(files, [_name(file) for file in files])
    return together({name: _read(file, progress) for name, file in splits.items()}, path)


def _files(folder: Path) -> list[Path]:
    """Return the label files: annotations/instances*.json, else all there; or those of an export, a folder a split."""
    inside = folder / "annotations"
    files = sorted(inside.glob("instances*.json")) or sorted(inside.glob("*.json"))
    return files or sorted(folder.glob(EXPORTED)) or sorted(folder.glob(f"*/{EXPORTED}"))


def _name(file: Path) -> str:
    """Return the name that may tell the split."""
    return file.absolute().parent.name if file.name == EXPORTED else file.stem


def _read(file: Path, progress: Progress | None) -> list[Scene]:
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: an object with images, annotations and categories expected, found {shown(content)}")
    face = _category(content, file)
    images: dict[object, tuple[Record, Labels, str]] = {}
    for image, where in _records(content, "images", file):
        if images.setdefault(_identity(image.get("id"), where), (image, Labels(), where))[0] is not image:
            raise DataError(f"{where}: the id {image['id']!a:.40} stands there twice")
    for annotation, where in _records(content, "annotations", file):
        image_id = _identity(annotation.get("image_id"), where)
        if image_id not in images:
            raise DataError(f"{where}: there is no image with the id {image_id!a:.40}")
        if _identity(annotation.get("category_id"), where) == face:
            _face(images[image_id][1], annotation, where)
    folder = _pictures(file, next(iter(images.values()))[0].get("file_name")) if images else file.parent
    scenes = []
    for image, labels, where in images.values():
        path = picture(folder, image.get("file_name"), where)
        scenes.append(labels.scene(str(image["file_name"]), path, where, json_size(image, where)))
        if progress and len(scenes) % 1000 == 0:
            progress(len(scenes), len(images))
    if progress:
        progress(len(images), len(images))
    return distinct(scenes, file)


def _records(content: Record, key: str, file: Path) -> Iterator[tuple[Record, str]]:
    """Yield the objects of a list in the file, each with where it stands, counted from 1."""
    records = content.get(key)
    if not isinstance(records, list):
        raise DataError(f"{file}: {key} must be a list, found {shown(records)}")
    for index, record in enumerate(records, start=1):
        where = f"{file}, {key} {index}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: an object expected, found {shown(record)}")
        yield record, where


def _identity(value: object, where: str) -> int | str:
    if not isinstance(value, (int, str)):
        raise DataError(f"{where}: an id (a number or a text) expected, found {shown(value)}")
    return value


def _category(content: Record, file: Path) -> int | str:
    """Return the id of the category called face, or of the only one."""
    names: dict[int | str, str] = {}
    for category, where in _records(content, "categories", file):
        names[_identity(category.get("id"), where)] = str(category.get("name"))
    faces = [number for number, name in names.items() if name.strip().lower() == "face"] or list(names)
    if len(faces) != 1:
        found = ", ".join(f"{name!a:.40}" for name in list(names.values())[:20]) or "none"
        raise DataError(f"{file}: one category must be called face, or be the only one; found: {found}")
    return faces[0]


def _face(labels: Labels, annotation: Record, where: str) -> None:
    box = json_numbers(annotation.get("bbox"), f"{where}, bbox")
    if len(box) != 4:
        raise DataError(f"{where}: bbox has 4 numbers (x, y, width, height); found {len(box)}")
    if annotation.get("iscrowd"):
        labels.pass_over(box, where)
        return
    points = json_numbers(annotation.get("keypoints") or [], f"{where}, keypoints")
    if len(points) != 3 * LANDMARKS:
        labels.face(box, where, NO_LANDMARKS)
        return
    landmarks: list[float] = []
    for x, y, visible in zip(points[::3], points[1::3], points[2::3], strict=True):
        landmarks += (x, y) if visible > 0 else (math.nan, math.nan)
    labels.face(box, where, landmarks)


def _pictures(file: Path, name: object) -> Path:
    """Return the folder in which the picture called `name` is: the first of those in use that has it."""
    parent = file.absolute().parent
    root = parent.parent if parent.name == "annotations" else parent
    called = file.stem.removeprefix("instances_")
    choices = [root / "images" / called, root / called, root / "images", root]
    for folder in choices:
        try:
            picture(folder, name, str(file))
        except DataError:
            continue
        return folder
    raise DataError(f"{file}: there is no picture {shown(name)} in any of {', '.join(map(str, choices))}")
