"""Taking figures of accuracy from JSON: what follows from counts must be what the counts give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from edgefer import metrics
from edgefer.bench._fields import Fields, short
from edgefer.errors import RecordError

MAX_PICTURES = 1_000_000_000
MAX_TEXT = 10_000
CLOSE = 1e-6
"""A figure may be this far from what the counts give: another NumPy may add in another order."""
ADVICE = "evaluate again"


def text(entry: Fields, name: str) -> str:
    """Return a text that can be written as UTF-8, of at most MAX_TEXT characters; raises RecordError otherwise."""
    value = str(entry.take(name, str))
    if len(value) > MAX_TEXT or any("\ud800" <= c <= "\udfff" for c in value):
        raise RecordError(f"{name!r} must be a text of at most {MAX_TEXT:,} characters, found {short(value)}; {ADVICE}")
    return value


def pictures(entry: Fields, name: str, most: int = MAX_PICTURES, least: int = 0) -> int:
    """Return a count of pictures from `least` to `most`; raises RecordError for another."""
    value = entry.whole(name)
    if not least <= value <= most:
        raise RecordError(f"{name!r} must be {least:,}–{most:,} pictures, found {value:,}; {ADVICE}")
    return value


def same(what: str, stated: float | Sequence[float], found: float | Sequence[float]) -> None:
    """Raise RecordError when figures that are stated are not those that the counts beside them give."""
    one = [stated] if isinstance(stated, float) else list(stated)
    other = [found] if isinstance(found, float) else list(found)
    if len(one) != len(other) or not all(
        math.isclose(a, b, rel_tol=0, abs_tol=CLOSE) for a, b in zip(one, other, strict=True)
    ):
        raise RecordError(f"{what} is stated as {short(stated)}, but the counts give {short(found)}; {ADVICE}")


def accuracy(entry: Fields, labels: tuple[str, ...]) -> metrics.Accuracy:
    """Take the fields of `metrics.Accuracy.as_dict` from `entry` and return them.

    Raises RecordError when they are malformed or contradict the confusion matrix. The calibration error has nothing
    here to be held against: see `reliability`.
    """
    n = pictures(entry, "n", least=1)
    confusion = _confusion(entry.take("confusion", list), len(labels), n)
    given = Fields(entry.take("per_class", dict), "per_class")
    per_class = {}
    for name in labels:
        one = Fields(given.take(name, dict), f"per_class {short(name)}")
        per_class[name] = metrics.ClassFigures(
            **{figure: one.number(figure) for figure in ("precision", "recall", "f1")}, support=one.whole("support")
        )
        one.done()
    given.done()
    interval = entry.numbers("ci95")
    stated = metrics.Accuracy(
        **{name: entry.number(name) for name in ("accuracy", "macro_f1", "weighted_f1", "ece")},
        ci95=(interval[0], interval[-1]) if len(interval) == 2 else (2.0, 2.0),
        n=n,
        per_class=per_class,
        confusion=confusion,
    )
    if stated.ece > 1:
        raise RecordError(f"'ece' must be 0–1, found {stated.ece}; {ADVICE}")
    counted = metrics.of_confusion(np.array(confusion, np.int64), labels, stated.ece)
    for name in ("accuracy", "ci95", "macro_f1", "weighted_f1"):
        same(repr(name), getattr(stated, name), getattr(counted, name))
    for name in labels:
        for field in fields(metrics.ClassFigures):
            what = f"{field.name} of {short(name)}"
            same(what, float(getattr(per_class[name], field.name)), float(getattr(counted.per_class[name], field.name)))
    return stated


def reliability(values: list[Any], stated: metrics.Accuracy) -> tuple[metrics.ReliabilityBin, ...]:
    """Return the bins of such data; raises RecordError when they are malformed or contradict the accuracy."""
    if not 1 <= len(values) <= 1000:
        raise RecordError(f"'reliability' must be 1–1,000 bins, found {len(values):,}; {ADVICE}")
    bins = []
    for i, value in enumerate(values):
        entry = Fields(value, "reliability")
        figures = {name: entry.number(name) for name in ("low", "high", "confidence", "accuracy")}
        found = metrics.ReliabilityBin(**figures, count=pictures(entry, "count"))
        entry.done()
        if max(found.confidence, found.accuracy) > 1:
            raise RecordError(f"reliability: confidence and accuracy must be 0–1, found {short(value)}; {ADVICE}")
        same(f"bin {i} of the reliability", (found.low, found.high), (i / len(values), (i + 1) / len(values)))
        bins.append(found)
    if sum(b.count for b in bins) != stated.n:
        raise RecordError(
            f"the bins of 'reliability' hold {sum(b.count for b in bins):,} pictures, not {stated.n:,}; {ADVICE}"
        )
    same("the accuracy over 'reliability'", sum(b.count * b.accuracy for b in bins) / stated.n, stated.accuracy)
    same("'ece'", stated.ece, sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / stated.n)
    return tuple(bins)


def _confusion(rows: list[Any], k: int, n: int) -> tuple[tuple[int, ...], ...]:
    if len(rows) != k or not all(isinstance(row, list) and len(row) == k for row in rows):
        raise RecordError(f"'confusion' must be {k} rows of {k} counts, found {short(rows)}; {ADVICE}")
    for row in rows:
        for count in row:
            if type(count) is not int or not 0 <= count <= n:
                raise RecordError(f"'confusion' must hold counts of {n:,} pictures, found {short(count)}; {ADVICE}")
    total = sum(map(sum, rows))
    if total != n:
        raise RecordError(f"'confusion' adds up to {total:,} pictures, but 'n' is {n:,}; {ADVICE}")
    return tuple(tuple(row) for row in rows)
