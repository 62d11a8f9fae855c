"""What all drawings of training share: one size, one set of colours, a figure without global state.

Colours are those of Okabe and Ito, which stay apart for colour-blind eyes; no meaning hangs on a colour alone.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

from edgefer import plugins

DPI = 200
CSS_DPI = 100
"""Pixels of a page for an inch of a figure: each is two of the picture, so that it is sharp on any screen."""
WIDTH = 9.6
"""Inches of every figure."""
BLUE, SKY, ORANGE, YELLOW, GREEN = "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73"
GREY, INK, GRID = "#8a94a0", "#1c2430", "#e6eaef"


@contextlib.contextmanager
def figure_of(width: float, height: float) -> Iterator[tuple[Any, Callable[[], bytes]]]:
    """Give a figure of so many inches and a function that returns it as PNG; nothing global stays changed.

    Raises MissingDependencyError without matplotlib.
    """
    matplotlib = plugins.require("matplotlib", "train", "a drawing")
    figures = plugins.require("matplotlib.figure", "train", "a drawing")
    settings = {"text.parse_math": False, "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold"}
    settings |= {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    settings |= {"axes.edgecolor": "#b8c2cd", "hatch.linewidth": 0.8}
    with matplotlib.rc_context(settings):
        figure = figures.Figure(figsize=(width, height), layout="constrained")

        def png() -> bytes:
            stream = io.BytesIO()
            figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
            return stream.getvalue()

        yield figure, png
