"""What a benchmark report says, as blocks in order and unescaped; how they look is the business of report.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.bench import accuracy
from edgefer.bench.accuracy import Evaluation
from edgefer.bench.record import KINDS, BenchRecord, Measurement

TITLE = "edgefer benchmark report"
WARNING = "Figures hold for the machine that they were taken on: a host's figure is not a device's."
KIND_NOTES = {
    "measured": "Timed on the machine itself.",
    "emulated": "Run under an emulator: results and instruction counts count, milliseconds say nothing about a device.",
    "estimated": "Calculated, not measured.",
}
SCOPES = {"model": "model, batch 1", "pipeline": "pipeline, without capture"}


@dataclass(frozen=True)
class Heading:
    """A heading of level 1–3."""

    text: str
    level: int


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
    invalid: frozenset[int] = frozenset()
    """Rows that are no evidence."""


@dataclass(frozen=True)
class Plot:
    """A plot of the rows of a scope."""

    title: str
    target: Target
    scope: str


Block = Heading | Text | Facts | Table | Plot


def blocks(records: Sequence[BenchRecord], evaluations: Sequence[Evaluation]) -> Iterator[Block]:
    """Yield what a report on these records and evaluations says."""
    yield Heading(TITLE, 1)
    yield Text(WARNING, "note")
    for target in _targets(records):
        yield Heading(target.title, 2)
        yield Text(KIND_NOTES[target.kind], "note")
        for record in target.records:
            if not record.valid:
                yield Text(f"Not valid: {_label(record)}: {'; '.join(record.invalid_reasons)}", "bad")
        for scope, heading in SCOPES.items():
            rows = target.rows(scope)
            if not rows:
                continue
            invalid = frozenset(i for i, (record, _) in enumerate(rows) if not record.valid)
            yield Heading(heading, 3)
            yield Table(*_figures(rows, scope, target.several_bundles), invalid)
            yield Plot(f"{heading}: p50 and p99 of each row of the table", target, scope)
            if scope == "pipeline":
                yield Heading("stages, p50 ms", 3)
                yield Table(*_stages(rows), invalid)
        if target.kind == "emulated":
            yield Table(*_emulated(target))
        for record in target.records:
            yield Heading(_label(record), 3)
            yield Facts(tuple(_facts(record)))
            yield Text(record.command, "code")
    for evaluation in evaluations:
        runtime = f"{evaluation.engine} {evaluation.engine_version}"
        a = evaluation.accuracy
        yield Heading(f"accuracy of {evaluation.artifact} in {runtime}, split {evaluation.split}", 2)
        yield Text(
            f"accuracy {a.accuracy:.4f} (95 % interval {a.ci95[0]:.4f}–{a.ci95[1]:.4f}, n = {a.n}),"
            f" macro F1 {a.macro_f1:.4f}, weighted F1 {a.weighted_f1:.4f},"
            f" expected calibration error {a.ece:.4f}"
        )
        head, *rows_by_class = accuracy.class_rows(evaluation)
        yield Table(head, rows_by_class)


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
        return f"{self.device} – {self.machine} – {self.kind}"

    @property
    def several_bundles(self) -> bool:
        """Whether a row must say of which bundle it is."""
        return len({r.bundle.digest for r in self.records}) > 1

    def rows(self, scope: str) -> list[tuple[BenchRecord, Measurement]]:
        """Return its measurements of a scope: evidence first, few faces before many, fastest first."""
        found = [(r, m) for r in self.records for m in r.measurements if m.scope == scope]
        return sorted(found, key=lambda rm: (not rm[0].valid, rm[1].faces or 0, rm[1].latency.p50))


def _targets(records: Iterable[BenchRecord]) -> list[Target]:
    """Return the records by kind and machine; two kinds or two machines never share a table."""
    groups: dict[tuple[str, str, str], list[BenchRecord]] = {}
    for record in records:
        before = record.environment["before"]
        about = [_words(before[key]) for key in ("model", "cpu", "machine") if before.get(key)]
        about += [f"{_words(before['cores'])} cores"] if before.get("cores") else []
        groups.setdefault((record.kind, record.device, ", ".join(about) or "unknown machine"), []).append(record)
    order = sorted(groups, key=lambda key: (KINDS.index(key[0]), *key[1:]))
    return [Target(*key, tuple(groups[key])) for key in order]


def _label(record: BenchRecord) -> str:
    return f"{record.bundle.name} ({record.bundle.digest[:8]}), {record.created}{', quick' if record.quick else ''}"


def _figures(
    rows: Sequence[tuple[BenchRecord, Measurement]], scope: str, several_bundles: bool
) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of a scope."""
    lines = []
    for record, m in rows:
        marks = ("" if record.valid else " – NOT VALID") + (" – quick" if record.quick else "")
        line = {"bundle": record.bundle.name} if several_bundles else {}
        line |= {
            "engine": f"{m.engine} {m.engine_version}{marks}",
            "provider": m.provider,
            "artifact": f"{m.artifact} ({m.precision})",
            "kB": f"{m.bytes / 1000:.0f}",
            "threads": str(m.threads),
        }
        if scope == "model":
            line |= {"load ms": _ms(m.load_ms), "first ms": _ms(m.first_ms)}
        else:
            line |= {"detector": m.detector or "–", "faces": _faces(m)}
        line |= {"p50 ms": _ms(m.latency.p50), "p90 ms": _ms(m.latency.p90), "p99 ms": _ms(m.latency.p99)}
        if scope == "pipeline":
            line["fps"] = f"{1000 / m.latency.mean:.1f}" if m.latency.mean else "–"
        lines.append(line)
    return list(lines[0]), [list(line.values()) for line in lines]


