"""BenchRecord: what was measured, on what, whether it is evidence. Versioned JSON, read strictly, written wholly.

`record.schema.json` beside this file describes the same as JSON Schema, for programs of others.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefer import files
from edgefer.bench._fields import Fields, date, refuse_not_finite, short, texts
from edgefer.bench.counted import Emulation, Emulator, Estimate
from edgefer.bench.rows import BundleIdentity, Measurement, Score, Sustained
from edgefer.bench.trace import Trace
from edgefer.errors import RecordError

SCHEMA = 2
MAX_BYTES = 50_000_000
KINDS = ("measured", "emulated", "estimated")


@dataclass(frozen=True)
class BenchRecord:
    """The result of one benchmark run."""

    command: str
    """What was called, for whoever wants to repeat it."""
    created: str
    """ISO 8601, UTC."""
    device: str
    """Name of the device profile: of this machine, or of the board that was emulated."""
    environment: Mapping[str, Any]
    """`before` and `after`: two snapshots of the machine that did the work, the host of an emulator too."""
    bundle: BundleIdentity
    measurements: tuple[Measurement, ...] = ()
    """Kind `measured`."""
    kind: str = "measured"
    quick: bool = False
    """Whether it was too short for a figure to be published."""
    invalid_reasons: tuple[str, ...] = ()
    """Why the figures are no evidence: the machine was slowed down."""
    noisy_reasons: tuple[str, ...] = ()
    """Why the figures are less exact than they could be: something else was busy."""
    notes: tuple[str, ...] = ()
    """What whoever reads the figures should know."""
    sustained: Sustained | None = None
    """Kind `measured`."""
    scores: tuple[Score, ...] = ()
    """Kind `measured`."""
    trace: Trace | None = None
    """Heat, clock and power while it was measured."""
    idle_watts: float | None = None
    """Of the whole board before it began; None where it does not tell."""
    emulator: Emulator | None = None
    """Kinds `emulated` and `estimated`."""
    emulations: tuple[Emulation, ...] = ()
    """Kind `emulated`; first the one that the device prefers."""
    estimates: tuple[Estimate, ...] = ()
    """Kind `estimated`."""

    @property
    def valid(self) -> bool:
        """Whether nothing was found that makes the figures no evidence."""
        return not self.invalid_reasons

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "kind": self.kind,
            "quick": self.quick,
            "command": self.command,
            "created": self.created,
            "device": self.device,
            "valid": self.valid,
            "invalid_reasons": list(self.invalid_reasons),
            "noisy_reasons": list(self.noisy_reasons),
            "notes": list(self.notes),
            "bundle": self.bundle.as_dict(),
            "environment": dict(self.environment),
        }
        if self.kind == "measured":
            return data | {
                "measurements": [m.as_dict() for m in self.measurements],
                "sustained": None if self.sustained is None else self.sustained.as_dict(),
                "scores": [s.as_dict() for s in self.scores],
                "trace": None if self.trace is None else self.trace.as_dict(),
                "idle_watts": self.idle_watts,
            }
        data["emulator"] = None if self.emulator is None else asdict(self.emulator)
        if self.kind == "estimated":
            return data | {"estimates": [asdict(e) for e in self.estimates]}
        return data | {
            "bit_identical": self.emulations[0].bit_identical,
            "instructions_per_inference": self.emulations[0].instructions.total,
            "emulations": [e.as_dict() for e in self.emulations],
        }

    @classmethod
    def from_dict(cls, data: Any) -> BenchRecord:
        """Return the record of such data; raises RecordError that says what is wrong."""
        entry = Fields(data, "record")
        schema = entry.take("schema", int)
        if schema != SCHEMA:
            advice = "install a newer edgefer" if schema > SCHEMA else "measure again"
            raise RecordError(f"schema is {short(schema)}, this version reads {SCHEMA}; {advice}")
        kind = entry.choice("kind", KINDS)
        reasons = tuple(texts(entry.take("invalid_reasons", list), "invalid_reasons"))
        if entry.take("valid", bool) != (not reasons):
            raise RecordError("valid and invalid_reasons contradict each other; measure again")
        environment = entry.take("environment", dict)
        if set(environment) != {"before", "after"} or not all(isinstance(v, dict) for v in environment.values()):
            raise RecordError("environment must hold two snapshots, before and after; measure again")
        refuse_not_finite(environment)
        record = cls(
            command=entry.take("command", str),
            created=date(entry.take("created", str)),
            device=entry.take("device", str),
            environment=environment,
            bundle=BundleIdentity.from_dict(entry.take("bundle", dict)),
            kind=kind,
            quick=entry.take("quick", bool),
            invalid_reasons=reasons,
            noisy_reasons=tuple(texts(entry.take("noisy_reasons", list), "noisy_reasons")),
            notes=tuple(texts(entry.take("notes", list), "notes")),
            **_contents(entry, kind),
        )
        entry.done()
        return record


def _contents(entry: Fields, kind: str) -> dict[str, Any]:
    """Return the fields that a record of that kind has beside those of all."""
    if kind == "measured":
        return {
            "measurements": tuple(Measurement.from_dict(m) for m in entry.take("measurements", list)),
            "sustained": None if entry.is_null("sustained") else Sustained.from_dict(entry.take("sustained", dict)),
            "scores": tuple(Score.from_dict(s) for s in entry.take("scores", list)),
            "trace": None if entry.is_null("trace") else Trace.from_dict(entry.take("trace", dict)),
            "idle_watts": entry.optional_number("idle_watts"),
        }
    emulator = Emulator.from_dict(entry.take("emulator", dict))
    if kind == "estimated":
        estimates = tuple(Estimate.from_dict(e) for e in entry.take("estimates", list))
        return {"emulator": emulator, "estimates": estimates}
    emulations = tuple(Emulation.from_dict(e) for e in entry.take("emulations", list))
    if not emulations:
        raise RecordError("the record of an emulator has no emulations; measure again")
    said = entry.take("bit_identical", bool), entry.whole("instructions_per_inference")
    if said != (emulations[0].bit_identical, emulations[0].instructions.total):
        raise RecordError(
            "bit_identical or instructions_per_inference is not that of the first emulation; was it changed by hand?"
        )
    return {"emulator": emulator, "emulations": emulations}


def refuse_unwritable(path: Path) -> None:
    """Raise RecordError when no file can be made where the record is to be written: sooner than after the measuring."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def write_record(record: BenchRecord, path: Path) -> None:
    """Write a record as JSON, wholly or not at all.

    Raises RecordError when it cannot be written, or when a number in it is not finite.
    """
    write_json(record.as_dict(), path)


def write_json(data: Any, path: Path) -> None:
    """Write plain data as JSON, wholly or not at all; raises RecordError as `write_record` does."""
    try:
        files.write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    except ValueError as error:
        raise RecordError(f"{path} is not written: {error}") from error
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def read_record(path: Path) -> BenchRecord:
    """Read a record; raises RecordError for a file that is missing, too large, not JSON, too new or malformed."""
    data = read_json(path, f"make one with: edgefer bench --json {path}")
    try:
        return BenchRecord.from_dict(data)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{path} is nested too deeply to be a record; measure again") from error


def read_json(path: Path, advice: str) -> Any:
    """Return what a JSON file of bounded size and depth holds; `advice` says what to do where there is none.

    Raises RecordError.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecordError(f"cannot read the record {path}: {error.strerror}; {advice}") from error
    if len(text) > MAX_BYTES:
        raise RecordError(f"{path} is larger than {MAX_BYTES:,} bytes: not a record")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise RecordError(f"{path} is nested too deeply to be a record; measure again") from error
    except ValueError as error:
        raise RecordError(f"{path} is not JSON, perhaps cut short: {str(error)[:200]}; measure again") from error
