"""The page of a detector's training: how it went, what sizes of face it finds, what it misses, what it makes up.

One HTML file that holds everything, and each drawing as a PNG beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgefer import page
from edgefer.average_precision import OVERLAP
from edgefer.boxes import inside, iou
from edgefer.bundle import DetectorBundle
from edgefer.matched import INSIDE
from edgefer.preprocess import Pixels
from edgefer.train import drawing
from edgefer.train.detect import fit as fitting
from edgefer.train.detect.fit import DetectFit, LookReport, find
from edgefer.train.detect.pictures import Picture
from edgefer.train.detect.threshold import how_chosen
from edgefer.train.detect.views import map_of, pixels_of
from edgefer.train.run_page import duration, recipe_facts, shown, write_pages

SHOWN = 24
"""Pictures of what is missed, and of what is found and is no face."""
SIDE, GAP, COLUMNS = 224, 16, 8
"""Pixels of each and between them, two for each of the page (`drawing.CSS_DPI`), and how many stand in a row."""
BESIDE = 0.3
"""Intersection over union with every face below which a find is shown as none of them."""

Floats = npt.NDArray[np.float32]


def write_detect_page(bundle: DetectorBundle, result: DetectFit, scenes: Sequence[Picture], folder: Path) -> Path:
    """Write `index.html` and the PNG files into `folder`, each wholly or not at all; return the path of the page.

    `scenes` are those of validation. Raises MissingDependencyError without matplotlib, TrainError when a file cannot
    be written.
    """
    figures = next(iter(bundle.metrics.values()))
    missed, false = _wrong(result, scenes, bundle.threshold)
    pictures = {"curves.png": _curves(result.history, result.best.step), "sizes.png": _sizes(figures["by_size"])}
    if missed:
        pictures["missed.png"] = _sheet(missed)
    if false:
        pictures["false.png"] = _sheet(false)
    return write_pages(folder, pictures, _page(bundle, result, figures, pictures))


def _page(bundle: DetectorBundle, result: DetectFit, figures: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    def picture(name: str, alt: str) -> str:
        return shown(pictures[name], alt) if name in pictures else page.paragraph("None.")

    low, high = figures["ci95"]
    size = f"{fitting.WIDTH}×{fitting.HEIGHT}"
    facts = [
        (
            "average precision",
            f"{figures['average_precision']:.4f} (95 % interval {low:.4f} – {high:.4f}; {figures['faces']:,} faces of"
            f" {figures['least_face']:g} pixels and more at {size}, overlap of .5)",
        ),
        ("threshold", f"{bundle.threshold:g}, {how_chosen(figures['threshold_scenes'])}"),
        ("recall and precision there", f"{figures['recall']:.3f} and {figures['precision']:.3f}"),
        ("false faces there", f"{figures['false_in_empty']} in {figures['empty']:,} pictures without a face"),
        ("best look", f"after step {result.best.step:,} of {result.history[-1].step:,}"),
        ("training took", duration(result.seconds)),
    ]
    title = f"{bundle.architecture}: {bundle.path.name}"
    parts = [
        page.heading(title, 1),
        page.paragraph("Figures are of the validation pictures, which chose the best weights.", "note"),
        page.facts(facts),
        page.heading("Training", 2),
        picture("curves.png", "loss, average precision and learning rate over the steps"),
        page.heading("Sizes of face", 2),
        page.paragraph(f"The longer side of a face, in pixels of the network's picture of {size}."),
        picture("sizes.png", "average precision by size of face"),
        page.heading("Missed", 2),
        page.paragraph("Labelled faces that nothing was found on, the largest first."),
        picture("missed.png", "faces that were not found"),
        page.heading("Found, and no face by the labels", 2),
        page.paragraph("The surest first. A face among these is a label to look at, not a mistake."),
        picture("false.png", "finds where no face is labelled"),
        page.heading("Recipe", 2),
        page.facts(recipe_facts(bundle.recipe)),
    ]
    return page.document(title, "\n".join(parts))


def _curves(history: Sequence[LookReport], best: int) -> bytes:
    steps = [report.step for report in history]
    with drawing.figure_of(drawing.WIDTH, 3.2) as (figure, png):
        for axes, name, values in zip(
            figure.subplots(1, 3),
            ("loss", "average precision", "learning rate"),
            (
                [r.loss for r in history],
                [r.average_precision for r in history],
                [r.learning_rate for r in history],
            ),
            strict=True,
        ):
            axes.plot(steps, values, color=drawing.BLUE, marker=".")
            axes.axvline(best, color=drawing.GREY, linestyle=":")
            axes.set_title(name)
            axes.set_xlabel("step")
            axes.grid(color=drawing.GRID)
        return bytes(png())


def _sizes(bins: Sequence[Mapping[str, Any]]) -> bytes:
    names = [f"{b['low']:g}–{b['high']:g}" if b["high"] else f"{b['low']:g} and more" for b in bins]
    with drawing.figure_of(drawing.WIDTH, 2.8) as (figure, png):
        axes = figure.subplots()
        bars = axes.bar(names, [b["average_precision"] for b in bins], color=drawing.BLUE)
        axes.bar_label(bars, [f"{b['average_precision']:.3f}\n{b['faces']} faces" for b in bins], padding=2)
        axes.set_ylim(0, 1.3)  # labels stand on the bars
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.set_xlabel("pixels")
        axes.set_ylabel("average precision")
        return bytes(png())


def _wrong(result: DetectFit, scenes: Sequence[Picture], threshold: float) -> tuple[list[Pixels], list[Pixels]]:
    """Return pictures of faces that were missed, the largest first, and of finds that are none, the surest first."""
    missed, false = list[tuple[float, Pixels]](), list[tuple[float, Pixels]]()
    for scene, found in zip(scenes, find(result.model, scenes, threshold), strict=True):
        labels = scene.labels
        high, wide = scene.levels[0].shape
        scale = min(fitting.HEIGHT / high, fitting.WIDTH / wide)
        overlaps = iou(found.boxes, labels.boxes)
        for box, best in zip(labels.boxes, overlaps.max(axis=0, initial=0), strict=True):
            if best < OVERLAP:
                missed.append((scale * float(np.sqrt(box[2] * box[3])), _cut(scene, box)))
        beside = overlaps.max(axis=1, initial=0) < BESIDE
        beside &= inside(found.boxes, labels.ignore).max(axis=1, initial=0) < INSIDE
        for box, score in zip(found.boxes[beside], found.scores[beside], strict=True):
            false.append((float(score), _cut(scene, box)))
    return _first(missed), _first(false)


def _first(some: Sequence[tuple[float, Pixels]]) -> list[Pixels]:
    return [cut for _, cut in sorted(some, key=lambda pair: -pair[0])[:SHOWN]]


def _cut(scene: Picture, box: Floats) -> Pixels:
    """Return a box with half as much on each side of it, uint8 [SIDE, SIDE], the box drawn."""
    x, y, w, h = (float(v) for v in box)
    scale = SIDE / (2 * max(w, h))
    cut = pixels_of(scene, map_of((x + w / 2, y + h / 2), (SIDE / 2, SIDE / 2), scale), scale, SIDE, SIDE, 255)
    near, far = (tuple(round(SIDE / 2 + sign * scale * side / 2) for side in (w, h)) for sign in (-1, 1))
    for thickness, tone in ((5, 0), (2, 255)):  # to be seen on any ground
        cv2.rectangle(cut, near, far, (tone,), thickness)
    return cut


def _sheet(cuts: Sequence[Pixels]) -> bytes:
    """Return pictures side by side as one PNG."""
    rows = -(-len(cuts) // COLUMNS)
    sheet = np.full((rows * (SIDE + GAP) - GAP, COLUMNS * (SIDE + GAP) - GAP), 255, np.uint8)
    for i, cut in enumerate(cuts):
        top, left = i // COLUMNS * (SIDE + GAP), i % COLUMNS * (SIDE + GAP)
        sheet[top : top + SIDE, left : left + SIDE] = cut
    return bytes(cv2.imencode(".png", sheet)[1])
