"""Milliseconds from counted instructions: only with a calibration on a real board, and never without its error.

A calibration is one factor, milliseconds for a million instructions, over everything that was both measured on the
board and counted for it: the geometric mean. A factor for each engine and precision would fit better and say less: it
would rest on one figure each, and nothing would be left to tell how far it is off. The error is the worst of what
happens when each figure in turn is estimated from the others alone, which is what an estimate does.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import fmean
from typing import Any

from edgefer.bench._fields import Fields, date, short, texts
from edgefer.bench.counted import Emulation, Emulator, Estimate
from edgefer.bench.record import BenchRecord, read_json, write_json
from edgefer.bench.rows import Measurement
from edgefer.errors import RecordError

SCHEMA = 1
KIND = "calibration"
MIN_ROWS = 3
"""With fewer, leaving one out leaves nothing that could disagree."""
MAX_ROWS = 1000
MAX_MS = 1e6
MAX_INSTRUCTIONS = 10**15
CLOSE = 1e-6
ADVICE = "make it again with: edgefer bench calibrate"


@dataclass(frozen=True)
class Figure:
    """One artifact in one engine and one thread: measured on the board, and counted for it."""

    engine: str
    engine_version: str
    artifact: str
    precision: str
    instructions: int
    ms: float
    """p50."""

    def __post_init__(self) -> None:
        """Raise RecordError for figures that no board gives."""
        if not (0 < self.instructions <= MAX_INSTRUCTIONS and 1 / MAX_MS <= self.ms <= MAX_MS):
            raise RecordError(
                f"{short(self.artifact)}: {self.ms:.3g} ms for {self.instructions:.3g} instructions is out of range;"
                " measure again"
            )

    @property
    def log_factor(self) -> float:
        """Logarithm of the milliseconds for a million instructions."""
        return math.log(self.ms / self.instructions * 1e6)


@dataclass(frozen=True)
class Source:
    """A record that a calibration was made from."""

    command: str
    created: str


@dataclass(frozen=True)
class Calibration:
    """What a million instructions take on a board."""

    device: str
    emulator: Emulator
    bundle: str
    """Name of the bundle that was measured and counted."""
    digest: str
    measured: Source
    emulated: Source
    created: str
    """ISO 8601, UTC."""
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise RecordError when there are too few figures to tell an error."""
        if not MIN_ROWS <= len(self.figures) <= MAX_ROWS:
            raise RecordError(
                f"a calibration needs {MIN_ROWS}–{MAX_ROWS} rows that were both measured and counted with the same"
                f" engine version, found {len(self.figures)}: from fewer no error can be told; measure more engines"
                " and precisions with --threads 1"
            )

    @property
    def factor(self) -> float:
        """Milliseconds for a million instructions."""
        return math.exp(fmean([f.log_factor for f in self.figures]))

    @property
    def error(self) -> float:
        """How far the worst figure is off when it is estimated from the others, 0.2 = 20 %, up or down."""
        logs = [f.log_factor for f in self.figures]
        worst = max(abs(log - fmean([*logs[:i], *logs[i + 1 :]])) for i, log in enumerate(logs))
        return math.exp(worst) - 1

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = asdict(self)
        data["figures"], data["notes"] = [asdict(f) for f in self.figures], list(self.notes)
        return {"schema": SCHEMA, "kind": KIND, "ms_per_million": self.factor, "error": self.error, **data}

    @classmethod
    def from_dict(cls, data: Any) -> Calibration:
        """Return the calibration of such data; raises RecordError that says what is wrong."""
        entry = Fields(data, KIND)
        schema = entry.take("schema", int)
        if schema != SCHEMA:
            advice = "install a newer edgefer" if schema > SCHEMA else ADVICE
            raise RecordError(f"schema is {short(schema)}, this version reads {SCHEMA}; {advice}")
        entry.choice("kind", [KIND])
        factor, error = entry.number("ms_per_million"), entry.number("error")
        found = cls(
            device=entry.take("device", str),
            emulator=Emulator.from_dict(entry.take("emulator", dict)),
            bundle=entry.take("bundle", str),
            digest=entry.take("digest", str),
            measured=_source(entry, "measured"),
            emulated=_source(entry, "emulated"),
            created=date(entry.take("created", str)),
            figures=tuple(_figure(figure) for figure in entry.take("figures", list)),
            notes=tuple(texts(entry.take("notes", list), "notes")),
        )
        entry.done()
        for what, stated, counted in (("ms_per_million", factor, found.factor), ("error", error, found.error)):
            if not math.isclose(stated, counted, rel_tol=CLOSE, abs_tol=CLOSE * CLOSE):
                raise RecordError(f"{what!r} is {stated:.6g}, but the figures give {counted:.6g}; {ADVICE}")
        return found