def _faces(m: Measurement) -> str:
    """Return how many faces there were, and how many of them were found where that differs."""
    drawn = "–" if m.faces is None else str(m.faces)
    if m.faces is None or m.faces_found is None or abs(m.faces_found - m.faces) < 0.05:
        return drawn
    return f"{drawn} (found {m.faces_found:.1f})"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _stages(rows: Sequence[tuple[BenchRecord, Measurement]]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of stages."""
    stages = list(dict.fromkeys(stage for _, m in rows for stage in m.stages_ms or {}))
    lines = []
    for _, m in rows:
        figures = m.stages_ms or {}
        times = [_ms(figures[stage]["p50"]) if stage in figures else "–" for stage in stages]
        lines.append([m.engine, f"{m.artifact} ({m.precision})", str(m.threads), _faces(m), *times])
    return ["engine", "artifact", "threads", "faces", *stages], lines


def _emulated(target: Target) -> tuple[list[str], list[list[str]]]:
    lines = [
        [r.bundle.name, "yes" if r.bit_identical else "NO", f"{r.instructions_per_inference or 0:,}"]
        for r in target.records
    ]
    return ["bundle", "bit-identical to the host", "instructions per inference"], lines


def _facts(record: BenchRecord) -> list[tuple[str, str]]:
    """Return what the record was taken on, in words; what is not known is left out."""
    before, after = record.environment["before"], record.environment["after"]
    facts = [("architecture", record.bundle.architecture), ("labels", ", ".join(record.bundle.labels))]
    for key in (
        "model",
        "cpu",
        "cores",
        "memory_mib",
        "kernel",
        "libc",
        "python",
        "packages",
        "governors",
        "power_mode",
    ):
        if before.get(key):
            facts.append((key.replace("_mib", ", MiB").replace("_", " "), _words(before[key])))
    for key in ("frequencies_mhz", "temperatures_c", "load_average", "throttled"):
        if before.get(key) or after.get(key):
            name = key.replace("_mhz", ", MHz").replace("_c", ", °C").replace("_", " ")
            facts.append((name, f"{_words(before.get(key))} before; {_words(after.get(key))} after"))
    runs = sum(m.latency.runs for m in record.measurements)
    facts.append(("timed runs", f"{runs:,} in {sum(m.latency.seconds for m in record.measurements):.0f} s"))
    return facts


def _words(value: Any) -> str:
    """Return plain data as a short text."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(_words(v) for v in value) or "none"
    return "–" if value is None else str(value)
