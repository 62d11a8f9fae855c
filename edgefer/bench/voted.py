"""The same answers by labels of another kind: what most of ten people said of each picture (FER+), where they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import metrics
from edgefer.bench import _figures
from edgefer.bench._fields import Fields, short
from edgefer.errors import DataError, RecordError
from edgefer.labels import FER2013_LABELS, canonical, is_label
from edgefer.train.data import votes as ferplus
from edgefer.train.data.prepare import merged_names

NO_MAJORITY = "no majority"
"""Two choices have the most votes, or nobody agreed with anybody."""


@dataclass(frozen=True)
class Voted:
    """Answers held against the majority of the votes, and against the data set's own labels where those are wrong."""

    accuracy: metrics.Accuracy
    """Against the majority, on the pictures where it is a label of the bundle."""
    left_out: Mapping[str, int]
    """The other pictures, by what most people chose."""
    relabelled: int
    """Pictures whose majority is not the label of the data set."""
    with_model: int
    """Of the answers that are wrong by the data set's label, those that the majority gives too."""
    with_label: int
    """Of the same, those where the majority gives the data set's label."""
    with_neither: int
    """Of the same, the others."""

    @property
    def wrong(self) -> int:
        """Answers that are wrong by the data set's label, on the pictures that are not left out."""
        return self.with_model + self.with_label + self.with_neither

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return self.accuracy.as_dict() | {
            "left_out": dict(self.left_out),
            "relabelled": self.relabelled,
            "wrong": self.wrong,
            "with_model": self.with_model,
            "with_label": self.with_label,
            "with_neither": self.with_neither,
        }

    @classmethod
    def from_dict(cls, data: Any, labels: tuple[str, ...], of: int) -> Voted:
        """Return the figures of such data on a set of `of` pictures; raises RecordError when they are malformed."""
        entry = Fields(data, "votes")
        accuracy = _figures.accuracy(entry, labels)
        n = accuracy.n
        choices = entry.take("left_out", dict)
        others = Fields(choices, "left_out")
        if not all(map(is_label, choices)):
            raise RecordError(
                f"votes: what is left out must have names, found {short(list(choices))}; {_figures.ADVICE}"
            )
        left_out = {name: _figures.pictures(others, name, of) for name in choices}
        if sum(left_out.values()) + n != of:
            raise RecordError(
                f"votes: {n:,} pictures and {sum(left_out.values()):,} left out are not {of:,}; {_figures.ADVICE}"
            )
        sides = {name: _figures.pictures(entry, name, n) for name in ("with_model", "with_label", "with_neither")}
        found = cls(accuracy, left_out, _figures.pictures(entry, "relabelled", n), **sides)
        if _figures.pictures(entry, "wrong", n) != found.wrong:
            raise RecordError(f"votes: 'wrong' is not the sum of its parts, {found.wrong:,}; {_figures.ADVICE}")
        # An answer agrees with the majority where the label is wrong (with_model) or where both are right.
        right = sum(accuracy.confusion[i][i] for i in range(len(labels)))
        relabelled = found.with_model + found.with_neither
        if not found.with_model <= right or not relabelled <= found.relabelled <= n - found.with_label:
            raise RecordError(f"votes: its counts contradict each other, found {short(sides)}; {_figures.ADVICE}")
        entry.done()
        return found


def voted(
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    votes: npt.NDArray[np.uint8],
    names: tuple[str, ...],
    merges: Sequence[str] = (),
) -> Voted:
    """Return how answers float32 [n, k] do by votes uint8 [n, 10] and by labels int64 [n], which index `names` (k).

    A choice with a single vote does not count, as in FER+'s own code. `merges` are those of the recipe that made
    `names` of FER2013's labels: votes for merged labels are added up. Pictures on which the most votes went to
    what is no label (contempt, unknown, not a face), or to several alike, are left out and counted. Raises DataError
    when none is left.
    """
    places, others = _places(names, merges)
    counted = np.where(votes > 1, votes, 0)
    summed = np.zeros((len(votes), len(names) + len(others)), np.int64)
    for choice, place in enumerate(places):
        summed[:, place] += counted[:, choice]
    best = summed.max(axis=1)
    winner = summed.argmax(axis=1)
    clear = ((summed == best[:, None]).sum(axis=1) == 1) & (best > 0)
    keep = clear & (winner < len(names))
    if not keep.any():
        raise DataError(
            f"on no picture did most people choose a label of the bundle ({', '.join(names)}); evaluate without --votes"
        )
    left_out = {name: int((clear & (winner == len(names) + i)).sum()) for i, name in enumerate(others)}
    majority, label, answer = winner[keep], labels[keep], probabilities[keep].argmax(axis=1)
    wrong = answer != label
    return Voted(
        accuracy=metrics.measure(probabilities[keep], majority, names),
        left_out=left_out | {NO_MAJORITY: int((~clear).sum())},
        relabelled=int((majority != label).sum()),
        with_model=int((wrong & (majority == answer)).sum()),
        with_label=int((wrong & (majority == label)).sum()),
        with_neither=int((wrong & (majority != answer) & (majority != label)).sum()),
    )


def _places(names: tuple[str, ...], merges: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the column of each of FER+'s choices: among `names`, or after them among what is no label, and those."""
    becomes = dict(zip(names, names, strict=True))
    if merges and not set(FER2013_LABELS) <= set(names):
        emotions = tuple(canonical(choice) for choice in ferplus.CHOICES[: ferplus.EMOTIONS])
        merged, groups = merged_names(emotions, merges)
        becomes |= {emotion: merged[group] for emotion, group in zip(emotions, groups, strict=True)}
    places: list[int] = []
    others: list[str] = []
    for choice in ferplus.CHOICES:
        label = becomes.get(canonical(choice))
        if label in names:
            places.append(names.index(label))
        else:
            places.append(len(names) + len(others))
            others.append("not a face" if choice == "NF" else canonical(choice))
    return places, others
