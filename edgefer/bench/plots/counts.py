"""Stacked bars: a bar a row, its parts side by side, what they add up to at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.bench.plots import canvas

MAX_BARS = 40
COLOURS = (canvas.BLUE, canvas.ORANGE, canvas.GREEN, canvas.SKY, canvas.PURPLE, canvas.RED, canvas.YELLOW, canvas.GREY)
WIDE_ENOUGH = 0.07
"""Part of the longest bar from which on a part has room for its number."""


@dataclass(frozen=True)
class Bar:
    """A row: name of a part → its length, 0 or more."""

    name: str
    parts: Mapping[str, float]


def stacked(bars: Sequence[Bar], unit: str) -> str:
    """Return an SVG of at least one bar, from the top down."""
    return canvas.drawn(lambda figure: _paint(figure, bars, unit), 1.2 + 0.36 * len(bars))


def _paint(figure: Any, bars: Sequence[Bar], unit: str) -> None:
    axes = figure.add_subplot()
    longest = max(sum(bar.parts.values()) for bar in bars) or 1.0
    names = canvas.ordered(name for bar in bars for name in bar.parts)
    ends = [0.0] * len(bars)
    for i, name in enumerate(names):
        shade = COLOURS[i % len(COLOURS)]
        widths = [bar.parts.get(name, 0.0) for bar in bars]
        hatch = "///" if i >= len(COLOURS) else None
        # The leading space: matplotlib leaves names that begin with "_" out of a legend.
        label = " " + canvas.text(name, 30)
        axes.barh(
            range(len(bars)),
            widths,
            left=ends,
            height=0.62,
            color=shade,
            hatch=hatch,
            edgecolor="white",
            linewidth=0.6,
            label=label,
        )
        for y, (end, width) in enumerate(zip(ends, widths, strict=True)):
            if width >= WIDE_ENOUGH * longest:
                dark = shade in (canvas.BLUE, canvas.GREEN, canvas.RED, canvas.GREY)
                axes.text(
                    end + width / 2,
                    y,
                    _short(width),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if dark else canvas.INK,
                )
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for y, end in enumerate(ends):
        axes.annotate(_short(end), (end, y), (4, 0), textcoords="offset points", va="center", fontweight="bold")
    axes.set_yticks(range(len(bars)), [canvas.text(bar.name) for bar in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(0, longest * 1.1)
    canvas.only_x_grid(axes)
    canvas.plain_axis(axes.xaxis)
    axes.set_xlabel(unit)
    figure.legend(
        loc="outside upper left", ncols=min(6, len(names)), handlelength=1, columnspacing=1.2, handletextpad=0.3
    )


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}"
