"""What a data set holds, before anything is trained on it: counts, copies, contradictions, blanks, votes."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.train.data import Dataset, Progress, Splits, duplicates
from edgefer.train.data import votes as ferplus

BLANK_DEVIATION = 2.0
"""A picture whose grey levels deviate less than this from their mean shows nothing."""
MAX_PAIRS = 24
"""Pairs of copies that are kept as examples."""


@dataclass(frozen=True)
class Brightness:
    """Grey levels, 0–255."""

    mean: float
    dark: float
    """One picture in twenty is on average darker than this."""
    bright: float
    """One picture in twenty is on average brighter than this."""
    contrast: float
    """Standard deviation within a picture, on average."""


@dataclass(frozen=True)
class Copies:
    """Pictures of one split that stand in it more than once."""

    exact: int
    """Pictures beyond the first with the same pixels."""
    near: int
    """Further pictures beyond the first, when near copies count too."""
    groups: int
    """Sets of pictures that are exact or near copies of one another."""
    contradictory: int
    """Of these sets, how many have pictures with different labels."""


@dataclass(frozen=True)
class Shared:
    """Pictures of one split that stand in another."""

    split: str
    other: str
    exact: int
    """Pictures of `split` that stand in `other` with the same pixels."""
    near: int
    """Further pictures of `split` that nearly do."""
    contradictory: int
    """Of all these, how many have a copy in `other` with a different label."""


@dataclass(frozen=True)
class Agreement:
    """The votes of FER+ beside the labels of the data set."""

    pictures: int
    """Pictures that people saw a face and one of the classes in."""
    agree: float
    """Part of them whose label is what most people voted."""
    per_class: dict[str, float | None]
    """The same for each label; None where there is no picture."""
    dropped: int
    """Pictures that are no face, or without a vote for one of the classes."""


@dataclass(frozen=True)
class SplitFacts:
    """One split."""

    name: str
    pictures: int
    per_class: dict[str, int]
    unreadable: int
    """Files that could not be read and are not among the pictures."""
    blank: int
    """Pictures of one grey level, or nearly."""
    brightness: Brightness
    copies: Copies
    votes: Agreement | None


@dataclass(frozen=True)
class Pair:
    """Two pictures that are copies, as an example."""

    splits: tuple[str, str]
    positions: tuple[int, int]
    """Where each stands in its split, from 0."""
    labels: tuple[str, str]
    exact: bool


@dataclass(frozen=True)
class Inspection:
    """What was found in a data set."""

    names: tuple[str, ...]
    splits: tuple[SplitFacts, ...]
    shared: tuple[Shared, ...]
    pairs: tuple[Pair, ...]
    """Examples of copies, those with different labels first."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return dataclasses.asdict(self)


def inspect(splits: Splits, progress: Progress | None = None) -> Inspection:
    """Return what `splits` hold; labels are in the order of the first split.

    Raises DataError when the splits have different labels.
    """
    names = next(iter(splits.values())).names
    splits = {name: data.ordered(names) for name, data in splits.items()}
    searches = [*((n, n) for n in splits), *itertools.combinations(splits, 2)]
    total = sum(2 * len(splits[first]) for first, _ in searches)
    done = 0
    facts, shared, pairs = [], [], []
    for first, second in searches:
        step = None if progress is None else lambda n, _, before=done: progress(before + n, total)
        if first == second:
            copies, examples = _within(first, splits[first], step)
            facts.append(_facts(first, splits[first], copies))
        else:
            found, examples = _between(first, second, splits, step)
            shared.append(found)
        pairs += examples
        done += 2 * len(splits[first])
    return Inspection(names, tuple(facts), tuple(shared), _examples(pairs))


def findings(inspection: Inspection) -> list[str]:
    """Return what a person should know before training, in sentences, with the setting that helps."""
    main = next((s for s in inspection.splits if s.name in ("train", "all")), inspection.splits[0])
    found = [_balance(main)]
    for split in inspection.splits:
        if split.unreadable:
            found.append(f"Files of {split.name} that cannot be read and were left out: {split.unreadable:,}.")
        if split.blank:
            found.append(f"Blank pictures in {split.name} (one grey level, or nearly): {split.blank:,}.")
        copies = split.copies
        if copies.groups:
            found.append(
                f"{split.name} has {copies.exact:,} exact and {copies.near:,} near copies beyond the first of each"
                f" picture, in {copies.groups:,} groups; in {copies.contradictory:,} groups the labels differ."
                + (' Setting: data.duplicates = "near".' if split is main else "")
            )
    for pair in inspection.shared:
        if pair.exact or pair.near:
            text = (
                f"{pair.exact + pair.near:,} pictures of {pair.split} also stand in {pair.other}: {pair.exact:,}"
                f" exactly, {pair.near:,} nearly; {pair.contradictory:,} of them with another label."
            )
            if pair.split == main.name:
                text += f' Figures on {pair.other} flatter. Setting: data.seen_in_test = "near".'
            found.append(text)
    for split in inspection.splits:
        if split.votes:
            found.append(
                f"FER+, {split.name}: the majority of the votes agrees with {split.votes.agree:.1%} of the labels;"
                f" {split.votes.dropped:,} pictures are no face or have no vote for a label."
                + (' Setting: data.votes = "soft" or "majority".' if split is main else "")
            )
    return found


