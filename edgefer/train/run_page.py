"""The page of a training run: how it went, how good it is, what it confuses and how sure it may be.

One HTML file that holds everything, and each drawing as a PNG beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import files, metrics, page
from edgefer.errors import TrainError
from edgefer.metrics import Accuracy, Floats, Ints
from edgefer.train import drawing, run_figures

INDEX = "index.html"
PNG_WIDTH_AT = 16
"""Offset of the width in a PNG file: after the signature, length and name of its first chunk."""


@dataclass(frozen=True)
class Run:
    """What a page tells of a run: its history, and what its best weights say of the validation pictures."""

    title: str
    facts: Sequence[tuple[str, str]]
    """The recipe and the data in words: name, value."""
    history: Sequence[Any]
    """One report an epoch, at least one: an EpochReport or its fields as a mapping."""
    probabilities: Floats
    """float [n, k], after the temperature."""
    raw: Floats
    """float [n, k], before it."""
    labels: Ints
    """int [n]."""
    names: Sequence[str]
    """The k classes."""
    images: npt.NDArray[np.uint8]
    """uint8 [n, 48, 48]."""
    accuracy: Accuracy
    """Of `probabilities`."""

    def __post_init__(self) -> None:
        shape = (len(self.labels), len(self.names))
        if self.probabilities.shape != shape or self.raw.shape != shape or len(self.images) != shape[0]:
            raise ValueError(
                f"{shape[0]} labels of {shape[1]} names do not fit probabilities {self.probabilities.shape},"
                f" {self.raw.shape} and images {self.images.shape}"
            )
        if not self.history:
            raise ValueError("a run has at least one epoch")


def write_run_page(run: Run, folder: Path) -> Path:
    """Write `index.html` and the PNG files into `folder`, each wholly or not at all; return the path of the page.

    What lies there of an earlier run is replaced. Raises MissingDependencyError without matplotlib, TrainError when
    a file cannot be written.
    """
    history = [_report(r) for r in run.history]
    best = max(history, key=lambda r: r["validation_accuracy"])
    pictures = {
        "curves.png": run_figures.curves(history, best["epoch"]),
        "confusion.png": run_figures.confusion(run.accuracy.confusion, run.names),
        "reliability.png": run_figures.reliability(run.raw, run.probabilities, run.labels),
        "confused.png": run_figures.mistakes(run.probabilities, run.labels, run.names, run.images),
        "classes.png": run_figures.classes(run.accuracy.per_class),
    }
    return write_pages(folder, pictures, _page(run, history, best, pictures))


def write_pages(folder: Path, pictures: Mapping[str, bytes], text: str) -> Path:
    """Write a page and its pictures, each wholly or not at all; return the path of the page.

    Raises TrainError when a file cannot be written.
    """
    index = folder / INDEX
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in pictures.items():
            with files.atomic(folder / name) as stream:
                stream.write(data)
        files.write_text(index, text)
    except OSError as error:
        raise TrainError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    return index


def _page(
    run: Run, history: Sequence[Mapping[str, Any]], best: Mapping[str, Any], pictures: Mapping[str, bytes]
) -> str:
    head = ("class", "precision", "recall", "F1", "pictures")
    rows = [
        (name, f"{f.precision:.3f}", f"{f.recall:.3f}", f"{f.f1:.3f}", f"{f.support:,}")
        for name, f in run.accuracy.per_class.items()
    ]
    last = history[-1]
    parts = [
        page.heading(run.title, 1),
        page.paragraph(
            "Figures are of the validation pictures, which chose the best epoch and the temperature.", "note"
        ),
        page.facts(_summary(run, history, best)),
        page.heading("Training", 2),
        page.paragraph(
            f"In the last epoch: loss {last['loss']:.3f} in training, {last['validation_loss']:.3f} in validation;"
            f" accuracy {last['train_accuracy']:.1%} in training, {last['validation_accuracy']:.1%} in validation."
            " Training pictures are augmented, so they can be harder than those of validation."
        ),
        shown(pictures["curves.png"], "loss, accuracy and learning rate over the epochs"),
        page.heading("Classes", 2),
        page.table(head, rows, left={"class"}),
        shown(pictures["classes.png"], "precision, recall and F1 of each class"),
        page.heading("Confusion", 2),
        page.paragraph("Each row is a true class; the percentages of a row add up to 100."),
        shown(pictures["confusion.png"], "confusion matrix"),
        page.heading("Most confident mistakes", 2),
        page.paragraph("A face that many would call as the network did is a label to look at, not only a mistake."),
        shown(pictures["confused.png"], "the faces that the network was most sure and most wrong about"),
        page.heading("How sure it may be", 2),
        page.paragraph(
            "Of the pictures that get a confidence, so many should be right: bars that end on the dashed line."
            " Orange: how far the confidence is from that. ECE is the mean of it over all pictures (Guo et al., 2017)."
        ),
        shown(pictures["reliability.png"], "accuracy by confidence, before and after the temperature"),
        page.heading("Recipe and data", 2),
        page.facts(run.facts),
    ]
    return page.document(run.title, "\n".join(parts))


def _summary(run: Run, history: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> list[tuple[str, str]]:
    a = run.accuracy
    before = metrics.expected_calibration_error(run.raw, run.labels)
    return [
        ("accuracy", f"{a.accuracy:.2%} (95 % interval {a.ci95[0]:.2%} – {a.ci95[1]:.2%}, {a.n:,} pictures)"),
        ("macro F1", f"{a.macro_f1:.4f}"),
        ("weighted F1", f"{a.weighted_f1:.4f}"),
        ("calibration error (ECE)", f"{a.ece:.2%}; {before:.2%} before the temperature"),
        ("best epoch", f"{best['epoch']} of {len(history)}"),
        ("training took", duration(sum(r["seconds"] for r in history))),
    ]


def shown(png: bytes, alt: str) -> str:
    """Return a drawing as a part of a page, in the size that it was drawn for."""
    width = int.from_bytes(png[PNG_WIDTH_AT : PNG_WIDTH_AT + 4], "big")
    return page.image(png, alt, width * drawing.CSS_DPI // drawing.DPI)


def recipe_facts(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the values of a recipe by name; those of a section are called `section.name`."""
    return [
        (f"{name}.{key}" if key else name, str(part))
        for name, value in recipe.items()
        for key, part in (value.items() if isinstance(value, Mapping) else [("", value)])
    ]


def duration(seconds: float) -> str:
    """Return a time in words."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _report(report: Any) -> Mapping[str, Any]:
    return report if isinstance(report, Mapping) else dataclasses.asdict(report)
