"""Taking figures of detectors from JSON: each in its range, and none that contradicts another."""

from __future__ import annotations

import math
from typing import Any

from edgefer.average_precision import Comparison, Detection, Interval, OfSize
from edgefer.bench._fields import Fields, short
from edgefer.bench._figures import ADVICE
from edgefer.errors import RecordError

MAX_BINS = 100


def share(entry: Fields, name: str) -> float:
    """Return a number from 0 to 1; raises RecordError for another."""
    value = entry.number(name)
    if value > 1:
        raise RecordError(f"{name!r} must be 0–1, found {value}; {ADVICE}")
    return value


def interval(entry: Fields, name: str, most: float = math.inf, least: float = 0.0) -> Interval:
    """Return two numbers that do not fall, from `least` to `most`; raises RecordError for others."""
    values = entry.take(name, list)
    if len(values) != 2 or not all(type(v) in (int, float) and math.isfinite(v) for v in values):
        raise RecordError(f"{name!r} must be two numbers, found {short(values)}; {ADVICE}")
    low, high = map(float, values)
    if not least <= low <= high <= most:
        raise RecordError(f"{name!r} is out of range, found {short(values)}; {ADVICE}")
    return low, high


def detection(data: Any) -> Detection:
    """Return the figures of such data; raises RecordError when they are malformed."""
    entry = Fields(data, "detection")
    bins = entry.take("by_size", list)
    if len(bins) > MAX_BINS:
        raise RecordError(f"'by_size' has more than {MAX_BINS} bins; {ADVICE}")
    found = Detection(
        average_precision=share(entry, "average_precision"),
        ci95=interval(entry, "ci95", 1),
        recall=share(entry, "recall"),
        precision=share(entry, "precision"),
        false_faces=entry.whole("false_faces"),
        false_in_empty=entry.whole("false_in_empty"),
        threshold=entry.number("threshold"),
        recall_at_few=share(entry, "recall_at_few"),
        faces=entry.whole("faces"),
        pictures=entry.whole("pictures"),
        empty=entry.whole("empty"),
        by_size=tuple(_of_size(one) for one in bins),
    )
    entry.done()
    if found.false_in_empty > found.false_faces or found.empty > found.pictures:
        raise RecordError(f"detection: its counts contradict each other, found {short(data)}; {ADVICE}")
    return found


def _of_size(data: Any) -> OfSize:
    entry = Fields(data, "by_size")
    found = OfSize(
        low=entry.number("low"),
        high=math.inf if entry.is_null("high") else entry.number("high"),
        faces=entry.whole("faces"),
        average_precision=share(entry, "average_precision"),
        ci95=interval(entry, "ci95", 1),
        recall=share(entry, "recall"),
    )
    entry.done()
    return found


def comparison(data: Any) -> Comparison:
    """Return the comparison of such data; raises RecordError when it is malformed."""
    entry = Fields(data, "accuracy")
    difference = entry.take("difference", float)
    found = Comparison(
        ratio=entry.number("ratio"),
        ratio_ci95=interval(entry, "ratio_ci95"),
        difference=difference,
        difference_ci95=interval(entry, "difference_ci95", 1, -1),
    )
    entry.done()
    if not abs(difference) <= 1:
        raise RecordError(f"'difference' must be -1 to 1, found {difference}; {ADVICE}")
    return found