def _balance(main: SplitFacts) -> str:
    small, large = (pick(main.per_class, key=main.per_class.__getitem__) for pick in (min, max))
    few, many = main.per_class[small], main.per_class[large]
    text = f"{main.name}: the smallest class is {small}, {few:,} pictures ({few / main.pictures:.1%});"
    text += f" {large} has {many:,}" + (f", {many / few:.0f} times as many." if few else ".")
    return text + (" Settings: data.balance, class_weight_power." if many > 2 * few else "")


def _facts(name: str, data: Dataset, copies: Copies) -> SplitFacts:
    pixels = data.images.reshape(len(data), -1)
    means, deviations = pixels.mean(axis=1), _deviations(pixels)
    low, high = np.percentile(means, (5, 95))
    brightness = Brightness(*(round(float(v), 1) for v in (means.mean(), low, high, deviations.mean())))
    per_class = np.bincount(data.labels, minlength=len(data.names)).tolist()
    return SplitFacts(
        name,
        len(data),
        dict(zip(data.names, per_class, strict=True)),
        data.skipped,
        int((deviations < BLANK_DEVIATION).sum()),
        brightness,
        copies,
        _agreement(data),
    )


def _deviations(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the standard deviation of each row, without a float copy of all pictures."""
    parts = [pixels[start : start + 4096].std(axis=1) for start in range(0, len(pixels), 4096)]
    return np.concatenate(parts)


def _agreement(data: Dataset) -> Agreement | None:
    if data.votes is None:
        return None
    labels, keep = ferplus.majority(data.votes, data.names, data.labels)
    same = (labels == data.labels)[keep]
    own = data.labels[keep]
    per_class = {
        name: round(float(same[own == i].mean()), 4) if (own == i).any() else None for i, name in enumerate(data.names)
    }
    agree = round(float(same.mean()), 4) if keep.any() else 0.0
    return Agreement(int(keep.sum()), agree, per_class, int((~keep).sum()))


def _within(name: str, data: Dataset, progress: Progress | None) -> tuple[Copies, list[Pair]]:
    exact = duplicates.exact_groups(data.images)
    near = duplicates.near_pairs(data.images, progress=progress)[0]
    groups = duplicates.grouped(len(data), exact, near)
    superfluous = sum(len(group) - 1 for group in exact)
    differ = [len(set(data.labels[group].tolist())) > 1 for group in groups]
    examples = []
    for group in groups:
        labels = data.labels[group]
        other = group[np.flatnonzero(labels != labels[0])[:1]] if (labels != labels[0]).any() else group[1:2]
        examples.append(_pair((name, name), (data, data), int(group[0]), int(other[0])))
    copies = Copies(superfluous, sum(len(g) - 1 for g in groups) - superfluous, len(groups), sum(differ))
    return copies, examples


def _between(first: str, second: str, splits: Splits, progress: Progress | None) -> tuple[Shared, list[Pair]]:
    one, other = splits[first], splits[second]
    places: dict[bytes, list[int]] = {}
    for j, picture in enumerate(other.images):
        places.setdefault(picture.tobytes(), []).append(j)
    exact = [(i, j) for i, picture in enumerate(one.images) for j in places.get(picture.tobytes(), [])]
    near = duplicates.near_pairs(one.images, other.images, progress)[0].tolist()
    of: dict[int, list[int]] = {}
    for i, j in [*exact, *near]:
        of.setdefault(i, []).append(j)
    examples, contradictory = [], 0
    for i, copies in sorted(of.items()):
        differing = [j for j in copies if other.labels[j] != one.labels[i]]
        contradictory += bool(differing)
        examples.append(_pair((first, second), (one, other), i, (differing or copies)[0]))
    exactly = len({i for i, _ in exact})
    return Shared(first, second, exactly, len(of) - exactly, contradictory), examples


def _pair(splits: tuple[str, str], data: tuple[Dataset, Dataset], i: int, j: int) -> Pair:
    labels = data[0].names[data[0].labels[i]], data[1].names[data[1].labels[j]]
    return Pair(splits, (i, j), labels, bool((data[0].images[i] == data[1].images[j]).all()))


def _examples(pairs: list[Pair]) -> tuple[Pair, ...]:
    """Return a few pairs spread over all: half with different labels, half without, as far as there are."""
    differing = [p for p in pairs if p.labels[0] != p.labels[1]]
    same = [p for p in pairs if p.labels[0] == p.labels[1]]
    many = min(len(differing), max(MAX_PAIRS // 2, MAX_PAIRS - len(same)))
    return tuple(_spread(differing, many) + _spread(same, min(len(same), MAX_PAIRS - many)))


def _spread(pairs: list[Pair], count: int) -> list[Pair]:
    return [pairs[i * len(pairs) // count] for i in range(count)]