def calibrate(measured: BenchRecord, emulated: BenchRecord) -> Calibration:
    """Return what a million instructions take, from a bundle measured on a real board and counted on an emulated one.

    Raises RecordError for records that do not belong together, or with fewer than MIN_ROWS figures in both.
    """
    if (measured.kind, emulated.kind) != ("measured", "emulated"):
        raise RecordError(
            f"a calibration needs a record that was measured on the board, then one that was emulated; found one that"
            f" was {measured.kind} and one that was {emulated.kind}"
        )
    emulator = _usable(emulated)
    if not measured.valid:
        raise RecordError(
            f"the measured record is not valid: {short('; '.join(measured.invalid_reasons))}; measure again"
        )
    for what, first, second in (
        ("boards", measured.device, emulated.device),
        ("bundles", measured.bundle.digest, emulated.bundle.digest),
    ):
        if first != second:
            raise RecordError(
                f"the {what} differ: {short(first)} was measured, {short(second)} emulated; take the same"
            )
    counted = {(e.engine, e.artifact, e.precision): e for e in emulated.emulations}
    if len(counted) < len(emulated.emulations):
        raise RecordError("the emulated record has an artifact twice in the same engine; emulate again")
    figures, notes = [], []
    for m in measured.measurements:
        e = counted.get((m.engine, m.artifact, m.precision))
        if e is None or m.scope != "model" or m.threads != 1:
            continue
        if (m.engine_version, m.provider) != (e.engine_version, e.provider):
            notes.append(f"left out, for another program ran: {_program(m)} measured, {_program(e)} counted")
            continue
        figures.append(Figure(m.engine, m.engine_version, m.artifact, m.precision, e.instructions.total, m.latency.p50))
    if len({(f.engine, f.artifact, f.precision) for f in figures}) < len(figures):
        raise RecordError("the measured record has an artifact twice in the same engine; measure again")
    if measured.quick:
        notes.append("the measurement was quick, too short for a figure to be published")
    notes += [f"the measurement was noisy: {reason}" for reason in measured.noisy_reasons]
    return Calibration(
        device=measured.device,
        emulator=emulator,
        bundle=measured.bundle.name,
        digest=measured.bundle.digest,
        measured=Source(measured.command, measured.created),
        emulated=Source(emulated.command, emulated.created),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        figures=tuple(figures),
        notes=tuple(notes),
    )


