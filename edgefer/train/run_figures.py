"""The drawings of a training run, each a PNG: curves, confusion, reliability, confident mistakes, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import metrics, page
from edgefer.metrics import Floats, Ints
from edgefer.train.drawing import BLUE, GREEN, GREY, GRID, INK, ORANGE, SKY, WIDTH, YELLOW, figure_of

MAX_MISTAKES = 24
MAX_PAIRS = 10
MAX_CLASSES = 40
MAX_NUMBERED = 15
"""Classes up to which a confusion matrix has numbers in its cells."""


def curves(history: Sequence[Mapping[str, Any]], best_epoch: int) -> bytes:
    """Draw loss, accuracy and learning rate over the epochs, with the best epoch marked."""
    epochs = [r["epoch"] for r in history]
    dot = "o" if len(epochs) < 3 else None
    with figure_of(WIDTH, 3.4) as (figure, png):
        loss, accuracy, rate = figure.subplots(1, 3)
        for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
            train = "loss" if name == "loss" else "train_accuracy"
            axes.plot(epochs, [r[train] for r in history], color=ORANGE, ls="--", marker=dot, label="training")
            validation = [r[f"validation_{name}"] for r in history]
            axes.plot(epochs, validation, color=BLUE, marker=dot, label="validation")
            axes.set_title(name)
        if all("learning_rate" in r for r in history):
            rate.plot(epochs, [r["learning_rate"] for r in history], color=GREEN, marker=dot)
            rate.yaxis.set_major_formatter("{x:g}")
            rate.set_ylim(bottom=0)
        else:
            rate.text(0.5, 0.5, "not in the history", ha="center", va="center", color=GREY, transform=rate.transAxes)
        rate.set_title("learning rate")
        best = next(r for r in history if r["epoch"] == best_epoch)
        accuracy.plot([best_epoch], [best["validation_accuracy"]], marker="*", ms=13, color=BLUE, mec="white", ls="")
        for axes in (loss, accuracy, rate):
            axes.axvline(best_epoch, color=GREY, lw=1, ls=":", label=f"best epoch: {best_epoch}")
            axes.set_xlabel("epoch")
            axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.grid(color=GRID, lw=0.8)
            axes.set_axisbelow(True)
        handles, labels = loss.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        return png()


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> bytes:
    """Draw the confusion matrix, shaded by the part of the true class; percent and counts in the cells."""
    counts = np.array(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    k = len(names)
    with figure_of(WIDTH, min(1.3 + 0.68 * k, 10.0)) as (figure, png):
        axes = figure.add_subplot()
        heat = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        size = 10 if k <= MAX_NUMBERED else max(3.0, 150 / k)
        axes.set_xticks(range(k), _short(names), rotation=40, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(k), _short(names), fontsize=size)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        for row, column in np.ndindex(k, k) if k <= MAX_NUMBERED else ():
            colour = "white" if shares[row, column] > 0.55 else INK
            text = {"ha": "center", "color": colour}
            percent = 100 * shares[row, column]
            axes.text(column, row - 0.02, f"{percent:.0f} %", va="bottom", fontsize=10, weight="bold", **text)
            axes.text(column, row + 0.08, f"{counts[row, column]:,}", va="top", fontsize=8, **text)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(heat, ax=axes, label="% of the true class", aspect=25).outline.set_visible(False)
        return png()


def reliability(before: Floats, after: Floats, labels: Ints, bins: int = 15) -> bytes:
    """Draw how often each confidence is right, before and after the temperature, with the error of each."""
    with figure_of(WIDTH, 5.4) as (figure, png):
        figure.get_layout_engine().set(wspace=0.06)
        grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
        for i, (when, probabilities) in enumerate((("before", before), ("after", after))):
            found = [b for b in metrics.reliability(probabilities, labels, bins) if b.count]
            low, width = [b.low for b in found], 1 / bins
            error = metrics.expected_calibration_error(probabilities, labels, bins)
            upper, lower = grid[0][i], grid[1][i]
            upper.bar(low, [b.accuracy for b in found], width, align="edge", color=SKY, ec="white", label="accuracy")
            gaps = [b.confidence - b.accuracy for b in found]
            bottoms = [b.accuracy for b in found]
            style = {"align": "edge", "fc": "none", "ec": ORANGE, "hatch": "////", "lw": 0.8}
            upper.bar(low, gaps, width, bottoms, label="gap to the confidence", **style)
            upper.plot([0, 1], [0, 1], color=INK, ls="--", lw=1, label="perfect")
            upper.set_title(f"{when} temperature: ECE {100 * error:.2f} %")
            upper.set_ylim(0, 1)
            lower.bar(low, [100 * b.count / len(labels) for b in found], width, align="edge", color=GREY, ec="white")
            lower.set_xlim(0, 1)
            lower.set_xlabel("confidence")
            for axes in (upper, lower):
                axes.grid(color=GRID, lw=0.8)
                axes.set_axisbelow(True)
        grid[0][0].set_ylabel("accuracy")
        grid[1][0].set_ylabel("% of pictures")
        handles, texts = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=3, frameon=False)
        return png()


def mistakes(probabilities: Floats, labels: Ints, names: Sequence[str], images: npt.NDArray[np.uint8]) -> bytes:
    """Draw the faces that the network was most sure and most wrong about, and the pairs that it confuses most."""
    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != labels)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:MAX_MISTAKES]
    if not len(shown):
        return _empty("no mistakes")
    short, caption = _short(names), _short(names, 10)
    pairs = _pairs(said, labels, len(names))
    columns = 6
    rows = -(-len(shown) // columns)
    heights = (2.05 * rows, 0.8 + 0.27 * len(pairs))
    with figure_of(WIDTH, sum(heights)) as (figure, png):
        figure.get_layout_engine().set(hspace=0.08, h_pad=0.08)
        upper, lower = figure.subfigures(2, 1, height_ratios=heights)
        cells = upper.subplots(rows, columns, squeeze=False)
        for cell in cells.flat:
            cell.set_axis_off()
        for cell, i in zip(cells.flat, shown, strict=False):
            cell.imshow(images[i], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            text = f"said {caption[said[i]]} {_percent(sure[i])}\nlabelled {caption[labels[i]]}"
            cell.set_title(text, fontsize=9.5, weight="normal", pad=5, linespacing=1.25)
        axes = lower.subplots()
        bars = axes.barh(range(len(pairs)), [count for _, _, count in pairs], color=ORANGE, height=0.66)
        support = np.bincount(labels, minlength=len(names))
        texts = [f"{count:,}  ({100 * count / support[true]:.0f} % of {short[true]})" for true, _, count in pairs]
        axes.bar_label(bars, texts, padding=4, fontsize=9)
        axes.set_yticks(range(len(pairs)), [f"{short[true]} → {short[wrongly]}" for true, wrongly, _ in pairs])
        axes.invert_yaxis()
        axes.set_xlim(0, 1.35 * pairs[0][2])
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.set_title("most confused: labelled → said", loc="left")
        axes.set_xlabel("pictures")
        axes.spines[["top", "right"]].set_visible(False)
        return png()


def classes(figures: Mapping[str, metrics.ClassFigures]) -> bytes:
    """Draw precision, recall and F1 of each class, the weakest F1 last; of very many classes the weakest."""
    rows = sorted(figures.items(), key=lambda item: -item[1].f1)[-MAX_CLASSES:]
    with figure_of(WIDTH, 1.1 + 0.62 * len(rows)) as (figure, png):
        axes = figure.add_subplot()
        for i, (field, colour) in enumerate((("precision", SKY), ("recall", YELLOW), ("f1", BLUE))):
            places = [row + 0.26 * (i - 1) for row in range(len(rows))]
            values = [getattr(f, field) for _, f in rows]
            label = "F1" if field == "f1" else field
            bars = axes.barh(places, values, height=0.24, color=colour, label=label)
            axes.bar_label(bars, [f"{v:.2f}" for v in values], padding=3, fontsize=8)
        names = [f"{name}\nn = {f.support:,}" for name, (_, f) in zip(_short([n for n, _ in rows]), rows, strict=True)]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        if len(rows) < len(figures):
            axes.set_title(f"the weakest {len(rows)} of {len(figures)}", loc="left")
        axes.set_xlim(0, 1.06)
        axes.xaxis.set_ticks([0, 0.2, 0.4, 0.6, 0.8, 1])
        axes.grid(axis="x", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return png()


def _empty(text: str) -> bytes:
    with figure_of(WIDTH, 1.0) as (figure, png):
        figure.text(0.5, 0.5, text, ha="center", va="center", color=GREY)
        return png()


def _pairs(said: Ints, labels: Ints, k: int) -> list[tuple[int, int, int]]:
    """Return (true, said, count) of the pairs that are confused most, most first."""
    counts = np.bincount(labels * k + said, minlength=k * k).reshape(k, k)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MAX_PAIRS]
    return [(int(i // k), int(i % k), int(counts.flat[i])) for i in order if counts.flat[i]]


def _percent(probability: float) -> str:
    """Return whole percent, and 100 only for a probability that is really 1."""
    return f"{min(int(100 * probability + 0.5), 99) if probability < 1 else 100} %"


def _short(names: Sequence[str], most: int = 14) -> list[str]:
    """Return names that fit beside a drawing: at most so many characters."""
    return [text if len(text) <= most else text[: most - 1] + "…" for text in map(page.plain, names)]
