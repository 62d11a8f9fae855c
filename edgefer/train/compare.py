"""Trained bundles side by side, from what their manifests say; nothing is measured here.

Accuracies compare only when they were measured on the same pictures: what was not is shown last and marked. Runs that
differ in the seed alone are also given as mean ± standard deviation, for one seed says little.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgefer.bundle import Bundle, open_bundle
from edgefer.errors import BundleError

SOURCES = (("keras", "fp32"), ("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"))
"""Artifacts whose figures are looked at, the first that has some of the validation split."""
LARGEST = 1e15
OTHER_DATA = "other data"
"""The mark of a row that does not compare with the others."""
HEAD = (
    "bundle",
    "architecture",
    "parameters",
    "epochs",
    "best",
    "train pictures",
    "time",
    "seed",
    "n",
    "accuracy",
    "95 % interval",
    "macro F1",
    "weighted F1",
    "ECE",
    "FER+",
)


@dataclass(frozen=True)
class Row:
    """One trained bundle; a figure that its manifest lacks is None."""

    bundle: Path
    architecture: str
    parameters: int | None
    epochs: int | None
    best_epoch: int | None
    train_pictures: int | None
    seconds: float | None
    seed: int | None
    accuracy: float
    """On the validation split, as the figures that follow."""
    ci95: tuple[float, float] | None
    macro_f1: float | None
    weighted_f1: float | None
    ece: float | None
    ferplus: float | None
    """Accuracy towards the majority of the FER+ votes."""
    n: int
    """Pictures that were measured on."""
    labels: tuple[str, ...]
    support: tuple[int, ...] | None
    """Pictures of each label, as the labels are sorted."""
    group: str
    """The same text for runs that differ in the seed alone."""
    comparable: bool = True
    """Whether it was measured on the pictures that most rows were measured on, as far as can be seen."""


@dataclass(frozen=True)
class Summary:
    """Two or more runs that differ in the seed alone; each pair is mean and sample standard deviation."""

    architecture: str
    bundles: tuple[Path, ...]
    seeds: tuple[int, ...]
    n: int
    accuracy: tuple[float, float]
    macro_f1: tuple[float, float] | None
    weighted_f1: tuple[float, float] | None
    ece: tuple[float, float] | None
    ferplus: tuple[float, float] | None
    comparable: bool


def compare(paths: Sequence[Path | str]) -> list[Row]:
    """Return a row for each bundle: those that compare with each other first, the most accurate first.

    Raises BundleError for a path that is no bundle, and for a bundle without figures of its validation split.
    """
    rows = [_row(open_bundle(path)) for path in paths]
    if not rows:
        return []
    # Most rows decide; of two sets with as many, the one with the better row.
    reference = max(rows, key=lambda row: (sum(_same_data(row, other) for other in rows), row.accuracy))
    rows = [replace(row, comparable=_same_data(row, reference)) for row in rows]
    return sorted(rows, key=lambda row: (not row.comparable, -row.accuracy, str(row.bundle)))


def summary(rows: Sequence[Row]) -> list[Summary]:
    """Return the groups of two or more seeds in the order of their best rows; a seed counts once."""
    groups: dict[str, dict[int, Row]] = {}
    for row in rows:
        if row.seed is not None:
            groups.setdefault(row.group, {}).setdefault(row.seed, row)
    found = []
    for by_seed in groups.values():
        if len(by_seed) < 2:
            continue
        members = [by_seed[seed] for seed in sorted(by_seed)]
        found.append(
            Summary(
                architecture=members[0].architecture,
                bundles=tuple(row.bundle for row in members),
                seeds=tuple(sorted(by_seed)),
                n=members[0].n,
                accuracy=_spread([row.accuracy for row in members]),
                macro_f1=_spread_of([row.macro_f1 for row in members]),
                weighted_f1=_spread_of([row.weighted_f1 for row in members]),
                ece=_spread_of([row.ece for row in members]),
                ferplus=_spread_of([row.ferplus for row in members]),
                comparable=all(row.comparable for row in members),
            )
        )
    return found


def as_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table as text, the groups of seeds below; FER+ only where a row has it."""
    names = _names([row.bundle for row in rows])
    body = [_cells(row, name) for row, name in zip(rows, names, strict=True)]
    body += [_summary_cells(group) for group in summary(rows)]
    head = list(HEAD)
    if all(row.ferplus is None for row in rows):
        head, body = head[:-1], [cells[:-1] for cells in body]
    return head, body


def _cells(row: Row, name: str) -> list[str]:
    interval = f"{row.ci95[0]:.4f} – {row.ci95[1]:.4f}" if row.ci95 else "–"
    counts = [_count(v) for v in (row.parameters, row.epochs, row.best_epoch, row.train_pictures)]
    figures = [_figure(v) for v in (row.macro_f1, row.weighted_f1, row.ece, row.ferplus)]
    seed = "–" if row.seed is None else str(row.seed)
    n = _pictures(row.n, row.comparable)
    return [name, row.architecture, *counts, _time(row.seconds), seed, n, _figure(row.accuracy), interval, *figures]


