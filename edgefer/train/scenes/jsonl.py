"""edgefer's own form: `pictures.jsonl`, one JSON object a picture, and the pictures in `pictures/` beside it.

`{"file": "a.jpg", "faces": [[x, y, w, h, score, x1, y1, … x5, y5]], "ignore": [[x, y, w, h]]}`: score and landmarks may
be left out, single landmarks be `null, null`; `ignore`, `width` and `height` are optional, other keys are passed over.
Where lines have the key `split` (train, validation, test), it decides. Where none has it and all files are named by
hashes, as the project's own are, those that begin with 0 or 1 are for validation: an eighth, and it stays the same
eighth when pictures are added. Else nothing is divided.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from edgefer.errors import DataError
from edgefer.train.scenes import LANDMARKS, Progress, Scene, Splits
from edgefer.train.scenes._checked import Labels, distinct, json_numbers, json_size, picture, read_lines, shown

FORM = "a folder with pictures.jsonl and pictures/ (edgefer's own)"
LABELS = "pictures.jsonl"
SPLIT_NAMES = ("train", "validation", "test")

_HASH = re.compile(r"[0-9a-f]{8,}\.[a-z]+", re.IGNORECASE)
_WITH_LANDMARKS = 5 + 2 * LANDMARKS


def fits(path: Path) -> bool:
    """Return whether the data at `path` looks like this form."""
    return (path / LABELS).is_file() if path.is_dir() else path.suffix.lower() == ".jsonl"


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Return the splits, or `all`; raises DataError with the line that is wrong."""
    file = path / LABELS if path.is_dir() else path
    lines = read_lines(file)
    scenes, splits = [], []
    for index, line in enumerate(lines):
        if line:
            where = f"{file}, line {index + 1}"
            record = _record(line, where)
            scenes.append(_scene(record, file.parent / "pictures", where))
            splits.append(_split(record, where))
        if progress and (index + 1) % 1000 == 0:
            progress(index + 1, len(lines))
    distinct(scenes, file)
    if progress:
        progress(len(lines), len(lines))
    if not any(splits):
        return _by_hash(scenes)
    if not all(splits):
        raise DataError(
            f"{file}: {scenes[splits.index(None)].name!a:.200} has no split, others have; give all or none one"
        )
    return {
        name: chosen
        for name in SPLIT_NAMES
        if (chosen := [s for s, of in zip(scenes, splits, strict=True) if of == name])
    }


def _record(line: str, where: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: an object with file and faces expected, found {line!a:.80}")
    return record


def _scene(record: dict[str, object], folder: Path, where: str) -> Scene:
    path = picture(folder, record.get("file"), f"{where}, file")
    labels = Labels()
    for face in _rows(record, "faces", where):
        missing = [i for i, value in enumerate(face) if value is None and i >= 5]
        read = json_numbers([0 if i in missing else value for i, value in enumerate(face)], f"{where}, faces")
        if len(read) not in (4, 5, _WITH_LANDMARKS):
            raise DataError(
                f"{where}: a face has 4 numbers, 5 with a score or {_WITH_LANDMARKS} with landmarks; found {len(read)}"
            )
        for i in missing:
            read[i] = math.nan
        landmarks = read[5:] or [math.nan] * (2 * LANDMARKS)
        labels.face(read[:4], where, landmarks, read[4] if len(read) > 4 else 1.0)
    for box in _rows(record, "ignore", where):
        read = json_numbers(box, f"{where}, ignore")
        if len(read) not in (4, 5):
            raise DataError(f"{where}: a box to ignore has 4 numbers, or 5 with a score; found {len(read)}")
        labels.pass_over(read[:4], where)
    return labels.scene(str(record["file"]), path, where, json_size(record, where))


def _rows(record: dict[str, object], key: str, where: str) -> list[list[object]]:
    """Return a list of lists; a picture without faces has to say so, or a misspelt key would make it one."""
    rows = record.get(key, [] if key == "ignore" else None)
    if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise DataError(f"{where}: {key} must be a list of lists of numbers, found {shown(rows)}")
    return rows


def _split(record: dict[str, object], where: str) -> str | None:
    split = record.get("split")
    if split is not None and split not in SPLIT_NAMES:
        raise DataError(f"{where}: split must be one of {', '.join(SPLIT_NAMES)}, found {shown(split)}")
    return None if split is None else str(split)


def _by_hash(scenes: list[Scene]) -> Splits:
    """Divide by the first character of the names where all are hashes; plain numbers are none."""
    hashes = all(_HASH.fullmatch(s.name) for s in scenes) and not all(s.path.stem.isdecimal() for s in scenes)
    held = [scene for scene in scenes if scene.name[0] in "01"]
    if not hashes or not held or len(held) == len(scenes):
        return {"all": scenes}
    return {"train": [scene for scene in scenes if scene.name[0] not in "01"], "validation": held}
