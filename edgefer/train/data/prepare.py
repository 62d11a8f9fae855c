"""From what was read to what is trained on: the settings of a recipe's `[data]`, in a fixed order.

Only training pictures are ever dropped, relabelled or drawn; validation and test keep their pictures and the labels of
the data set, so that a figure measured on them can be compared with others. Merged labels are merged everywhere.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import DataError
from edgefer.labels import canonical
from edgefer.train.data import Dataset, Splits, divide, duplicates, for_training
from edgefer.train.data import votes as ferplus
from edgefer.train.recipe import DataSettings, of_bundle

MAX_ROWS_FILE = 10_000_000
"""Bytes of a file of rows to drop."""


@dataclass(frozen=True)
class Prepared:
    """The splits as training takes them, and what was done to them."""

    train: Dataset
    validation: Dataset
    test: Dataset | None
    notes: tuple[str, ...]
    """What was done, in plain words with counts, one step each."""


def prepare(splits: Splits, settings: DataSettings, seed: int, drop_rows: set[int] | None = None) -> Prepared:
    """Return the splits with `settings` applied; the same arguments give the same pictures in the same order.

    `seed` decides what is held out where there is no validation split, and what `balance = "resample"` draws; a new
    division has a seed of its own. `drop_rows` are rows of fer2013.csv not to train on. The order: division, votes,
    merging, pictures seen in other splits, `drop_rows`, copies, balance.

    Raises DataError when the data lacks what a setting needs, or nothing is left to train on.
    """
    notes: list[str] = []
    train, validation, test = _divide(splits, settings, seed, notes)
    if settings.votes != "none":
        train = _vote(train, settings, notes)
    if settings.merge:
        names, groups = merged_names(train.names, settings.merge)
        train, validation = merge(train, names, groups), merge(validation, names, groups)
        test = None if test is None else merge(test, names, groups)
        notes.append(f"merged labels: {', '.join(settings.merge)}; {len(names)} are left: {', '.join(names)}")
    if settings.seen_in_test != "keep":
        train = _drop_seen(train, validation, test, settings.seen_in_test == "near", notes)
    if drop_rows is not None:
        train = _drop_rows(train, drop_rows, notes)
    if settings.duplicates != "keep":
        train = _drop_copies(train, settings.duplicates == "near", notes)
    if settings.balance == "resample":
        train = _resample(train, settings.balance_to, seed, notes)
    return Prepared(train, validation, test, tuple(notes))


def as_trained(splits: Splits, recipe: Mapping[str, Any]) -> tuple[Dataset, Dataset]:
    """Return (train, validation) divided and with labels merged as in the run whose recipe a bundle holds.

    Raises RecipeError for a recipe that cannot be read, else as `prepare`.
    """
    settings = of_bundle(recipe)
    kept = DataSettings(merge=settings.data.merge, split=settings.data.split, split_seed=settings.data.split_seed)
    found = prepare(splits, kept, settings.seed)
    return found.train, found.validation


def to_tune(splits: Splits, recipe: Mapping[str, Any], drop_rows: set[int] | None = None) -> Prepared:
    """Return the data of the run whose recipe a bundle holds, to train its network further on, but for votes.

    What the run left out is left out again; raises as `as_trained`.
    """
    settings = of_bundle(recipe)
    return prepare(splits, dataclasses.replace(settings.data, votes="none"), settings.seed, drop_rows)


def merged_as_trained(splits: Splits, recipe: Mapping[str, Any], labels: tuple[str, ...]) -> Splits:
    """Return `splits` with labels merged as in the run whose recipe a bundle with `labels` holds; raises as above."""
    merges = of_bundle(recipe).data.merge
    result = dict(splits)
    for name, data in splits.items():
        if merges and not set(data.names) <= set(labels):
            names, groups = merged_names(data.names, merges)
            result[name] = merge(data, names, groups)
    return result


def read_drop_rows(path: Path) -> set[int]:
    """Return the numbers in the column `row` of a CSV: rows of fer2013.csv, from 0, not to train on.

    Raises DataError with the number of the first line that is not right.
    """
    try:
        if path.stat().st_size > MAX_ROWS_FILE:
            raise DataError(f"{path} is larger than {MAX_ROWS_FILE:,} bytes; a list of rows is not")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a CSV in UTF-8: {error}") from error
    rows: set[int] = set()
    try:
        reader = csv.reader(lines, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if "row" not in header:
            raise DataError(f"{path}: the first line must name a column `row`; found {','.join(header)[:60]!r}")
        column = header.index("row")
        for fields in reader:
            if not fields:
                continue
            value = fields[column].strip() if len(fields) == len(header) else ""
            if not (value.isascii() and value.isdigit() and len(value) <= 9):
                raise DataError(
                    f"{path}, line {reader.line_num}: a row number from 0 expected among {len(header)} fields,"
                    f" found {','.join(fields)[:40]!r}"
                )
            rows.add(int(value))
    except csv.Error as error:
        raise DataError(f"{path} is not a readable CSV: {error}") from error
    if not rows:
        raise DataError(f"{path} has a header and no rows")
    return rows


def merged_names(names: tuple[str, ...], merges: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Return the labels after `merges` (`sad+neutral` or `sad+neutral=low`), and the new index of each of `names`.

    A merged label stands where the first of its parts (in the order of `names`) stood. Raises DataError for a label
    that the data lacks, one that is merged twice, a name that is taken, or when fewer than two labels are left.
    """
    becomes = {name: name for name in names}
    for text in merges:
        parts_text, equals, given = text.partition("=")
        parts = [canonical(part) for part in parts_text.split("+")]
        new = given.strip() if equals else "+".join(parts)
        for part in parts:
            if part not in names:
                near = difflib.get_close_matches(part, names, 1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                raise DataError(f"merge {text!r}: the data has no label {part!r}{hint}; it has {', '.join(names)}")
            if becomes[part] != part or parts.count(part) > 1:
                raise DataError(f"merge {text!r}: {part!r} is merged twice")
        if len(parts) < 2 or not new:
            raise DataError(f"merge {text!r}: write labels joined by +, such as sad+neutral, or sad+neutral=low")
        if new in becomes.values() and new not in parts:
            raise DataError(f"merge {text!r}: there is a label {new!r} already; choose another name")
        becomes |= dict.fromkeys(parts, new)
    left = tuple(dict.fromkeys(becomes[name] for name in names))
    if len(left) < 2:
        raise DataError(f"merging {', '.join(merges)} leaves one label; at least two are needed")
    return left, np.array([left.index(becomes[name]) for name in names], np.int64)


def merge(data: Dataset, names: tuple[str, ...], index: npt.NDArray[np.int64]) -> Dataset:
    """Return `data` with label i as `index[i]` of `names`, and distributions added up; see `merged_names`."""
    targets = None
    if data.targets is not None:
        targets = np.zeros((len(data), len(names)), np.float32)
        for old, new in enumerate(index):
            targets[:, new] += data.targets[:, old]
    return dataclasses.replace(data, labels=index[data.labels], names=names, targets=targets)


def resample(data: Dataset, count: int, seed: int) -> Dataset:
    """Return `data` with `count` pictures of each class, in the order of `data`.

    A smaller class has each picture as often as it takes, give or take one: augmentation makes the copies differ. Of a
    larger one, as many are drawn without replacement. Raises DataError when a class has no picture.
    """
    rng = np.random.default_rng(seed)
    chosen: list[npt.NDArray[np.int64]] = []
    for label, name in enumerate(data.names):
        own = np.flatnonzero(data.labels == label)
        if not len(own):
            raise DataError(f"balance: there is no training picture of {name!r} to draw from; merge or leave it out")
        chosen += [own] * (count // len(own)) + [rng.permutation(own)[: count % len(own)]]
    return data.take(np.sort(np.concatenate(chosen)))


def _divide(
    splits: Splits, settings: DataSettings, seed: int, notes: list[str]
) -> tuple[Dataset, Dataset, Dataset | None]:
    if settings.split:
        pool = _pooled(list(splits.values()))
        parts = divide(pool, settings.split[1:], settings.split_seed)
        sizes = " + ".join(f"{len(part):,}" for part in parts)
        names = " + ".join(("training", "validation", "test")[: len(parts)])
        notes.append(f"divided all {len(pool):,} pictures anew, class by class: {sizes} ({names})")
        return parts[0], parts[1], parts[2] if len(parts) == 3 else None
    train, validation = for_training(splits, seed)
    if "validation" not in splits:
        notes.append(f"held out {len(validation):,} pictures, a tenth of each class, to choose by")
    test = splits.get("test")
    return train, validation, None if test is None else test.ordered(train.names)


def _pooled(parts: list[Dataset]) -> Dataset:
    """Return all pictures in one; votes and rows only where every part has them."""
    parts = [part.ordered(parts[0].names) for part in parts]
    votes = [part.votes for part in parts if part.votes is not None]
    rows = [part.rows for part in parts if part.rows is not None]
    return Dataset(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        parts[0].names,
        sum(part.skipped for part in parts),
        np.concatenate(votes) if len(votes) == len(parts) else None,
        np.concatenate(rows) if len(rows) == len(parts) else None,
    )


def _vote(train: Dataset, settings: DataSettings, notes: list[str]) -> Dataset:
    votes = train.votes
    if votes is None:
        raise DataError(
            f"votes = {settings.votes!r}, but the data has no votes: give FER+'s fer2013new.csv with --votes, or a .npz"
            " with `votes`"
        )
    if settings.votes == "majority":
        labels, keep = ferplus.majority(votes, train.names, train.labels)
        changed = int((labels != train.labels)[keep].sum())
        train = dataclasses.replace(train, labels=labels)
        what = f"{changed:,} of {int(keep.sum()):,} training labels changed to the majority of the votes"
    else:
        shares, keep = ferplus.distribution(votes, train.names)
        own = np.eye(len(train.names), dtype=np.float32)[train.labels]
        weight = np.float32(settings.votes_weight)
        train = dataclasses.replace(train, targets=weight * shares + (1 - weight) * own)
        what = f"{int(keep.sum()):,} training pictures have the votes' distribution ({settings.votes_weight:g} of it)"
    notes.append(f"FER+: {what}; dropped {int((~keep).sum()):,} that are no face or have no vote for a label")
    return _keep(train, keep)


def _drop_seen(train: Dataset, validation: Dataset, test: Dataset | None, near: bool, notes: list[str]) -> Dataset:
    reference = validation.images if test is None else np.concatenate([validation.images, test.images])
    exact = duplicates.copies_of(train.images, reference, near=False)
    seen = duplicates.copies_of(train.images, reference, near=True) if near else exact
    others = "validation" if test is None else "validation or test"
    notes.append(
        f"dropped {int(seen.sum()):,} training pictures that stand in {others} too"
        + (f" ({int(exact.sum()):,} exactly, {int((seen & ~exact).sum()):,} nearly)" if near else " (exactly)")
    )
    return _keep(train, ~seen)


def _drop_rows(train: Dataset, rows: set[int], notes: list[str]) -> Dataset:
    if train.rows is None:
        raise DataError(
            "rows to drop are given, but the data does not tell its rows in fer2013.csv: give FER+'s fer2013new.csv"
            " with --votes, or a .npz with `rows`"
        )
    listed = np.isin(train.rows, np.fromiter(rows, np.int64, len(rows)))
    notes.append(f"dropped {int(listed.sum()):,} training pictures by their rows, of {len(rows):,} listed")
    return _keep(train, ~listed)


def _drop_copies(train: Dataset, near: bool, notes: list[str]) -> Dataset:
    """Keep one picture of each group of copies: the first that has the label most frequent in the group."""
    groups = duplicates.near_groups(train.images) if near else duplicates.exact_groups(train.images)
    keep = np.ones(len(train), bool)
    disagree = 0
    for group in groups:
        labels = train.labels[group].tolist()
        disagree += len(set(labels)) > 1
        winner = max(labels, key=labels.count)  # of labels as frequent, the first in the data
        keep[group] = False
        keep[group[labels.index(winner)]] = True
    kind = "exact or near copies" if near else "exact copies"
    notes.append(
        f"dropped {int((~keep).sum()):,} {kind} within the training pictures, from {len(groups):,} groups;"
        f" in {disagree:,} of them the labels differ, and the most frequent one stays (of equals, the first)"
    )
    return _keep(train, keep)


def _resample(train: Dataset, balance_to: int, seed: int, notes: list[str]) -> Dataset:
    before = np.bincount(train.labels, minlength=len(train.names))
    count = balance_to or round(len(train) / len(train.names))
    drawn = resample(train, count, seed)
    changes = ", ".join(f"{name} {n:,}" for name, n in zip(train.names, before.tolist(), strict=True))
    notes.append(f"drew {count:,} training pictures of each class; there were {changes}")
    return drawn


def _keep(train: Dataset, keep: npt.NDArray[np.bool_]) -> Dataset:
    if not keep.any():
        raise DataError("nothing is left to train on: every training picture was dropped; loosen the recipe's [data]")
    return train.take(np.flatnonzero(keep))
