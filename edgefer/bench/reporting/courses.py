"""What happened over time: heat, clock and power while a record was taken, and the sustained run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from edgefer.bench.plots import lines
from edgefer.bench.record import BenchRecord
from edgefer.bench.reporting.blocks import Block, Heading, Plot, Table, Text, table_of
from edgefer.bench.reporting.targets import label
from edgefer.bench.reporting.words import artifact, count, cut, number, percent
from edgefer.bench.rows import Step, Sustained
from edgefer.bench.trace import Trace

SAME = 0.02
"""A sustained run whose p50 changed by less is as fast as it began."""
MOST = 1e9
"""No figure that a plot takes is larger."""
MAX_STEPS = 1000


def blocks(record: BenchRecord) -> Iterator[Block]:
    """Yield a record's sustained run and its trace."""
    invalid = "" if record.valid else ", NOT VALID"
    if record.sustained is not None:
        yield Heading(f"Sustained run: {label(record)}{invalid}", 3)
        yield from _sustained(record.sustained, record.trace)
    if record.trace is not None:
        panels = _panels(record.trace)
        if not panels:
            yield Text(f"This machine tells neither temperature nor clock nor power: {label(record)}.", "note")
        else:
            yield Heading(f"Heat, clock and power: {label(record)}{invalid}", 3)
            yield from _trace(record.trace, panels)


def _panels(trace: Trace, start: float = 0.0) -> list[lines.Panel]:
    """Return what the machine told over time, from a second on, which becomes 0."""
    watts = f"watts of {cut(trace.power_source, 30)}" if trace.power_source is not None else "watts"
    found = []
    for name, values, colour in (
        ("°C, hottest zone", trace.temperature_c, lines.HEAT),
        ("MHz, slowest core", trace.mhz, lines.CLOCK),
        (watts, trace.watts, lines.POWER),
    ):
        points = [
            (second - start, float(value))
            for second, value in zip(trace.seconds, values, strict=True)
            if value is not None and start <= second <= MOST and abs(value) <= MOST
        ]
        if points:
            found.append(lines.Panel(name, tuple(points), colour))
    return found


def _trace(trace: Trace, panels: Sequence[lines.Panel]) -> Iterator[Block]:
    rows = []
    for panel in panels:
        values = [value for _, value in panel.points]
        figures = {"first": values[0], "lowest": min(values), "mean": sum(values) / len(values)}
        figures |= {"highest": max(values), "last": values[-1]}
        rows.append(
            {"reading": panel.name, "readings": f"{len(values):,}"} | {k: number(v) for k, v in figures.items()}
        )
    yield from table_of(rows)
    if trace.throttled:
        told = "; ".join(cut(reason) for reason in trace.throttled[:20])
        yield Text(f"The firmware slowed the device down meanwhile: {told}.", "bad")
    yield Plot(
        "Heat, clock and power over time",
        partial(lines.over_time, panels, "seconds from the start of the measurement"),
        "The clock is that of the slowest core; one that has nothing to do may be slower than the one that measures.",
    )


def _sustained(run: Sustained, trace: Trace | None) -> Iterator[Block]:
    change = run.ratio - 1
    if abs(change) < SAME:
        told = "as fast as it began"
    else:
        told = f"{percent(abs(change))} {'slower' if change > 0 else 'faster'} than it began"
    yield Text(
        f"{artifact(run.artifact, run.precision)} in {cut(run.engine)} with {count(run.threads, 'thread')} ran"
        f" {number(run.seconds)} s without a pause, {run.runs:,} times. In the last {number(run.window_s)} s its p50"
        f" was {number(run.last_p50)} ms, in the first {number(run.window_s)} s {number(run.first_p50)} ms:"
        f" × {number(run.ratio)}, {told}."
    )
    steps = [s for s in run.steps[:: -(-len(run.steps) // MAX_STEPS) or 1] if max(s.p99, s.p50, s.seconds) <= MOST]
    if not steps:
        return
    panels = [lines.Panel("p50 ms of each part", tuple((s.seconds, s.p50) for s in steps), lines.TIME, from_zero=True)]
    if trace is not None and trace.seconds:
        # A sustained run is the last thing that a session measures: it ends where the trace does, to a second or two.
        panels += _panels(trace, max(0.0, trace.seconds[-1] - run.seconds))
    yield Plot(
        "Sustained run: p50 over time",
        partial(lines.over_time, panels, "seconds from the start of the sustained run"),
        "p50 of each part of the run"
        + (", with what the machine told meanwhile (to a second or two)." if len(panels) > 1 else "."),
        instead=_some(steps),
    )


def _some(steps: Sequence[Step]) -> Table:
    """Return a table of about a dozen of the steps, evenly."""
    rows = [[number(s.seconds), number(s.p50), number(s.p99)] for s in steps[:: -(-len(steps) // 12)]]
    return Table(["second", "p50 ms", "p99 ms"], rows)
