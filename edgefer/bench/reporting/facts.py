"""What a record was taken on, and with which command."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.bench.record import BenchRecord
from edgefer.bench.reporting.blocks import Block, Facts, Heading, Text
from edgefer.bench.reporting.targets import label
from edgefer.bench.reporting.words import MAX_TEXT, cut, number, words

MAX_FACTS = 60
UNITS = {"_mib": ", MiB", "_mhz": ", MHz", "_c": ", °C"}
"""Ends of names that are units."""


def blocks(record: BenchRecord) -> Iterator[Block]:
    """Yield a record's machine, versions and command."""
    yield Heading(f"Record: {label(record)}", 3)
    yield Facts(tuple(_facts(record)))
    yield Text(cut(record.command, 4 * MAX_TEXT), "code")


def _facts(record: BenchRecord) -> list[tuple[str, str]]:
    """Return names with what they are; what is not known is left out, what changed is told before and after."""
    before, after = record.environment["before"], record.environment["after"]
    found = [
        ("bundle", f"{cut(record.bundle.architecture)}, {words(list(record.bundle.labels))}"),
        ("bundle's digest", cut(record.bundle.digest)),
    ]
    if record.emulator is not None:
        e = record.emulator
        found += [("emulated processor", cut(e.cpu)), ("emulator", cut(e.program)), ("system in it", cut(e.system))]
    for key in list(dict.fromkeys([*before, *after]))[:MAX_FACTS]:
        old, new = before.get(key), after.get(key)
        host = "host's " if record.emulator is not None else ""
        if key == "dot_product" and old is not None:
            found.append((f"{host}int8 dot product", words(old)))
        elif old or new:
            told = words(new or old) if old == new or not old or not new else f"{words(old)}; afterwards {words(new)}"
            found.append((host + _name(key), told))
    if record.idle_watts is not None:
        found.append(("idle, W", number(record.idle_watts)))
    if record.trace is not None and record.trace.power_source is not None:
        found.append(("watts of", cut(record.trace.power_source)))
    if record.measurements:
        runs = sum(m.latency.runs for m in record.measurements)
        seconds = sum(m.latency.seconds for m in record.measurements)
        found.append(("timed runs", f"{runs:,} in {number(seconds)} s"))
    return found


def _name(key: str) -> str:
    for end, unit in UNITS.items():
        if key.endswith(end):
            key = key.removesuffix(end) + unit
    return cut(key.replace("_", " "))
