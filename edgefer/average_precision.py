"""How well a face detector finds labelled faces: average precision and its kin. NumPy only, so a board can compute it.

The rules are COCO's, at one overlap (T.-Y. Lin et al., "Microsoft COCO", 2014; pycocotools): finds are matched greedily
by score, each face once, and what lies outside of the sizes that are asked about counts neither way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.matched import Counted, counted, overlaps
from edgefer.matched import Picture as Picture

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Interval = tuple[float, float]

OVERLAP = 0.5
"""Intersection over union from which a find is a face."""
FALSE_PER_PICTURE = 0.1
SIZES = ((8.0, 16.0), (16.0, 24.0), (24.0, 48.0), (48.0, 96.0), (96.0, math.inf))
"""Bins of the longer side of a face, in pixels: from, up to but without."""
DRAWS = 1000
"""Of the bootstrap."""
SEED = 0


@dataclass(frozen=True)
class OfSize:
    """The faces whose longer side is in [`low`, `high`) pixels; where there is none, the figures are 0."""

    low: float
    high: float
    faces: int
    average_precision: float
    ci95: Interval
    recall: float
    """At the threshold."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; no upper bound is null."""
        high = None if math.isinf(self.high) else self.high
        return vars(self) | {"high": high, "ci95": list(self.ci95)}


