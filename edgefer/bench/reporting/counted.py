"""Emulated boards: answers held against the host's and counted instructions; and what was estimated from the counts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from edgefer.bench.counted import Emulation
from edgefer.bench.plots import counts
from edgefer.bench.record import BenchRecord
from edgefer.bench.reporting.blocks import Block, Heading, Plot, Table, Text, left_out, table_of
from edgefer.bench.reporting.targets import Target
from edgefer.bench.reporting.words import artifact, cut, kilobytes, millions, number, percent, pixels, provider

CLASSES = {
    "dot": "dot product",
    "simd": "other SIMD",
    "load_store": "load/store",
    "integer": "integer",
    "branch": "branch",
}
"""Field of Instructions → what it is called."""

Row = tuple[BenchRecord, Emulation]


def blocks(target: Target) -> Iterator[Block]:
    """Yield the tables and plots of an emulated or estimated target."""
    yield from _emulated(target) if target.kind == "emulated" else _estimated(target)


def _emulated(target: Target) -> Iterator[Block]:
    rows = [(record, e) for record in target.records for e in record.emulations]
    invalid = {i: "invalid" for i, (record, _) in enumerate(rows) if not record.valid}
    yield Heading("Answers against the host's", 3)
    lines = [_answers(row, target.several_bundles) for row in rows]
    for block in table_of(lines, invalid):
        yield Table(block.head, block.rows, block.marks, _unlike(block)) if isinstance(block, Table) else block
    yield Text(
        "int8 should give the same bits on every processor; NO means that some operator computes differently there"
        " (a step of int8 is a difference of 0.0039). float is rounded differently by each processor's instructions.",
        "note",
    )
    yield Heading("Instructions per inference, millions", 3)
    yield from table_of([_instructions(row, target.several_bundles) for row in rows], invalid)
    yield Text(
        "One inference in one thread, counted exactly. Spread: by how much the largest count of several fresh"
        " processes is above the smallest. Counts compare models and engines; they are no cycles, so no time.",
        "note",
    )
    bars = [
        counts.Bar(
            _name(row, target.several_bundles), {CLASSES[f]: getattr(row[1].instructions, f) / 1e6 for f in CLASSES}
        )
        for row in rows[: counts.MAX_BARS]
    ]
    yield Plot(
        "Instructions per inference by class",
        partial(counts.stacked, bars, "million instructions per inference"),
        "Instructions per inference by class; the number is the total in millions.",
    )
    yield from left_out(len(rows), counts.MAX_BARS, "rows are not drawn")


def _unlike(table: Table) -> frozenset[tuple[int, int]]:
    """Return the cells of int8 artifacts that do not answer as the host does; float ones round as each CPU does."""
    column = list(table.head).index("same bits")
    return frozenset((i, column) for i, row in enumerate(table.rows) if row[column] == "NO")


def _start(row: Row, several: bool) -> dict[str, str]:
    record, e = row
    line = {"bundle": cut(record.bundle.name)} if several else {}
    mark = "" if record.valid else " – NOT VALID"
    return line | {
        "engine": f"{cut(e.engine)} {cut(e.engine_version)}{mark}",
        "artifact": artifact(e.artifact, e.precision),
        **({"size": pixels(e.size)} if e.size else {}),
    }


def _answers(row: Row, several: bool) -> dict[str, str]:
    e = row[1]
    return _start(row, several) | {
        "provider": provider(e.provider),
        "kB": kilobytes(e.bytes),
        "faces": f"{e.faces:,}",
        "same bits": "yes" if e.bit_identical else "NO" if e.precision == "int8" else "no",
        "same label": percent(e.same_label, 2),
        "largest difference": f"{e.max_difference:.2g}",
    }


def _instructions(row: Row, several: bool) -> dict[str, str]:
    e = row[1]
    line = _start(row, several) | {"total": millions(e.instructions.total)}
    for field, name in CLASSES.items():
        part = getattr(e.instructions, field)
        line[name] = f"{millions(part)} ({percent(part / max(1, e.instructions.total))})"
    spread = max(e.repeats) / min(e.repeats) - 1
    return line | {
        "spread": f"{100 * spread:.2g} % over {len(e.repeats)}" if len(e.repeats) > 1 else "– (counted once)"
    }


def _name(row: Row, several: bool) -> str:
    record, e = row
    size = f" {pixels(e.size)}" if e.size else ""
    name = f"{cut(e.engine, 24)} {cut(e.precision, 12)}{size}"
    return (f"{cut(record.bundle.name, 16)}: " if several else "") + name + ("" if record.valid else ", NOT VALID")


def _estimated(target: Target) -> Iterator[Block]:
    lines: list[dict[str, str]] = []
    invalid = {}
    for record in target.records:
        for e in record.estimates:
            if not record.valid:
                invalid[len(lines)] = "invalid"
            line = {"bundle": cut(record.bundle.name)} if target.several_bundles else {}
            line |= {"engine": cut(e.engine) + ("" if record.valid else " – NOT VALID")}
            line |= {"artifact": artifact(e.artifact, e.precision), "M instructions": millions(e.instructions)}
            line |= {"estimated p50 ms": number(e.ms), "error": f"± {percent(e.error)}"}
            line |= {"so between": f"{number(e.ms * max(0.0, 1 - e.error))} and {number(e.ms * (1 + e.error))}"}
            lines.append(line)
    yield Heading("Estimated latency, one thread", 3)
    yield from table_of(lines, invalid)
    yield Text(
        "Error: how far such estimates were off, at worst, for what the calibrated board itself had measured.", "note"
    )
