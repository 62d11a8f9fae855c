"""The short of it: a line for each target and bundle, a table for each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgefer.bench.evaluation import Evaluation
from edgefer.bench.record import KINDS, BenchRecord
from edgefer.bench.reporting.blocks import Block, Heading, Text, table_of
from edgefer.bench.reporting.targets import Target, marks, preferred
from edgefer.bench.reporting.words import cut, interval, kilobytes, millions, number, percent

Line = tuple[dict[str, str], bool]
"""Columns, and whether it is evidence."""


def blocks(targets: Sequence[Target], evaluations: Sequence[Evaluation]) -> Iterator[Block]:
    """Yield the summary; measured, emulated and estimated never share a table."""
    makers = {"measured": _measured, "emulated": _emulated, "estimated": _estimated}
    for kind in KINDS:
        lines = [makers[kind](one) for target in targets if target.kind == kind for one in target.bundles()]
        if lines:
            yield Heading(f"Summary: {kind}", 3)
            yield from table_of(
                [line for line, _ in lines], {i: "invalid" for i, (_, valid) in enumerate(lines) if not valid}
            )
    if any(target.kind == "measured" for target in targets):
        yield Text(
            "The artifact is the one that the device runs unasked where the record tells, otherwise the fastest;"
            " p50 is that of one face crop, at the number of threads that was fastest.",
            "note",
        )
    if evaluations:
        best = max(evaluations, key=lambda e: e.accuracy.accuracy)
        a = best.accuracy
        yield Text(
            f"Accuracy on labelled faces: {len(evaluations):,} evaluated; the best is {cut(best.artifact)} in"
            f" {cut(best.engine)} with {a.accuracy:.4f} ({interval(a.ci95)}) on {a.n:,} faces of {cut(best.split)}."
        )


def _measured(target: Target) -> Line:
    line = _start(target)
    row = preferred(target)
    if row is None:
        record = _first(target)
        return line | {"artifact": "–", "marks": marks(record) or "valid", "machine": target.machine}, record.valid
    record, m, score = row
    low, high = m.p50_range
    frames = [r for r in target.rows("pipeline") if r.m.faces == 1 and r.record.valid == record.valid]
    line |= {
        "artifact": f"{cut(m.artifact)} in {cut(m.engine)}",
        "p50 ms (over rounds)": number(m.latency.p50)
        + (f" ({number(low)}–{number(high)})" if len(m.rounds) > 1 else ""),
        "accuracy (95 %)": "–" if score is None else f"{score.accuracy:.4f} ({interval(score.ci95)})",
        "kB": kilobytes(m.bytes),
    }
    line["marks"] = marks(record) or "valid"
    if frames:
        line["frame, 1 face, p50 ms"] = number(frames[0].m.latency.p50)
    return line | {"machine": target.machine}, record.valid


def _emulated(target: Target) -> Line:
    record = _first(target)
    e = record.emulations[0]
    return _start(target) | {
        "artifact": f"{cut(e.artifact)} in {cut(e.engine)}",
        "same bits": "yes" if e.bit_identical else "NO",
        "same label": percent(e.same_label, 2),
        "faces": f"{e.faces:,}",
        "M instructions": millions(e.instructions.total),
        "kB": kilobytes(e.bytes),
        "marks": marks(record) or "valid",
        "machine": target.machine,
    }, record.valid


def _estimated(target: Target) -> Line:
    record = _first(target)
    best = min(record.estimates, key=lambda e: e.ms, default=None)
    line = _start(target)
    if best is not None:
        line |= {"artifact": f"{cut(best.artifact)} in {cut(best.engine)}"}
        line |= {"estimated ms, one thread": f"{number(best.ms)} ± {percent(best.error)}"}
    return line | {"marks": marks(record) or "valid", "machine": target.machine}, record.valid


def _first(target: Target) -> BenchRecord:
    """Return the first record that is evidence, or the first."""
    return next((record for record in target.records if record.valid), target.records[0])


def _start(target: Target) -> dict[str, str]:
    return {"device": cut(target.device), "bundle": cut(target.records[0].bundle.name)}