@dataclass(frozen=True)
class Detection:
    """How well a detector finds the faces of a set of pictures."""

    average_precision: float
    """Area under the precision's envelope over the recall, all points; 0 where there are no faces."""
    ci95: Interval
    """Of the average precision, by a bootstrap over pictures."""
    recall: float
    """At the threshold, as the three that follow."""
    precision: float
    """0 where nothing was found."""
    false_faces: int
    false_in_empty: int
    """False faces in the pictures without a labelled face of any size."""
    threshold: float
    """Finds of this score or more were counted for these."""
    recall_at_few: float
    """At the lowest threshold that leaves `FALSE_PER_PICTURE` false faces a picture, or fewer."""
    faces: int
    """Of the sizes that were asked about."""
    pictures: int
    empty: int
    """Pictures without a labelled face of any size."""
    by_size: tuple[OfSize, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return vars(self) | {"ci95": list(self.ci95), "by_size": [one.as_dict() for one in self.by_size]}


def measure(
    pictures: Sequence[Picture],
    *,
    min_size: float = 0,
    max_size: float = math.inf,
    iou: float = OVERLAP,
    scales: Sequence[float] | Floats | None = None,
    threshold: float = 0.5,
    draws: int = DRAWS,
    sizes: Sequence[tuple[float, float]] = SIZES,
) -> Detection:
    """Return the figures for faces whose longer side is in [`min_size`, `max_size`) pixels.

    `scales` holds a factor a picture, from its pixels to those in which sizes are meant. `draws` is how often the
    bootstrap draws; 0 = no intervals. `sizes` are the bins of `by_size`. Raises ValueError when there are no pictures,
    or not a scale for each.
    """
    seen = overlaps(pictures, iou, scales)
    weights = _draw(len(seen), draws)
    found = counted(seen, min_size, max_size)
    surest = found.scores >= threshold
    right = int(found.right[surest].sum())
    false = surest & ~found.right
    bare = np.array([len(picture.faces) == 0 for picture in pictures])
    faces = int(found.faces.sum())
    allowed = found.scores >= _threshold(found, FALSE_PER_PICTURE)
    by_size = []
    for low, high in sizes:
        one = counted(seen, low, high)
        n = int(one.faces.sum())
        hits = int(one.right[one.scores >= threshold].sum())
        by_size.append(OfSize(low, high, n, *_with_interval(one, weights), hits / max(n, 1)))
    return Detection(
        *_with_interval(found, weights),
        recall=right / max(faces, 1),
        precision=right / max(int(surest.sum()), 1),
        false_faces=int(false.sum()),
        false_in_empty=int(bare[found.picture[false]].sum()),
        threshold=float(threshold),
        recall_at_few=int(found.right[allowed].sum()) / max(faces, 1),
        faces=faces,
        pictures=len(seen),
        empty=int(bare.sum()),
        by_size=tuple(by_size),
    )


def threshold_for(pictures: Sequence[Picture], false_per_picture: float, *, iou: float = OVERLAP) -> float:
    """Return the lowest score of a find from which on there are at most so many false faces a picture.

    Just above the highest score where even that lets too many through; 1 where nothing was found. Raises ValueError
    when there are no pictures.
    """
    return _threshold(counted(overlaps(pictures, iou, None), 0, math.inf), false_per_picture)


@dataclass(frozen=True)
class Comparison:
    """Two detectors on the same pictures."""

    ratio: float
    """Average precision of the first over that of the second."""
    ratio_ci95: Interval
    difference: float
    """Average precision of the first minus that of the second."""
    difference_ci95: Interval

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return vars(self) | {"ratio_ci95": list(self.ratio_ci95), "difference_ci95": list(self.difference_ci95)}


def compare(
    one: Sequence[Picture],
    other: Sequence[Picture],
    *,
    min_size: float = 0,
    max_size: float = math.inf,
    iou: float = OVERLAP,
    scales: Sequence[float] | Floats | None = None,
    draws: int = DRAWS,
) -> Comparison:
    """Compare the average precision of two detectors on the same pictures in the same order, drawn in pairs.

    Options are those of `measure`. Raises ValueError when the pictures are not the same ones, or the second detector's
    average precision is 0, so that there is no ratio.
    """
    if len(one) != len(other) or not all(np.array_equal(a.faces, b.faces) for a, b in zip(one, other, strict=True)):
        raise ValueError("two detectors are compared on the same pictures with the same faces, in the same order")
    found = [counted(overlaps(pictures, iou, scales), min_size, max_size) for pictures in (one, other)]
    first, second = (float(_average_precision(f, np.ones((1, len(one))))[0]) for f in found)
    if second == 0 or math.isnan(second):
        raise ValueError("the second detector found no face that counts: there is no ratio")
    weights = _draw(len(one), draws)
    drawn = [_average_precision(f, weights) for f in found]
    usable = np.isfinite(drawn[0]) & (drawn[1] > 0)
    a, b = (values[usable] for values in drawn)
    ratio, difference = first / second, first - second
    return Comparison(ratio, _interval(a / b, ratio), difference, _interval(a - b, difference))


def _threshold(found: Counted, false_per_picture: float) -> float:
    if not len(found.scores):
        return 1.0
    last = np.append(found.scores[1:] != found.scores[:-1], True)  # of those with the same score
    few = last & (np.cumsum(~found.right) <= false_per_picture * len(found.faces))
    return float(found.scores[few][-1]) if few.any() else math.nextafter(float(found.scores[0]), math.inf)


def _draw(pictures: int, draws: int) -> Ints:
    """Return how often each picture is drawn, [draws, pictures]."""
    drawn = np.random.default_rng(SEED).integers(pictures, size=(draws, pictures))
    drawn += np.arange(draws)[:, None] * pictures
    return np.bincount(drawn.ravel(), minlength=draws * pictures).reshape(draws, pictures)


def _with_interval(found: Counted, weights: Ints) -> tuple[float, Interval]:
    if not found.faces.any():
        return 0.0, (0.0, 0.0)
    value = float(_average_precision(found, np.ones((1, len(found.faces))))[0])
    drawn = _average_precision(found, weights)
    return value, _interval(drawn[np.isfinite(drawn)], value)


def _interval(drawn: Floats, value: float) -> Interval:
    if not len(drawn):
        return value, value
    low, high = np.quantile(drawn, (0.025, 0.975))
    return min(float(low), value), max(float(high), value)


def _average_precision(found: Counted, weights: Floats | Ints) -> npt.NDArray[np.float64]:
    """Return the average precision for weights [n, pictures] of the pictures; NaN where no face is drawn.

    Precision has its peaks where a find is right, so only there it is looked at; finds of one score count at once.
    """
    faces = (weights @ found.faces).astype(np.float64)
    last = np.append(found.scores[1:] != found.scores[:-1], True)[: len(found.scores)]
    ends = np.flatnonzero(last)
    hits = np.cumsum(found.right)[ends]
    ends = ends[np.diff(hits, prepend=0) > 0]
    areas = np.zeros(len(weights))
    if len(ends):
        until = int(ends[-1]) + 1
        for part in _parts(len(weights), until):
            drawn = weights[part][:, found.picture[:until]].astype(np.float64)
            every = np.cumsum(drawn, axis=1)[:, ends]
            drawn *= found.right[:until]
            right = np.cumsum(drawn, axis=1)[:, ends]
            precision = right / np.maximum(every, 1)
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            areas[part] = (np.diff(right, axis=1, prepend=0) * envelope).sum(axis=1)
    result: npt.NDArray[np.float64] = np.divide(areas, faces, out=np.full(len(faces), np.nan), where=faces > 0)
    return result


def _parts(rows: int, columns: int) -> Iterator[slice]:
    """Yield parts of the rows that hold some millions of values each."""
    step = max(1, 4_000_000 // columns)
    return (slice(i, i + step) for i in range(0, rows, step))
