"""Accuracy figures of a classifier, with their uncertainty: NumPy only, so a board can compute them too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class ClassFigures:
    """Precision, recall and F1 of one class, each 0–1, and how many pictures it has."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Accuracy:
    """How well predictions fit labels."""

    accuracy: float
    ci95: tuple[float, float]
    """Wilson score interval of the accuracy."""
    n: int
    macro_f1: float
    """Mean F1 of the classes that occur among labels or predictions."""
    weighted_f1: float
    per_class: Mapping[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: true label; columns: predicted."""
    ece: float
    """Expected calibration error: how far a stated probability is from how often it is right, 0–1."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "n": self.n,
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            "per_class": {name: vars(figures) for name, figures in self.per_class.items()},
            "confusion": [list(row) for row in self.confusion],
            "ece": self.ece,
        }


def measure(probabilities: Floats, labels: Ints, names: Sequence[str]) -> Accuracy:
    """Return the figures for probabilities float [n, k] and labels int [n] that index `names` (k of them)."""
    if probabilities.shape != (len(labels), len(names)):
        raise ValueError(f"probabilities {probabilities.shape} do not fit {len(labels)} labels of {len(names)} names")
    k = len(names)
    confusion = np.bincount(labels * k + probabilities.argmax(axis=1), minlength=k * k).reshape(k, k)
    return of_confusion(confusion, names, expected_calibration_error(probabilities, labels))


def of_confusion(confusion: Ints, names: Sequence[str], ece: float) -> Accuracy:
    """Return the figures for counts int [k, k], true by predicted, of `names`, and a calibration error."""
    n = int(confusion.sum())
    hits, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    occurs = (support + predicted) > 0
    return Accuracy(
        accuracy=float(hits.sum() / n),
        ci95=wilson(int(hits.sum()), n),
        n=n,
        macro_f1=float(f1[occurs].mean()),
        weighted_f1=float((f1 * support).sum() / n),
        per_class={
            name: ClassFigures(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(names)
        },
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        ece=ece,
    )


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of `hits` out of `n` (E. B. Wilson, 1927)."""
    z = 1.959963984540054
    p = hits / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Of none and of all, the bound is the share itself; floating point may fall short of it.
    return min(p, max(0.0, (centre - half) / scale)), max(p, min(1.0, (centre + half) / scale))


@dataclass(frozen=True)
class ReliabilityBin:
    """The pictures whose most likely label got a probability in (`low`, `high`]."""

    low: float
    high: float
    confidence: float
    """Mean of that probability; 0 when there is no picture."""
    accuracy: float
    """Part of the pictures whose label it is; 0 when there is no picture."""
    count: int


def reliability(probabilities: Floats, labels: Ints, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Return `bins` bins of equal width, from 0 to 1, for probabilities float [n, k] and labels int [n].

    A probability that is no number counts as 0. Raises ValueError when the shapes do not fit, n is 0 or bins < 1.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or len(labels) == 0 or bins < 1:
        raise ValueError(f"cannot put probabilities {probabilities.shape} of {len(labels)} labels into {bins} bins")
    confidence = np.clip(np.nan_to_num(probabilities.max(axis=1).astype(np.float64)), 0.0, 1.0)
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    some = np.maximum(counts, 1)
    confidences = np.bincount(place, weights=confidence, minlength=bins) / some
    accuracies = np.bincount(place, weights=right, minlength=bins) / some
    return tuple(
        ReliabilityBin(
            float(edges[i]), float(edges[i + 1]), float(confidences[i]), float(accuracies[i]), int(counts[i])
        )
        for i in range(bins)
    )


def expected_calibration_error(probabilities: Floats, labels: Ints, bins: int = 15) -> float:
    """Return the mean distance of confidence from accuracy over the bins, by their pictures (Guo et al., 2017, eq. 3).

    0 is perfect: of the pictures to which 70 % was given, 70 % are right. Raises ValueError as `reliability` does.
    """
    found = reliability(probabilities, labels, bins)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in found) / len(labels)


@dataclass(frozen=True)
class Agreement:
    """How far one set of probabilities is from another on the same pictures."""

    top1: float
    """Fraction of pictures with the same most likely label."""
    max_difference: float
    mean_difference: float


def agree(one: Floats, other: Floats) -> Agreement:
    """Compare two arrays of probabilities float [n, k]."""
    difference = np.abs(one.astype(np.float64) - other)
    return Agreement(
        float((one.argmax(axis=1) == other.argmax(axis=1)).mean()), float(difference.max()), float(difference.mean())
    )


@dataclass(frozen=True)
class Mcnemar:
    """Two classifiers on the same pictures, compared where exactly one of them is right."""

    n: int
    only_first_right: int
    only_second_right: int
    p: float
    """Probability of a split at least this uneven if both are equally often right: exact two-sided McNemar test."""
    difference: float
    """Accuracy of the first minus that of the second, in percentage points."""
    ci95: tuple[float, float]
    """95 % interval of the difference in points: Wald's with 0.5 added to each cell (Agresti and Min, 2005)."""


def mcnemar(one: Floats | Ints, other: Floats | Ints, labels: Ints) -> Mcnemar:
    """Compare two classifiers, each given as labels int [n] or probabilities float [n, k], on pictures with `labels`.

    Raises ValueError when the shapes do not fit or n is 0.
    """
    n = len(labels)
    if n == 0 or len(one) != n or len(other) != n:
        raise ValueError(f"cannot compare answers to {len(one)} and {len(other)} pictures by {n} labels")
    first, second = ((a.argmax(axis=1) if a.ndim == 2 else a) == labels for a in (one, other))
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    low, high = _paired_interval(b, c, n)
    return Mcnemar(n, b, c, _even_split(b, c), 100 * (b - c) / n, (100 * low, 100 * high))


def _even_split(b: int, c: int) -> float:
    """Return the two-sided p of `b` heads and `c` tails of a fair coin, from whole numbers, so without rounding."""
    n = b + c
    tail = term = 1
    for i in range(min(b, c)):
        term = term * (n - i) // (i + 1)
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def _paired_interval(b: int, c: int, n: int) -> tuple[float, float]:
    """Return the interval "Wald+2" of (b - c) / n.

    A. Agresti, Y. Min, "Simple improved confidence intervals for comparing matched proportions", Statistics in
    Medicine 24, 2005, pages 729-740.
    """
    z = 1.959963984540054
    difference = (b - c) / (n + 2)
    half = z * math.sqrt(b + c + 1 - (b - c) ** 2 / (n + 2)) / (n + 2)
    return max(-1.0, difference - half), min(1.0, difference + half)
