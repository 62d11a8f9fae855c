"""The short of it: a line for each target and bundle, a table for each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgefer.bench.counted import Emulation
from edgefer.bench.evaluation import Evaluation
from edgefer.bench.record import KINDS, BenchRecord
from edgefer.bench.reporting.blocks import Block, Heading, Text, table_of
from edgefer.bench.reporting.evaluations import on_same_faces
from edgefer.bench.reporting.targets import Target, marks, preferred
from edgefer.bench.reporting.words import cut, interval, kilobytes, millions, number, optional, percent, pixels
from edgefer.bench.rows import Measurement

NOTES = {
    "measured": (
        "Engine, precision and number of threads (×) are those that the device runs unasked where the record tells,"
        " otherwise the fastest. p50: of one face crop, or of one picture for a detector, with the range over rounds;"
        " frame: p50 of a whole one with one face, without the camera; sustained: p50 of the last part of a long run"
        " over that of the first."
    ),
    "emulated": (
        "The first of each record; the others are further below. Instructions are those of one inference: they are no"
        " time."
    ),
    "estimated": "The lowest estimate of each record; the others are further below.",
}
Line = tuple[dict[str, str], bool]
"""Columns, and whether it is evidence."""


def blocks(targets: Sequence[Target], evaluations: Sequence[Evaluation]) -> Iterator[Block]:
    """Yield the summary; measured, emulated and estimated never share a table."""
    makers = {"measured": _measured, "emulated": _emulated, "estimated": _estimated}
    yield Heading("Summary", 2)
    for kind in KINDS:
        of_kind = [target for target in targets if target.kind == kind]
        devices = [target.device for target in of_kind]
        lines: list[dict[str, str]] = []
        invalid = {}
        for target in of_kind:
            for one in target.bundles():
                line, valid = makers[kind](one)
                if not valid:
                    invalid[len(lines)] = "invalid"
                lines.append(line | ({"machine": one.machine} if devices.count(one.device) > 1 else {}))
        if lines:
            yield Heading(kind.capitalize(), 3)
            yield from table_of(lines, invalid)
            yield Text(NOTES[kind], "note")
    if evaluations:
        yield Heading("Accuracy", 3)
        yield from table_of([_accuracy(group) for group in on_same_faces(evaluations).values()])


def _accuracy(group: Sequence[Evaluation]) -> dict[str, str]:
    """Return a line about evaluations on the same faces; of those that are equally accurate the smallest is named."""
    best = max(group, key=lambda e: (e.accuracy.accuracy, -e.bytes))
    a = best.accuracy
    return {
        "faces": f"{a.n:,} of {cut(best.split)}",
        "evaluated": f"{len(group):,}",
        "least": f"{min(e.accuracy.accuracy for e in group):.4f}",
        "most (95 %)": f"{a.accuracy:.4f} ({interval(a.ci95)})",
        "artifact": f"{cut(best.artifact)} in {cut(best.engine)}",
    }


def _measured(target: Target) -> Line:
    line = _start(target)
    row = preferred(target)
    frames = [r for r in [*target.rows("pipeline"), *target.rows("detect")] if r.m.faces == 1]
    if row is None and not frames:
        record = _first(target)
        return line | {"engine": "–", "marks": marks(record) or "valid"}, record.valid
    if row is None:
        record, m, _ = frames[0]
        line |= {"engine": _engine(m), "marks": marks(record) or "valid", "frame ms": number(m.latency.p50)}
        return line, record.valid
    record, m, score = row
    low, high = m.p50_range
    same = (_engine(m), m.artifact, record.valid)
    frames = [r for r in frames if (_engine(r.m), r.m.artifact, r.record.valid) == same]
    line |= {
        "engine": _engine(m),
        "marks": marks(record) or "valid",
        "p50 ms (range)": number(m.latency.p50) + (f" ({number(low)}–{number(high)})" if len(m.rounds) > 1 else ""),
        "frame ms": number(frames[0].m.latency.p50) if frames else "–",
        "accuracy (95 %)": "–" if score is None else f"{score.accuracy:.4f} ({interval(score.ci95)})",
        "peak MiB": optional(m.peak_mib),
        "sustained": "–" if record.sustained is None else f"× {number(record.sustained.ratio)}",
    }
    return line, record.valid


def _engine(m: Measurement) -> str:
    return f"{cut(m.engine)} {cut(m.precision)}{_size(m)} × {m.threads:,}"


def _size(row: Measurement | Emulation) -> str:
    return "" if row.size is None else f" {pixels(row.size)}"


def _emulated(target: Target) -> Line:
    record = _first(target)
    e = record.emulations[0]
    return _start(target) | {
        "engine": f"{cut(e.engine)} {cut(e.precision)}{_size(e)}",
        "marks": marks(record) or "valid",
        "same bits": "yes" if e.bit_identical else "NO",
        "same label": percent(e.same_label, 2),
        "faces": f"{e.faces:,}",
        "M instructions": millions(e.instructions.total),
        "kB": kilobytes(e.bytes),
    }, record.valid


def _estimated(target: Target) -> Line:
    record = _first(target)
    best = min(record.estimates, key=lambda e: e.ms, default=None)
    line = _start(target)
    if best is not None:
        line["engine"] = f"{cut(best.engine)} {cut(best.precision)}"
    line["marks"] = marks(record) or "valid"
    if best is not None:
        line["estimated ms, one thread"] = f"{number(best.ms)} ± {percent(best.error)}"
    return line, record.valid


def _first(target: Target) -> BenchRecord:
    """Return the first record that is evidence, or the first."""
    return next((record for record in target.records if record.valid), target.records[0])


def _start(target: Target) -> dict[str, str]:
    return {"device": cut(target.device), "bundle": cut(target.records[0].bundle.name)}
