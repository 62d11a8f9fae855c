"""`.npz` arrays: images (n,48,48) or (n,48,48,1) uint8, labels (n,) integers.

Optional: `names` (k,) strings; `votes` (n,10) uint8, what FER+'s people chose; `rows` (n,) integers, the line of each
picture in fer2013.csv.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS, canonical
from edgefer.train.data import Dataset, Splits

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "publictest": "validation",
    "test": "test",
    "privatetest": "test",
}


def read(path: Path) -> Splits:
    """Return the pictures of one file, under the split that its name tells, else under `all`.

    Without `names`, labels are in FER2013's order. Raises DataError.
    """
    return {SPLIT_NAMES.get(path.stem.lower(), "all"): _load(path)}


def read_folder(folder: Path) -> Splits:
    """Return the splits of a folder with train.npz, validation.npz (publictest.npz), test.npz."""
    splits: Splits = {}
    for path in sorted(folder.glob("*.npz")):
        split = SPLIT_NAMES.get(path.stem.lower())
        if split is None:
            raise DataError(f"{path}: the name tells no split; use one of: {', '.join(SPLIT_NAMES)}")
        if split in splits:
            raise DataError(f"{folder} has two files for the split {split!r}")
        splits[split] = _load(path)
    return splits


def _load(path: Path) -> Dataset:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {k: archive[k] for k in ("images", "labels", "names", "votes", "rows") if k in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a readable .npz of plain arrays: {error}") from error
    missing = {"images", "labels"} - set(arrays)
    if missing:
        raise DataError(f"{path} lacks the array {', '.join(sorted(missing))}; it needs images and labels")
    images, labels = arrays["images"], arrays["labels"]
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    votes, rows = arrays.get("votes"), arrays.get("rows")
    for name, array in (("labels", labels), ("rows", rows)):
        if array is not None and not np.issubdtype(array.dtype, np.integer):
            raise DataError(f"{path}: {name} must be integers, found {array.dtype}")
    if votes is not None and votes.dtype != np.uint8:
        raise DataError(f"{path}: votes must be uint8, found {votes.dtype}")
    names = tuple(canonical(str(n)) for n in arrays["names"]) if "names" in arrays else FER2013_LABELS
    try:
        data = Dataset(
            images,
            labels.astype(np.int64),
            names,
            votes=votes,
            rows=None if rows is None else rows.astype(np.int64),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if data.rows is not None and (data.rows.min() < 0 or len(np.unique(data.rows)) < len(data)):
        raise DataError(f"{path}: rows must be 0 or more and differ from one another")
    return data