def estimate(emulated: BenchRecord, calibration: Calibration, command: str) -> BenchRecord:
    """Return a record of kind `estimated` with the milliseconds of everything that `emulated` counted.

    `command` is what was called. Raises RecordError when the calibration is of another board or CPU, or when the record
    is none of an emulator.
    """
    if emulated.kind != "emulated":
        raise RecordError(f"only a record that was emulated can be estimated from, found one that was {emulated.kind}")
    emulator = _usable(emulated)
    for what, first, second in (
        ("board", calibration.device, emulated.device),
        ("processor", calibration.emulator.cpu, emulator.cpu),
    ):
        if first != second:
            raise RecordError(f"the calibration is of another {what}: {short(first)}, not {short(second)}")
    factor, error = calibration.factor, calibration.error
    estimates = []
    for e in emulated.emulations:
        total = e.instructions.total
        if not 0 < total <= MAX_INSTRUCTIONS:
            raise RecordError(f"{short(e.artifact)}: {total:.3g} instructions are out of range; emulate again")
        estimates.append(Estimate(e.engine, e.artifact, e.precision, total, total / 1e6 * factor, error))
    return BenchRecord(
        kind="estimated",
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device=emulated.device,
        environment=emulated.environment,
        bundle=emulated.bundle,
        quick=emulated.quick,
        noisy_reasons=emulated.noisy_reasons,
        notes=(*emulated.notes, *_doubts(emulated, emulator, calibration)),
        emulator=emulator,
        estimates=tuple(estimates),
    )


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON, wholly or not at all; raises RecordError when it cannot be written."""
    write_json(calibration.as_dict(), path)


def read_calibration(path: Path) -> Calibration:
    """Read a calibration; raises RecordError for a file that is missing, too large, not JSON, too new or malformed."""
    data = read_json(path, "make one with: edgefer bench calibrate")
    try:
        return Calibration.from_dict(data)
    except RecordError as problem:
        raise RecordError(f"{path}: {problem}") from problem
    except RecursionError as problem:
        raise RecordError(f"{path} is nested too deeply to be a calibration; {ADVICE}") from problem


def _usable(emulated: BenchRecord) -> Emulator:
    """Return the emulator; raises RecordError when the record is no evidence."""
    if emulated.emulator is None or not emulated.valid:
        why = short("; ".join(emulated.invalid_reasons)) if emulated.invalid_reasons else "it names no emulator"
        raise RecordError(f"the emulated record is not valid: {why}; emulate again")
    return emulated.emulator


def _doubts(emulated: BenchRecord, emulator: Emulator, calibration: Calibration) -> list[str]:
    """Return what an estimate rests on, and where it goes beyond what the calibration has seen."""
    notes = [
        f"estimated with a calibration of {len(calibration.figures)} figures from {calibration.measured.created}:"
        f" {calibration.factor:.4g} ms for a million instructions"
    ]
    if calibration.digest != emulated.bundle.digest:
        notes.append(f"the calibration was taken with another bundle, {calibration.bundle} ({calibration.digest[:8]})")
    if (calibration.emulator.program, calibration.emulator.system) != (emulator.program, emulator.system):
        notes.append(f"the calibration was counted with {calibration.emulator.program}, {calibration.emulator.system}")
    known = {(f.engine, f.engine_version, f.precision) for f in calibration.figures}
    for e in emulated.emulations:
        if (e.engine, e.engine_version, e.precision) not in known:
            notes.append(f"the calibration has no figure of {_program(e)} {e.precision}, so its error may be larger")
    totals = [f.instructions for f in calibration.figures]
    if any(not min(totals) <= e.instructions.total <= max(totals) for e in emulated.emulations):
        notes.append(
            f"the calibration is of {min(totals):,}–{max(totals):,} instructions; beyond, its error may be larger"
        )
    return notes + list(calibration.notes)


def _program(row: Measurement | Emulation) -> str:
    return f"{row.engine} {row.engine_version} ({row.provider})"


def _figure(data: Any) -> Figure:
    entry = Fields(data, "figure")
    words = {name: entry.take(name, str) for name in ("engine", "engine_version", "artifact", "precision")}
    found = Figure(**words, instructions=entry.whole("instructions"), ms=entry.number("ms"))
    entry.done()
    return found


def _source(entry: Fields, name: str) -> Source:
    fields_of = Fields(entry.take(name, dict), name)
    found = Source(fields_of.take("command", str), date(fields_of.take("created", str)))
    fields_of.done()
    return found
