"""The parts that a report is made of; each is unescaped text, or draws itself when it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_ROWS = 500
"""Of a table. A record of a real machine has some dozens."""


@dataclass(frozen=True)
class Heading:
    """A heading of level 1–3."""

    text: str
    level: int
    anchor: str = ""
    """Where a link of `Contents` leads."""


@dataclass(frozen=True)
class Contents:
    """Links to headings: (text, anchor)."""

    places: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    style: str = ""
    """`note`, `bad` or `code`."""


@dataclass(frozen=True)
class Facts:
    """Names with what they are."""

    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table of text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marks: dict[int, str] | None = None
    """Row → `invalid` (no evidence) or `sum`."""
    wrong: frozenset[tuple[int, int]] = frozenset()
    """Cells, (row, column), that are not as they should be."""


@dataclass(frozen=True)
class Plot:
    """A drawing."""

    title: str
    draw: Callable[[], str]
    """Returns SVG; called only for a page that shows it, since it needs matplotlib."""
    caption: str = ""
    half: bool = False
    """Whether two of them fit side by side."""
    instead: Table | None = None
    """What stands there where nothing can be drawn."""


Block = Heading | Contents | Text | Facts | Table | Plot


def table_of(lines: Sequence[dict[str, str]], marks: dict[int, str] | None = None) -> list[Table | Text]:
    """Return a table of lines, each column → text, and a remark where lines are left out of it.

    A column that some lines lack is "–" there; no lines give nothing.
    """
    if not lines:
        return []
    shown = lines[:MAX_ROWS]
    head = list(dict.fromkeys(name for line in shown for name in line))
    rows = [[line.get(name, "–") for name in head] for line in shown]
    found: list[Table | Text] = [Table(head, rows, {i: mark for i, mark in (marks or {}).items() if i < MAX_ROWS})]
    return found + left_out(len(lines), MAX_ROWS, "rows are not in the table")


def left_out(count: int, most: int, what: str, why: str = "there are too many") -> list[Table | Text]:
    """Return the remark that of `count` things only `most` are shown; nothing when all are."""
    return [Text(f"{count - most:,} of {count:,} {what}: {why}.", "note")] if count > most else []
