"""Readings over time, one below the other on the same seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.bench.plots import canvas

HEAT, CLOCK, POWER, TIME = canvas.RED, canvas.PURPLE, canvas.GREEN, canvas.BLUE


@dataclass(frozen=True)
class Panel:
    """One reading."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(second, value), at least one."""
    colour: str
    from_zero: bool = False
    """Whether the axis begins at 0, so that heights compare."""


def over_time(panels: Sequence[Panel], seconds: str) -> str:
    """Return an SVG of at least one panel; `seconds` says what they count from."""
    return canvas.drawn(lambda figure: _paint(figure, panels, seconds), 0.6 + 1.25 * len(panels))


def _paint(figure: Any, panels: Sequence[Panel], seconds: str) -> None:
    every = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(every, panels, strict=True):
        x, y = zip(*panel.points, strict=True)
        few = len(x) <= 60
        axes.plot(x, y, color=panel.colour, linewidth=1.4, marker="o" if few else None, markersize=2.5)
        axes.set_title(canvas.text(panel.name), loc="left", fontsize=9, color=panel.colour)
        canvas.plain_axis(axes.yaxis)
        axes.locator_params(axis="y", nbins=4)
        low, high = min(y), max(y)
        if panel.from_zero:
            axes.set_ylim(0, high * 1.25 or 1.0)
        else:
            margin = max((high - low) * 0.15, abs(high) * 0.02, 0.5)
            axes.set_ylim(low - margin, high + margin)
    last = max(second for panel in panels for second, _ in panel.points)
    every[-1].set_xlim(0, last * 1.01 or 1.0)
    canvas.plain_axis(every[-1].xaxis)
    every[-1].set_xlabel(seconds)
    figure.align_ylabels()
