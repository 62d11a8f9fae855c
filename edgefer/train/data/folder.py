"""A folder a class: `PATH/happy/*.png`, or `PATH/train/happy/*.png` and `PATH/validation/happy/*.png`.

Pictures may have any size, colour or grey; they pass through `Preprocess` as a whole, like faces from a camera.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgefer.errors import DataError
from edgefer.labels import canonical
from edgefer.preprocess import PICTURE_SUFFIXES, Preprocess, read_picture
from edgefer.train.data import Dataset, Progress, Splits
from edgefer.train.data.npz import SPLIT_NAMES


def read(folder: Path, progress: Progress | None = None) -> Splits:
    """Return the splits; labels are in alphabetical order of the class folders.

    Pictures that cannot be read are left out and counted. Raises DataError for an empty folder or class.
    """
    splits = {d: SPLIT_NAMES[d.name.lower()] for d in _folders(folder) if d.name.lower() in SPLIT_NAMES}
    if not splits:
        splits = {folder: "all"}
    listing = {name: _classes(path) for path, name in splits.items()}
    if len(listing) < len(splits):
        raise DataError(f"{folder} has two folders for one split: {', '.join(d.name for d in splits)}")
    names = tuple(sorted({c for classes in listing.values() for c in classes}))
    total = sum(len(files) for classes in listing.values() for files in classes.values())
    done = 0
    preprocess = Preprocess()
    result: Splits = {}
    for split, classes in listing.items():
        images, labels, skipped = [], [], 0
        for name, paths in classes.items():
            for path in paths:
                picture = read_picture(path)
                if picture is None:
                    skipped += 1
                else:
                    images.append(preprocess(picture)[..., 0])
                    labels.append(names.index(name))
                done += 1
                if progress and done % 100 == 0:
                    progress(done, total)
        if not images:
            raise DataError(f"none of the {skipped} pictures of {folder} ({split}) could be read")
        result[split] = Dataset(np.stack(images), np.array(labels, np.int64), names, skipped)
    if progress:
        progress(total, total)
    return result


def _folders(folder: Path) -> list[Path]:
    return sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))


def _classes(folder: Path) -> dict[str, list[Path]]:
    classes: dict[str, list[Path]] = {}
    for directory in _folders(folder):
        pictures = sorted(p for p in directory.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not pictures:
            raise DataError(f"{directory} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
        classes.setdefault(canonical(directory.name), []).extend(pictures)
    if not classes:
        raise DataError(f"{folder} has no class folders with pictures in them, such as {folder}/happy/1.png")
    return classes
