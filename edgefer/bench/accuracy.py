"""Accuracy of an artifact as it really runs: picture by picture, through the camera's preprocessing and an engine."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import files, metrics, plugins
from edgefer.bench.latency import Progress
from edgefer.bundle import Bundle
from edgefer.runtime.engines import LoadedEngine
from edgefer.train.data import Dataset

CHUNK = 64
"""Pictures between two calls of progress."""


@dataclass(frozen=True)
class Evaluation:
    """How well an artifact in an engine did on a split of a data set."""

    accuracy: metrics.Accuracy
    labels: tuple[str, ...]
    engine: str
    engine_version: str
    provider: str
    artifact: str
    precision: str
    split: str
    seconds: float
    """Preprocessing and inference of all pictures."""
    skipped: int = 0
    """Pictures of the data set that could not be read."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return self.accuracy.as_dict() | {
            "labels": list(self.labels),
            "engine": self.engine,
            "engine_version": self.engine_version,
            "provider": self.provider,
            "artifact": self.artifact,
            "precision": self.precision,
            "split": self.split,
            "skipped": self.skipped,
            "seconds": self.seconds,
        }


def evaluate(
    bundle: Bundle, data: Dataset, loaded: LoadedEngine, split: str = "all", progress: Progress | None = None
) -> Evaluation:
    """Return the accuracy on `data`, whose labels may be in any order; `split` says which part of the data it is.

    `progress(done, total)` counts pictures. Raises DataError when the data has labels that the bundle lacks.
    """
    ordered = data.ordered(bundle.labels)
    start = time.monotonic()
    parts = []
    for first in range(0, len(ordered), CHUNK):
        images = ordered.images[first : first + CHUNK]
        parts.append(loaded.engine.run(np.stack([bundle.preprocess(image) for image in images])))
        if progress is not None:
            progress(first + len(images), len(ordered))
    return Evaluation(
        accuracy=metrics.measure(np.concatenate(parts), ordered.labels, bundle.labels),
        labels=bundle.labels,
        engine=loaded.name,
        engine_version=loaded.engine.version,
        provider=loaded.engine.provider,
        artifact=loaded.artifact.path,
        precision=loaded.artifact.precision,
        split=split,
        seconds=time.monotonic() - start,
        skipped=ordered.skipped,
    )


def as_text(evaluation: Evaluation) -> str:
    """Return the figures, a table by class and the confusion matrix as aligned text."""
    a = evaluation.accuracy
    low, high = a.ci95
    lines = [
        f"{evaluation.artifact} ({evaluation.precision}) in {evaluation.engine} {evaluation.engine_version},"
        f" {evaluation.provider}",
        f"split {evaluation.split}: {a.n} pictures"
        + (f", {evaluation.skipped} could not be read" if evaluation.skipped else ""),
        "",
        f"accuracy     {a.accuracy:.4f}  (95 % interval {low:.4f}–{high:.4f})",
        f"macro F1     {a.macro_f1:.4f}",
        f"weighted F1  {a.weighted_f1:.4f}",
        f"ECE          {a.ece:.4f}  (expected calibration error, 15 bins; 0 is perfect)",
        "",
    ]
    lines += [*aligned(class_rows(evaluation)), "", "rows: true; columns: predicted"]
    matrix = [["", *evaluation.labels]]
    matrix += [[n, *map(str, row)] for n, row in zip(evaluation.labels, a.confusion, strict=True)]
    return "\n".join([*lines, *aligned(matrix)])


def class_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return a table by class as text: its head, then a row a class."""
    rows = [["class", "precision", "recall", "F1", "pictures"]]
    for name, f in evaluation.accuracy.per_class.items():
        rows.append([name, f"{f.precision:.3f}", f"{f.recall:.3f}", f"{f.f1:.3f}", str(f.support)])
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def confusion_png(evaluation: Evaluation, path: Path) -> None:
    """Draw the confusion matrix into a PNG file: counts, shaded by the part of the true class.

    Raises MissingDependencyError without matplotlib, OSError when the file cannot be written.
    """
    matplotlib = plugins.require("matplotlib", "report", "the report's plots")
    figures = plugins.require("matplotlib.figure", "report", "the report's plots")
    counts = np.array(evaluation.accuracy.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(evaluation.labels)
    side = max(4.0, 1.6 + 0.65 * k)
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 9}):
        figure = figures.Figure(figsize=(side, side), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(k), evaluation.labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(k), evaluation.labels)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        accuracy = evaluation.accuracy
        title = f"{evaluation.artifact}, {evaluation.engine}: accuracy {accuracy.accuracy:.3f} (n = {accuracy.n})"
        axes.set_title(title, fontsize=9)
        for row in range(k):
            for column in range(k):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=150)
    with files.atomic(path) as stream:
        stream.write(image.getvalue())
