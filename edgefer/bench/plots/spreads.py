"""How the times of each row are spread: quantiles as boxes, the rounds' medians as dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.bench.latency import QUANTILES
from edgefer.bench.plots import canvas

MAX_ROWS = 40
MAX_DOTS = 30
LOG_FROM = 4.0
"""Largest over smallest p50 from which on the axis is logarithmic."""


@dataclass(frozen=True)
class Spread:
    """A row."""

    name: str
    engine: str
    quantiles: tuple[float, ...]
    """Milliseconds, more than 0, at latency.QUANTILES."""
    rounds: tuple[float, ...]
    """p50 of each round."""
    valid: bool = True


def spreads(rows: Sequence[Spread]) -> str:
    """Return an SVG of at least one row, from the top down."""
    return canvas.drawn(lambda figure: _paint(figure, rows), 0.75 + 0.34 * len(rows))


def _paint(figure: Any, rows: Sequence[Spread]) -> None:
    axes = figure.add_subplot()
    middles = [_at(row, 0.5) for row in rows]
    for y, row in enumerate(rows):
        shade = canvas.colour(row.engine) if row.valid else canvas.BAD
        low, left, middle, right, high = (_at(row, q) for q in (0.01, 0.25, 0.5, 0.75, 0.99))
        axes.plot([low, high], [y, y], color=shade, linewidth=1.2, solid_capstyle="butt")
        axes.plot(
            [low, low, None, high, high], [y - 0.16, y + 0.16, None] + [y - 0.16, y + 0.16], color=shade, linewidth=1.2
        )
        axes.barh(
            y,
            right - left,
            left=left,
            height=0.5,
            color=canvas.lighter(shade),
            edgecolor=shade,
            linewidth=1,
            hatch=None if row.valid else "////",
        )
        axes.plot([middle, middle], [y - 0.25, y + 0.25], color=canvas.INK, linewidth=2, solid_capstyle="butt")
        axes.plot(row.rounds, [y + 0.37] * len(row.rounds), "o", markersize=2.6, color=canvas.INK, markeredgewidth=0)
        axes.annotate(
            f"{middle:.3f}" if middle < 10 else f"{middle:,.1f}",
            (1.01, y),
            xycoords=("axes fraction", "data"),
            va="center",
            color=canvas.INK if row.valid else canvas.BAD,
        )
    axes.set_yticks(range(len(rows)), [canvas.text(row.name) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    canvas.only_x_grid(axes)
    lowest = min([_at(row, 0.01) for row in rows] + [m for row in rows for m in row.rounds])
    highest = max([_at(row, 0.99) for row in rows] + [m for row in rows for m in row.rounds])
    if max(middles) / min(middles) >= LOG_FROM:
        canvas.log_axis(axes, lowest / 1.08, highest * 1.08)
        axes.set_xlabel("milliseconds (logarithmic)")
    else:
        axes.set_xlim(0, highest * 1.04)
        canvas.plain_axis(axes.xaxis)
        axes.set_xlabel("milliseconds")


def _at(row: Spread, quantile: float) -> float:
    return row.quantiles[QUANTILES.index(quantile)]
