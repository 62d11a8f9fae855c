"""Robustness: what is left of an artifact's accuracy when pictures are spoilt as cameras and the world spoil them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefer import metrics
from edgefer.bench import _figures
from edgefer.bench._fields import Fields, short
from edgefer.bench.answers import Pixels, answers
from edgefer.bench.corruptions import CORRUPTIONS, corrupted
from edgefer.bench.latency import Progress
from edgefer.bundle import Bundle
from edgefer.errors import RecordError
from edgefer.runtime.engines import LoadedEngine
from edgefer.train.data import Dataset

MAX_ROWS = 100
"""Corruptions of a file, and strengths of each."""


@dataclass(frozen=True)
class Level:
    """A corruption at one strength."""

    strength: float
    """In the unit of the corruption."""
    hits: int
    """Pictures that were answered rightly."""
    n: int

    @property
    def accuracy(self) -> float:
        """Part of the pictures that were answered rightly."""
        return self.hits / self.n

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson score interval of the accuracy."""
        return metrics.wilson(self.hits, self.n)


@dataclass(frozen=True)
class Row:
    """A corruption at all its strengths, from the weakest."""

    name: str
    unit: str
    levels: tuple[Level, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the strengths."""
        return sum(level.accuracy for level in self.levels) / len(self.levels)


@dataclass(frozen=True)
class Robustness:
    """Accuracy on the same pictures clean and spoilt."""

    seed: int
    """Of the pictures that were drawn, and of what happens to them."""
    n: int
    """Pictures, the same for each figure."""
    hits: int
    """Of the clean pictures, those that were answered rightly."""
    rows: tuple[Row, ...]

    @property
    def clean(self) -> float:
        """Accuracy on the same pictures as they are."""
        return self.hits / self.n

    @property
    def mean(self) -> float:
        """Mean accuracy over corruptions, each the mean over its strengths."""
        return sum(row.mean for row in self.rows) / len(self.rows)

    @property
    def relative(self) -> float:
        """How much of the clean accuracy is left on average: 1 = all of it; 0 when there was none."""
        return self.part(self.mean)

    def part(self, accuracy: float) -> float:
        """Return an accuracy as a part of the clean one; 0 when that is 0."""
        return accuracy / self.clean if self.hits else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "seed": self.seed,
            "n": self.n,
            "clean": {"hits": self.hits, "accuracy": self.clean, "ci95": list(metrics.wilson(self.hits, self.n))},
            "mean": self.mean,
            "relative": self.relative,
            "corruptions": [
                {
                    "name": row.name,
                    "unit": row.unit,
                    "mean": row.mean,
                    "relative": self.part(row.mean),
                    "levels": [
                        {
                            "strength": level.strength,
                            "hits": level.hits,
                            "n": level.n,
                            "accuracy": level.accuracy,
                            "ci95": list(level.ci95),
                        }
                        for level in row.levels
                    ],
                }
                for row in self.rows
            ],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Robustness:
        """Return the figures of such data; raises RecordError when they are malformed or contradict each other."""
        entry = Fields(data, "robustness")
        n = _figures.pictures(entry, "n", least=1)
        clean = Fields(entry.take("clean", dict), "clean")
        hits = _hits(clean, n)
        clean.done()
        found = cls(entry.whole("seed"), n, hits, tuple(_rows(entry.take("corruptions", list), n, hits)))
        _figures.same("'mean' of the robustness", entry.number("mean"), found.mean)
        _figures.same("'relative' of the robustness", entry.number("relative"), found.relative)
        entry.done()
        return found


def robustness(
    bundle: Bundle,
    data: Dataset,
    loaded: LoadedEngine,
    faces: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Robustness:
    """Return the accuracy on pictures of `data` clean and under each of CORRUPTIONS at each strength.

    A picture is spoilt before the bundle's preprocessing, as by a camera. `faces` limits it to so many pictures, drawn
    at random. `progress(done, total)` counts inferences. Raises DataError when the data has labels that the bundle
    lacks, ValueError for a negative seed or faces < 1.
    """
    if faces is not None and faces < 1:
        raise ValueError(f"robustness needs a face at least, found {faces}")
    ordered = data.ordered(bundle.labels)
    if faces is not None and faces < len(ordered):
        drawn = np.random.default_rng(seed).permutation(len(ordered))[:faces]
        ordered = ordered.take(np.sort(drawn))
    n = len(ordered)
    done, total = 0, n * (1 + sum(len(c.strengths) for c in CORRUPTIONS.values()))

    def hits(name: str | None = None, strength: float = 0.0) -> int:
        nonlocal done

        def seen(count: int, of: int) -> None:
            if progress is not None:
                progress(done + count, total)

        def spoil(picture: Pixels) -> Pixels:
            return picture if name is None else corrupted(picture, name, strength, seed)

        probabilities = answers(bundle, ordered.images, loaded, seen, spoil)
        done += n
        return int((probabilities.argmax(axis=1) == ordered.labels).sum())

    return Robustness(
        seed=seed,
        n=n,
        hits=hits(),
        rows=tuple(
            Row(name, c.unit, tuple(Level(float(s), hits(name, s), n) for s in c.strengths))
            for name, c in CORRUPTIONS.items()
        ),
    )


def table(found: Robustness) -> list[list[str]]:
    """Return a table as text: its head, then a row a corruption with its strengths and the accuracy at each."""
    most = max(len(row.levels) for row in found.rows)
    rows = [["corruption", "strengths", *(str(i + 1) for i in range(most)), "mean", "of clean"]]
    for row in found.rows:
        strengths = f"{', '.join(f'{level.strength:g}' for level in row.levels)} {row.unit}"
        cells = [f"{level.accuracy:.3f}" for level in row.levels] + [""] * (most - len(row.levels))
        rows.append([row.name, strengths, *cells, f"{row.mean:.3f}", f"{100 * found.part(row.mean):.0f} %"])
    rows.append(["all", "", *[""] * most, f"{found.mean:.3f}", f"{100 * found.relative:.0f} %"])
    return rows


def _rows(values: Sequence[Any], n: int, clean: int) -> list[Row]:
    if not 1 <= len(values) <= MAX_ROWS:
        raise RecordError(f"'corruptions' must be a list of 1–{MAX_ROWS}, found {len(values):,}; {_figures.ADVICE}")
    rows: list[Row] = []
    for value in values:
        entry = Fields(value, "corruption")
        name, unit = _figures.text(entry, "name"), _figures.text(entry, "unit")
        levels = entry.take("levels", list)
        if not 1 <= len(levels) <= MAX_ROWS:
            raise RecordError(
                f"{short(name)} must have 1–{MAX_ROWS} strengths, found {len(levels):,}; {_figures.ADVICE}"
            )
        row = Row(name, unit, tuple(_level(level, n) for level in levels))
        _figures.same(f"'mean' of {short(name)}", entry.number("mean"), row.mean)
        relative = row.mean / (clean / n) if clean else 0.0
        _figures.same(f"'relative' of {short(name)}", entry.number("relative"), relative)
        entry.done()
        if name in {row.name for row in rows}:
            raise RecordError(f"the corruption {short(name)} stands there twice; {_figures.ADVICE}")
        rows.append(row)
    return rows


def _level(value: Any, n: int) -> Level:
    entry = Fields(value, "level")
    level = Level(entry.number("strength"), _hits(entry, n), _figures.pictures(entry, "n", n, n))
    entry.done()
    return level


def _hits(entry: Fields, n: int) -> int:
    """Take hits, accuracy and interval, which must belong together, and return the hits."""
    hits = _figures.pictures(entry, "hits", n)
    _figures.same("'accuracy'", entry.number("accuracy"), hits / n)
    _figures.same("'ci95'", entry.numbers("ci95"), metrics.wilson(hits, n))
    return hits
