"""Targets: records of one kind from one machine. Nothing of two targets ever shares a table or a plot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from edgefer.bench.record import KINDS, BenchRecord
from edgefer.bench.reporting.words import count, cut, pixels, words
from edgefer.bench.rows import Measurement, Score, Sustained

NOTES = {
    "measured": "Timed on the machine itself.",
    "emulated": (
        "Run under an emulator of the board's processor: results and counted instructions hold for the board;"
        " no latency is claimed, and none follows from the counts alone."
    ),
    "estimated": "Calculated from counted instructions and a calibration on a real board, not measured.",
}


class Row(NamedTuple):
    """A measurement with what it belongs to."""

    record: BenchRecord
    m: Measurement
    score: Score | None
    """Accuracy of its artifact in its engine, where the record has it."""


@dataclass(frozen=True)
class Target:
    """Records of one kind from one machine."""

    kind: str
    device: str
    machine: str
    records: tuple[BenchRecord, ...]

    @property
    def title(self) -> str:
        """What it is called in a heading."""
        return f"{cut(self.device)} – {self.machine} – {self.kind}"

    @property
    def several_bundles(self) -> bool:
        """Whether a row must say of which bundle it is."""
        return len({r.bundle.digest for r in self.records}) > 1

    def bundles(self) -> list[Target]:
        """Return a target for each bundle."""
        groups: dict[str, list[BenchRecord]] = {}
        for record in self.records:
            groups.setdefault(record.bundle.digest, []).append(record)
        return [Target(self.kind, self.device, self.machine, tuple(group)) for group in groups.values()]

    def rows(self, scope: str) -> list[Row]:
        """Return its measurements of a scope: evidence first, few faces before many, fastest first."""
        found = []
        for record in self.records:
            scores = {(s.engine, s.artifact): s for s in reversed(record.scores)}
            rows = (m for m in record.measurements if m.scope == scope)
            found += [Row(record, m, scores.get((m.engine, m.artifact))) for m in rows]
        return sorted(found, key=lambda row: (not row.record.valid, row.m.faces or 0, row.m.latency.p50))


def targets(records: Iterable[BenchRecord]) -> list[Target]:
    """Return the records by kind and machine: measured, emulated, estimated, each in the order that they were given."""
    groups: dict[tuple[str, str, str], list[BenchRecord]] = {}
    for record in records:
        groups.setdefault((record.kind, record.device, _machine(record)), []).append(record)
    order = sorted(groups, key=lambda key: KINDS.index(key[0]))
    return [Target(*key, tuple(groups[key])) for key in order]


def preferred(target: Target) -> Row | None:
    """Return the row of its model scope that says most: the fastest of what the device runs unasked.

    That is what whole frames or a sustained run was measured with, with as many threads; without either, any. Rows that
    are evidence go first.
    """
    rows = target.rows("model")
    runs: list[Measurement | Sustained] = [m for r in target.records for m in r.measurements if m.scope != "model"]
    runs += [r.sustained for r in target.records if r.sustained is not None]
    unasked = {(run.engine, run.artifact, run.threads) for run in runs}
    chosen = [row for row in rows if (row.m.engine, row.m.artifact, row.m.threads) in unasked]
    order = sorted(chosen or rows, key=lambda row: (not row.record.valid, row.record.quick, row.m.latency.p50))
    return order[0] if order else None


def label(record: BenchRecord) -> str:
    """Return what a record is called."""
    quick = ", quick" if record.quick else ""
    return f"{cut(record.bundle.name)} ({record.bundle.digest[:8]}), {cut(record.created)}{quick}"


def marks(record: BenchRecord) -> str:
    """Return what a reader must know before the figures of a record."""
    said = [("NOT VALID", not record.valid), ("noisy", bool(record.noisy_reasons)), ("quick", record.quick)]
    return ", ".join(name for name, holds in said if holds)


def row_name(row: Row, several_bundles: bool = False) -> str:
    """Return a row in few words, for a plot."""
    record, m, _ = row
    size = "" if m.size is None else f" {pixels(m.size)}"
    name = f"{cut(m.engine, 24)} {cut(m.precision, 12)}{size}, {count(m.threads, 'thread')}"
    if m.faces is not None:
        name += f", {count(m.faces, 'face')}"
    if several_bundles:
        name = f"{cut(record.bundle.name, 16)}: {name}"
    return name if record.valid else f"{name}, NOT VALID"


def _machine(record: BenchRecord) -> str:
    if record.emulator is not None:
        return cut(f"{record.emulator.cpu}, {record.emulator.program}", 2 * 80)
    before = record.environment["before"]
    about = [words(before[key]) for key in ("model", "cpu", "machine") if before.get(key)]
    about += [f"{words(before['cores'])} cores"] if before.get("cores") else []
    return cut(", ".join(about), 2 * 80) or "unknown machine"