def _summary_cells(group: Summary) -> list[str]:
    seeds = ", ".join(map(str, group.seeds))
    figures = [_mean(v) for v in (group.macro_f1, group.weighted_f1, group.ece, group.ferplus)]
    n = _pictures(group.n, group.comparable)
    first = group.bundles[0].name.removesuffix(".edgefer")
    name = f"{first} + {len(group.seeds) - 1}: mean ± std"
    return [name, group.architecture, *["–"] * 5, seeds, n, _mean(group.accuracy), "–", *figures]


def _row(bundle: Bundle) -> Row:
    entry = _entry(bundle)
    seed = bundle.recipe.get("seed")
    accuracy, n = _number(bundle, entry, "accuracy"), _whole(bundle, entry, "n")
    if accuracy is None or n is None or n < 1:
        raise BundleError(f"{bundle.path}: the figures of the validation split lack accuracy or n; train it again")
    ferplus = entry.get("ferplus")
    support = _support(bundle, entry)
    row = Row(
        bundle=bundle.path,
        architecture=bundle.architecture,
        parameters=_whole(bundle, entry, "parameters"),
        epochs=_whole(bundle, entry, "epochs"),
        best_epoch=_whole(bundle, entry, "best_epoch"),
        train_pictures=_whole(bundle, entry, "train_pictures"),
        seconds=_number(bundle, entry, "train_seconds"),
        seed=seed if type(seed) is int else None,
        accuracy=accuracy,
        ci95=_interval(bundle, entry.get("ci95")),
        macro_f1=_number(bundle, entry, "macro_f1"),
        weighted_f1=_number(bundle, entry, "weighted_f1"),
        ece=_number(bundle, entry, "ece"),
        ferplus=_number(bundle, ferplus, "accuracy") if isinstance(ferplus, Mapping) else None,
        n=n,
        labels=tuple(sorted(bundle.labels)),
        support=support,
        group="",
    )
    others = {key: value for key, value in bundle.recipe.items() if key != "seed"}
    group = [row.architecture, others, row.labels, row.n, support, row.train_pictures, entry.get("engine")]
    return replace(row, group=json.dumps(group, sort_keys=True))


def _entry(bundle: Bundle) -> Mapping[str, Any]:
    """Return the figures of the validation split of the first artifact that has some."""
    for source in SOURCES:
        for artifact in bundle.artifacts:
            entry = bundle.metrics.get(artifact.path)
            if (artifact.format, artifact.precision) != source or not isinstance(entry, Mapping):
                continue
            if entry.get("split") == "validation":
                return entry
    raise BundleError(
        f"{bundle.path} has no figures of its validation split, which are compared; compare bundles of edgefer train"
    )


def _interval(bundle: Bundle, value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = (_number(bundle, {"ci95": end}, "ci95") for end in value)
    return None if low is None or high is None else (low, high)


def _support(bundle: Bundle, entry: Mapping[str, Any]) -> tuple[int, ...] | None:
    classes = entry.get("per_class")
    if not isinstance(classes, Mapping):
        return None
    figures = [classes.get(label) for label in sorted(bundle.labels)]
    counts = [_whole(bundle, f, "support") if isinstance(f, Mapping) else None for f in figures]
    return None if None in counts else tuple(count for count in counts if count is not None)


def _same_data(one: Row, other: Row) -> bool:
    """Return whether two rows can have been measured on the same pictures."""
    if (one.n, one.labels) != (other.n, other.labels):
        return False
    return one.support is None or other.support is None or one.support == other.support


def _number(bundle: Bundle, entry: Mapping[str, Any], key: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= LARGEST:
        raise BundleError(f"{bundle.path}: {key} must be a number from 0 to {LARGEST:g}, found {str(value)[:40]!r}")
    return float(value)


def _whole(bundle: Bundle, entry: Mapping[str, Any], key: str) -> int | None:
    value = _number(bundle, entry, key)
    return None if value is None else int(value)


def _spread(values: Sequence[float]) -> tuple[float, float]:
    return statistics.fmean(values), statistics.stdev(values)


def _spread_of(values: Sequence[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return _spread(known) if len(known) == len(values) else None


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the names of bundles, and the whole path where a name stands for more than one."""
    names = [path.name.removesuffix(".edgefer") for path in paths]
    return [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _mean(spread: tuple[float, float] | None) -> str:
    return "–" if spread is None else f"{spread[0]:.4f} ± {spread[1]:.4f}"


def _pictures(n: int, comparable: bool) -> str:
    return f"{n:,}" if comparable else f"{n:,}, {OTHER_DATA}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
