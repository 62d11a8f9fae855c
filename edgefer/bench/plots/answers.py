"""How well answers fit labels: the confusion matrix, the reliability diagram, robustness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.bench.plots import canvas
from edgefer.metrics import ReliabilityBin

MAX_LABELS = 16
MAX_LINES = 8
MAX_PANELS = 16
COLUMNS = 4
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Return an SVG of counts [k, k], true by predicted, shaded by the part of the true class."""
    side = 1.3 + 0.46 * len(labels)
    return canvas.drawn(lambda figure: _confusion(figure, counts, labels), max(2.6, side - 0.4), max(3.2, side))


def _confusion(figure: Any, counts: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes = figure.add_subplot()
    axes.grid(visible=False)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [canvas.text(label, 18) for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            shade = "white" if shares[i][j] > 0.5 else canvas.INK
            axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8, color=shade)


def reliability(bins: Sequence[ReliabilityBin]) -> str:
    """Return an SVG of how often answers are right by how sure they are, and how many there are of each."""
    return canvas.drawn(lambda figure: _reliability(figure, bins), 4.3, 4.4)


def _reliability(figure: Any, bins: Sequence[ReliabilityBin]) -> None:
    axes, below = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    some = [b for b in bins if b.count]
    middles, widths = [(b.low + b.high) / 2 for b in some], [(b.high - b.low) * 0.92 for b in some]
    axes.plot([0, 1], [0, 1], color=canvas.GREY, linewidth=1, linestyle=(0, (4, 2)), zorder=3)
    axes.bar(middles, [b.accuracy for b in some], widths, color=canvas.lighter(canvas.BLUE, 0.4), edgecolor=canvas.BLUE)
    axes.plot([b.confidence for b in some], [b.accuracy for b in some], "o", color=canvas.RED, markersize=3.5, zorder=4)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("part that is right")
    below.bar(middles, [b.count for b in some], widths, color=canvas.lighter(canvas.GREY, 0.3))
    below.set_ylabel("faces")
    below.locator_params(axis="y", nbins=2)
    below.set_xlabel("confidence")
    for each in (axes.yaxis, below.yaxis, below.xaxis):
        canvas.plain_axis(each)
    figure.align_ylabels()


@dataclass(frozen=True)
class Line:
    """One artifact's accuracy over the strengths of one corruption, from the weakest."""

    name: str
    engine: str
    precision: str
    clean: float
    accuracy: tuple[float, ...]
    ci95: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Panel:
    """One corruption."""

    name: str
    lines: tuple[Line, ...]
    """Up to MAX_LINES artifacts, the same in each panel."""


def robustness(panels: Sequence[Panel]) -> str:
    """Return an SVG with a small plot for each corruption, at least one; strength 0 is the clean picture."""
    rows = -(-len(panels) // COLUMNS)
    return canvas.drawn(lambda figure: _robustness(figure, panels, rows), 0.9 + 1.65 * rows)


def _robustness(figure: Any, panels: Sequence[Panel], rows: int) -> None:
    columns = min(COLUMNS, len(panels))
    every = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for axes, panel in zip(every, panels, strict=False):
        precisions = canvas.ordered(line.precision for line in panel.lines)
        for line in panel.lines:
            x = range(len(line.accuracy) + 1)
            y = [line.clean, *line.accuracy]
            shade = canvas.colour(line.engine) if len(panel.lines) > 1 else canvas.BLUE
            if len(panel.lines) == 1:
                low, high = zip(*line.ci95, strict=True)
                axes.fill_between(x[1:], low, high, color=shade, alpha=0.18, linewidth=0)
            label = " " + canvas.text(line.name, 40)
            dash = DASHES[precisions.index(line.precision) % len(DASHES)]
            axes.plot(x, y, color=shade, linewidth=1.5, linestyle=dash, marker="o", markersize=2.6, label=label)
        axes.set_title(canvas.text(panel.name, 24), loc="left", fontsize=9)
        axes.set_ylim(0, 1)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    most = max(len(line.accuracy) for panel in panels for line in panel.lines)
    every[0].set_xticks(range(0, most + 1, max(1, most // 5)))
    figure.supxlabel("strength (0: clean)", fontsize=9, color=canvas.GREY)
    figure.supylabel("accuracy", fontsize=9, color=canvas.GREY)
    if len(panels[0].lines) > 1:
        handles, names = every[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper left", ncols=3, handlelength=2.4, columnspacing=1.2)
