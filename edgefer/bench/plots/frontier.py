"""Accuracy over latency with size as area, and which of them nothing beats in both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefer import plugins
from edgefer.bench.plots import canvas

MAX_POINTS = 30
HEIGHT = 4.6
BIGGEST = 620.0
"""Area of the largest artifact's circle, in square points."""
SMALLEST = 14.0
MARGINS = {"left": 0.075, "right": 0.985, "top": 0.975, "bottom": 0.11}


@dataclass(frozen=True)
class Point:
    """An artifact in an engine."""

    name: str
    engine: str
    precision: str
    ms: float
    """p50, more than 0."""
    ms_range: tuple[float, float]
    accuracy: float
    ci95: tuple[float, float]
    bytes: int


Box = tuple[float, float, float, float]
"""Left, bottom, right, top in pixels."""


def frontier(points: Sequence[Point]) -> str:
    """Return an SVG of at least one point."""
    return canvas.drawn(lambda figure: _paint(figure, points), HEIGHT)


def best(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats: as fast or faster and as accurate or better, and not equal in both."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.ms, -p.accuracy)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return found


def _paint(figure: Any, points: Sequence[Point]) -> None:
    agg = plugins.require("matplotlib.backends.backend_agg", "report", "drawing a plot")
    agg.FigureCanvasAgg(figure)
    figure.set_layout_engine("none")  # what stands where must be known before the names are placed
    axes = figure.subplots(gridspec_kw=MARGINS)
    low, high = min(p.ms_range[0] for p in points), max(p.ms_range[1] for p in points)
    room = max(1.35, (high / low) ** 0.15)
    canvas.log_axis(axes, low / room, high * room)
    bottom, top = min(p.ci95[0] for p in points), max(p.ci95[1] for p in points)
    margin = max(0.01, 0.35 * (top - bottom))
    axes.set_ylim(bottom - margin, top + margin)
    axes.set_xlabel("p50 in milliseconds (logarithmic)")
    axes.set_ylabel("accuracy")
    canvas.plain_axis(axes.yaxis)
    line = best(points)
    x = [p.ms for p in line] + [axes.get_xlim()[1]]
    y = [p.accuracy for p in line] + [line[-1].accuracy]
    axes.step(x, y, where="post", color=canvas.GREY, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1.5)
    sizes = _areas(points)
    for point, size in zip(points, sizes, strict=True):
        shade = canvas.colour(point.engine)
        axes.plot([point.ms] * 2, point.ci95, color=shade, linewidth=1, alpha=0.55, zorder=2)
        axes.plot(point.ms_range, [point.accuracy] * 2, color=shade, linewidth=1, alpha=0.55, zorder=2)
        filled = canvas.lighter(shade, 0.25 if point.precision == "int8" else 0.75)
        axes.scatter([point.ms], [point.accuracy], s=size, color=filled, edgecolor=shade, linewidth=1.4, zorder=3)
    _names(figure, axes, points, sizes, list(zip(x, y, strict=True)))


def _areas(points: Sequence[Point]) -> list[float]:
    largest = max(p.bytes for p in points) or 1
    return [max(SMALLEST, BIGGEST * p.bytes / largest) for p in points]


def _names(
    figure: Any, axes: Any, points: Sequence[Point], sizes: Sequence[float], line: Sequence[tuple[float, float]]
) -> None:
    """Write each name beside its point where it hides least: other names, circles, then lines."""
    renderer = figure.canvas.get_renderer()
    frame: Box = axes.get_window_extent(renderer).extents
    centres = [tuple(axes.transData.transform((p.ms, p.accuracy))) for p in points]
    pixel = figure.dpi / 72
    reach = [pixel * math.sqrt(size / math.pi) for size in sizes]
    hard = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centres, reach, strict=True)]
    steps = axes.transData.transform(line)
    soft = [(a[0], a[1] - 1, b[0], a[1] + 1) for a, b in itertools.pairwise(steps)]
    for p, (x, _) in zip(points, centres, strict=True):
        ends = axes.transData.transform([(p.ms, p.ci95[0]), (p.ms, p.ci95[1])])
        soft.append((x - 1, ends[0][1], x + 1, ends[1][1]))
    for i in sorted(range(len(points)), key=lambda i: centres[i]):
        name = canvas.text(points[i].name)
        shape = axes.text(0, 0, name, fontsize=8.5)
        measured = shape.get_window_extent(renderer)
        shape.remove()
        box = min(
            _places(centres[i], reach[i] + 3 * pixel, measured.width + 2 * pixel, measured.height + 3 * pixel, pixel),
            key=lambda place: place[1] + _cost(place[0], hard, soft, frame),
        )[0]
        hard.append(box)
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        near = (min(max(centres[i][0], box[0]), box[2]), min(max(centres[i][1], box[1]), box[3]))
        if math.dist(near, centres[i]) > reach[i] + 7 * pixel:
            ends = axes.transData.inverted().transform([centres[i], near])
            axes.plot(*zip(*ends, strict=True), color=canvas.colour(points[i].engine), linewidth=0.7, zorder=2.5)
        place = axes.transData.inverted().transform(middle)
        ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
        axes.text(*place, name, ha="center", va="center", fontsize=8.5, zorder=4, bbox=ground)


def _places(
    centre: tuple[float, float], reach: float, wide: float, tall: float, pixel: float
) -> list[tuple[Box, float]]:
    """Return boxes for a name around a point, and how far-fetched each is."""
    found = []
    for far in (0, 10, 22, 36, 52, 70, 90):
        for turn in range(16):
            angle = math.tau * turn / 16
            x = centre[0] + (reach + far * pixel + wide / 2) * math.cos(angle)
            y = centre[1] + (reach + far * pixel + tall / 2) * math.sin(angle)
            found.append(((x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2), far * 6.0 + turn * 0.01))
    return found


def _cost(box: Box, hard: Sequence[Box], soft: Sequence[Box], frame: Box) -> float:
    wide, tall = box[2] - box[0], box[3] - box[1]
    outside = wide * tall - _overlap(box, frame)
    return 50 * outside + 10 * sum(_overlap(box, other) for other in hard) + 8 * sum(_overlap(box, o) for o in soft)


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    return wide * tall if wide > 0 and tall > 0 else 0.0
