"""What all plots share: colours that colour-blind people can tell apart, text as text, the same bytes every time."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from edgefer import page, plugins

WIDTH = 8.8
"""Inches of 96 CSS pixels; a page scales it down to what fits."""
INK, GREY, FAINT, BAD = "#1c2430", "#6b7684", "#e1e6ec", "#c0392b"
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
)
"""M. Okabe, K. Ito, "Color universal design", 2008."""
ENGINES = {"litert": BLUE, "onnxruntime": ORANGE, "openvino": GREEN, "tflite-runtime": PURPLE}
STYLE = {
    "text.parse_math": False,  # `$` is `$`: names come from a record
    "svg.fonttype": "none",
    "svg.hashsalt": "edgefer",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so what is measured by it is the same everywhere
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}


def drawn(paint: Callable[[Any], None], height: float, width: float = WIDTH) -> str:
    """Return as SVG what `paint` draws on a matplotlib figure of so many inches.

    Raises MissingDependencyError without matplotlib.
    """
    styles = plugins.require("matplotlib.style", "report", "drawing a plot")
    figures = plugins.require("matplotlib.figure", "report", "drawing a plot")
    with styles.context(["default", STYLE]), warnings.catch_warnings():
        # The reader's browser has other fonts and draws them itself.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        image = io.StringIO()
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": None})
    # Without a second choice a reader that lacks the font would get one with serifs.
    return re.sub(
        r"(font(?:-family)?: [^;\"]*?)'DejaVu Sans'(?=[;\"])", r"\1'DejaVu Sans', Verdana, sans-serif", image.getvalue()
    )


def text(value: str, most: int = 60) -> str:
    """Return a text of a record as it may stand in a plot: one line, printable, not too long."""
    shown = page.plain(value)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def colour(engine: str) -> str:
    """Return the colour of an engine."""
    return ENGINES.get(engine, GREY)


def lighter(shade: str, part: float = 0.55) -> str:
    """Return a colour `#rrggbb` with so much white in it."""
    levels = [int(shade[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(level + (255 - level) * part):02x}" for level in levels)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two positive ones: about four to nine, for an axis with a logarithmic scale."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    step = max(1, (last - first) // 7)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)):
        found = [d * 10.0**power for power in range(first, last + 1, step) for d in digits]
        found = [round(value, 12) for value in found if low <= value <= high]
        if len(found) >= 4:
            return found
    return found or [low]


def log_axis(axes: Any, low: float, high: float) -> None:
    """Make x logarithmic between two positive numbers, with round ticks as plain numbers."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = log_ticks(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def plain_axis(axis: Any) -> None:
    """Write the ticks of an axis as plain numbers."""
    axis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def only_x_grid(axes: Any) -> None:
    """Leave out lines across rows that have names."""
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def ordered(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of their first time."""
    return list(dict.fromkeys(names))
