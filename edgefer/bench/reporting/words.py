"""Figures and plain data as short text. Every text of a record is cut here: its length is a stranger's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_NAME = 80
MAX_TEXT = 600
DEPTH = 3
"""Of plain data inside plain data that is told."""


def cut(text: str, most: int = MAX_NAME) -> str:
    """Return a text of at most `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def number(value: float) -> str:
    """Return a number in three or more digits, or as a power of ten where it is out of all proportion."""
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}"
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:,.0f}"


def optional(value: float | None) -> str:
    """Return such a number, or a dash where there is none."""
    return "–" if value is None else number(value)


def kilobytes(count: int) -> str:
    """Return bytes in thousands."""
    return f"{count / 1000:,.0f}"


def millions(count: int) -> str:
    """Return a count in millions."""
    return f"{count / 1e6:,.2f}"


def percent(part: float, digits: int = 0) -> str:
    """Return a fraction in hundredths."""
    return f"{100 * part:,.{digits}f} %" if abs(part) < 1e6 else f"{100 * part:.2e} %"


def interval(values: Sequence[float]) -> str:
    """Return two accuracies, low and high."""
    return f"{values[0]:.3f}–{values[1]:.3f}"


def pixels(size: Sequence[int]) -> str:
    """Return a height and width, width first."""
    return f"{size[1]:,}×{size[0]:,}"


def count(n: int, one: str) -> str:
    """Return how many there are of what `one` is called: 1 thread, 2 threads."""
    return f"{n:,} {one}{'' if n == 1 else 's'}"


def artifact(path: str, precision: str) -> str:
    """Return an artifact with its precision, where its name does not say it."""
    return cut(path) if precision in path.split(".") else f"{cut(path)} ({cut(precision)})"


def provider(name: str) -> str:
    """Return what ran a model; onnxruntime ends each name with the same two words."""
    return cut(name.removesuffix("ExecutionProvider") or name)


def words(value: Any, depth: int = DEPTH) -> str:
    """Return plain data as a short text."""
    if isinstance(value, (dict, list)) and not value:
        return "none"
    if isinstance(value, (dict, list)) and depth == 0:
        return "…"
    if isinstance(value, dict):
        return cut(", ".join(f"{k} {words(v, depth - 1)}" for k, v in list(value.items())[:MAX_NAME]), MAX_TEXT)
    if isinstance(value, list):
        return cut(", ".join(words(v, depth - 1) for v in value[:MAX_NAME]), MAX_TEXT)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else cut(str(value), MAX_TEXT)
