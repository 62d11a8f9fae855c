"""The drawings of an inspected data set, each a PNG: classes, faces of each class, copies."""

from __future__ import annotations

import numpy as np

from edgefer import page
from edgefer.train.data import Dataset, Splits
from edgefer.train.data.inspect import Inspection
from edgefer.train.drawing import BLUE, GREEN, GREY, GRID, INK, ORANGE, SKY, WIDTH, figure_of

FACES = 10
"""Faces of each class in a grid."""
MAX_CLASSES = 20
MAX_NAME = 14


def class_plot(inspection: Inspection) -> bytes:
    """Draw how many pictures each class has, split by split, with counts and parts of the split."""
    splits, names = inspection.splits, inspection.names[:MAX_CLASSES]
    with figure_of(WIDTH, 1.1 + 0.21 * (len(splits) + 1) * len(names)) as (figure, png):
        axes = figure.add_subplot()
        height = 0.84 / len(splits)
        for i, (split, colour) in enumerate(zip(splits, (BLUE, SKY, GREEN, GREY), strict=False)):
            counts = [split.per_class[name] for name in names]
            places = [row + height * (i - (len(splits) - 1) / 2) for row in range(len(names))]
            bars = axes.barh(places, counts, height=0.9 * height, color=colour, label=split.name)
            texts = [f"{count:,}  ({count / split.pictures:.1%})" for count in counts]
            axes.bar_label(bars, texts, padding=4, fontsize=8.5)
        axes.set_yticks(range(len(names)), [_short(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(0, 1.15 * max(max(split.per_class.values()) for split in splits))
        axes.set_xlabel("pictures (part of the split)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
        if len(splits) > 1:
            figure.legend(loc="outside lower center", ncols=len(splits), frameon=False)
        return png()


def sample_grid(data: Dataset, seed: int = 1) -> bytes:
    """Draw a row of faces for each class, chosen at random."""
    rng = np.random.default_rng(seed)
    names = data.names[:MAX_CLASSES]
    gap, tile = 3, 48
    sheet = np.full((len(names) * (tile + gap) - gap, FACES * (tile + gap) - gap), 255, np.uint8)
    for row, _ in enumerate(names):
        for column, i in enumerate(rng.permutation(np.flatnonzero(data.labels == row))[:FACES]):
            y, x = row * (tile + gap), column * (tile + gap)
            sheet[y : y + tile, x : x + tile] = data.images[i]
    with figure_of(WIDTH, 0.1 + 0.83 * len(names)) as (figure, png):
        axes = figure.add_subplot()
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_yticks([row * (tile + gap) + tile / 2 for row in range(len(names))], [_short(name) for name in names])
        axes.set_xticks([])
        axes.tick_params(length=0, labelsize=11, pad=8)
        axes.spines[:].set_visible(False)
        return png()


def pair_grid(inspection: Inspection, splits: Splits) -> bytes:
    """Draw the examples of copies side by side with their labels; those that differ in the colour of a warning."""
    columns = 4
    pairs = inspection.pairs
    rows = max(1, -(-len(pairs) // columns))
    with figure_of(WIDTH, 1.62 * rows if pairs else 1.0) as (figure, png):
        if not pairs:
            figure.text(0.5, 0.5, "no copies", ha="center", va="center", color=GREY)
            return png()
        figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06)
        cells = figure.subplots(rows, columns, squeeze=False)
        for cell in cells.flat:
            cell.set_axis_off()
        for cell, pair in zip(cells.flat, pairs, strict=False):
            faces = [splits[s].images[i] for s, i in zip(pair.splits, pair.positions, strict=True)]
            cell.imshow(
                np.hstack([faces[0], np.full((48, 2), 255, np.uint8), faces[1]]),
                cmap="gray",
                vmin=0,
                vmax=255,
                interpolation="nearest",
            )
            differ = pair.labels[0] != pair.labels[1]
            labels = " ≠ ".join(_short(n) for n in pair.labels) if differ else _short(pair.labels[0])
            colour, weight = (ORANGE, "bold") if differ else (INK, "normal")
            cell.set_title(labels, fontsize=10, color=colour, weight=weight, pad=16)
            where = pair.splits[0] if pair.splits[0] == pair.splits[1] else " and ".join(pair.splits)
            text = f"{where}, {'exact' if pair.exact else 'near'}"
            cell.text(
                0.5, 1.05, text, transform=cell.transAxes, ha="center", va="bottom", fontsize=8.5, color="#55606e"
            )
        return png()


def _short(name: str) -> str:
    text = page.plain(name)
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"
