"""Labelled faces from disk: one reader a form, all giving the same arrays.

Readers need numpy and OpenCV alone, so `edgefer evaluate` works on a board too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgefer.errors import DataError
from edgefer.labels import is_label

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Called as `progress(done, total)` while something long is read."""


@dataclass(frozen=True)
class Dataset:
    """Labelled grey faces: images uint8 [n, 48, 48], labels int64 [n] that index `names`."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    skipped: int = 0
    """Pictures that could not be read and were left out."""
    votes: npt.NDArray[np.uint8] | None = None
    """How ten people labelled each picture, uint8 [n, 10] in the order of `votes.CHOICES` (FER+)."""
    rows: npt.NDArray[np.int64] | None = None
    """Line of each picture in the original fer2013.csv, from 0."""
    targets: npt.NDArray[np.float32] | None = None
    """Distributions over `names` to train towards, float32 [n, k]; None = the labels."""

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 3 or self.images.shape[1:] != (48, 48):
            raise DataError(f"images must be uint8 [n, 48, 48], found {self.images.dtype} {list(self.images.shape)}")
        if len(self.images) == 0:
            raise DataError("the data set holds no pictures")
        if self.labels.shape != (len(self.images),):
            raise DataError(f"{len(self.images)} images but labels of shape {list(self.labels.shape)}")
        if self.labels.min() < 0 or self.labels.max() >= len(self.names):
            bad = int(self.labels.min()) if self.labels.min() < 0 else int(self.labels.max())
            raise DataError(f"label {bad} is out of range: there are {len(self.names)} labels, 0–{len(self.names) - 1}")
        strange = next((name for name in self.names if not is_label(name)), None)
        if strange is not None:
            raise DataError(f"{strange!a:.80} is no label: give it 1–100 printable characters")
        for name, values, width in (
            ("votes", self.votes, (10,)),
            ("rows", self.rows, ()),
            ("targets", self.targets, (len(self.names),)),
        ):
            if values is not None and values.shape != (len(self.images), *width):
                raise DataError(f"{len(self.images)} images but {name} of shape {list(values.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: npt.NDArray[np.int64]) -> Dataset:
        """Return the pictures at `index`, with all that belongs to them."""
        return Dataset(
            self.images[index],
            self.labels[index],
            self.names,
            votes=None if self.votes is None else self.votes[index],
            rows=None if self.rows is None else self.rows[index],
            targets=None if self.targets is None else self.targets[index],
        )

    def ordered(self, names: tuple[str, ...]) -> Dataset:
        """Return the same pictures with labels in the order of `names`.

        Raises DataError when the data has a label that `names` lacks.
        """
        unknown = set(self.names) - set(names)
        if unknown:
            raise DataError(
                f"the data has the labels {', '.join(sorted(unknown))}, which the bundle does not: {', '.join(names)}"
            )
        order = np.array([names.index(n) for n in self.names], np.int64)
        targets = None
        if self.targets is not None:
            targets = np.zeros((len(self), len(names)), np.float32)
            targets[:, order] = self.targets
        return dataclasses.replace(self, labels=order[self.labels], names=names, targets=targets)


Splits = dict[str, Dataset]
"""`train`, `validation`, `test` as far as the data has them, or `all` when it is not divided."""


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Read a FER2013 CSV, a folder a class, or `.npz` (a file, or a folder with train.npz, validation.npz).

    Raises DataError that says what is wrong and where.
    """
    from edgefer.train.data import fer2013_csv, folder, npz

    if not path.exists():
        raise DataError(f"there is no data at {path}")
    if path.is_dir():
        return npz.read_folder(path) if any(path.glob("*.npz")) else folder.read(path, progress)
    if path.suffix.lower() == ".csv":
        return fer2013_csv.read(path, progress)
    if path.suffix.lower() == ".npz":
        return npz.read(path)
    raise DataError(f"{path} is neither a .csv, a .npz nor a folder")


def pick(splits: Mapping[str, T], split: str | None) -> tuple[str, T]:
    """Return the split asked for, or else the one that was held out: test, validation, all, train.

    Raises DataError when the data has no such split.
    """
    for name in (split,) if split else ("test", "validation", "all", "train"):
        if name in splits:
            return name, splits[name]
    raise DataError(f"the data has no split {split!r}; it has: {', '.join(splits)}")


def for_training(splits: Splits, seed: int, fraction: float = 0.1) -> tuple[Dataset, Dataset]:
    """Return (train, validation); where there is no validation split, `fraction` of each class is held out.

    Raises DataError when there is nothing to train on or a class is too small to divide.
    """
    if "train" in splits and "validation" in splits:
        return splits["train"], splits["validation"].ordered(splits["train"].names)
    name, data = pick(splits, "train" if "train" in splits else "all")
    train, validation = divide(data, (fraction,), seed, name)
    return train, validation


def divide(data: Dataset, held: Sequence[float], seed: int, name: str = "whole") -> list[Dataset]:
    """Return what remains of `data`, then one part for each fraction in `held`, drawn at random class by class.

    Each part has at least one picture of each class. Raises DataError, with the `name` of the split, when a class is
    too small for that.
    """
    rng = np.random.default_rng(seed)
    part = np.zeros(len(data), np.int64)
    for label, count in enumerate(np.bincount(data.labels, minlength=len(data.names))):
        if not count:
            continue
        if count <= len(held):
            raise DataError(
                f"the {name} split has {'a single picture' if count == 1 else f'only {count} pictures'} of"
                f" {data.names[label]!r}; at least {len(held) + 1} are needed"
            )
        rows = rng.permutation(np.flatnonzero(data.labels == label))
        sizes = [max(1, round(count * fraction)) for fraction in held]
        while sum(sizes) >= count:  # rounded up
            sizes[sizes.index(max(sizes))] -= 1
        for i, rows_of_part in enumerate(np.split(rows, np.cumsum(sizes))[:-1], start=1):
            part[rows_of_part] = i
    return [data.take(np.flatnonzero(part == i)) for i in range(len(held) + 1)]
