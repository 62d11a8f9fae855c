"""BenchRecord: what was measured, on what, whether it is evidence. Versioned JSON, read strictly, written wholly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgefer import files
from edgefer.bench._fields import Fields, date, refuse_not_finite, short, texts
from edgefer.bench.environment import validity
from edgefer.bench.latency import Latency
from edgefer.bundle import Bundle
from edgefer.errors import RecordError

SCHEMA = 1
MAX_BYTES = 50_000_000
KINDS = ("measured", "emulated", "estimated")
SCOPES = ("model", "pipeline")


@dataclass(frozen=True)
class BundleIdentity:
    """Which bundle was measured; `digest` is the SHA-256 of its manifest."""

    name: str
    architecture: str
    digest: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Measurement:
    """One artifact in one engine: how fast it is alone (`model`), or with everything around it (`pipeline`)."""

    scope: str
    engine: str
    engine_version: str
    provider: str
    """What really ran it."""
    artifact: str
    precision: str
    bytes: int
    threads: int
    latency: Latency
    load_ms: float | None = None
    """Fresh process: reading and checking the file, importing the runtime, building the model. None for `pipeline`."""
    first_ms: float | None = None
    """The first inference after that. None for `pipeline`."""
    faces: int | None = None
    """Faces drawn into each frame; None for `model`."""
    faces_found: float | None = None
    """Faces that the pipeline found in a frame, on average; None for `model`."""
    detector: str | None = None
    stages_ms: Mapping[str, Mapping[str, float]] | None = None
    """Stage → p50 and p99; None for `model`."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = asdict(self)
        latency = data.pop("latency")
        return data | {"runs": latency.pop("runs"), "seconds": latency.pop("seconds"), "latency_ms": latency}

    @classmethod
    def from_dict(cls, data: Any) -> Measurement:
        """Return the measurement of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "measurement")
        latency = Fields(entry.take("latency_ms", dict), "latency_ms")
        names = ("mean", "std", "min", "p50", "p90", "p95", "p99", "max")
        figures = {name: latency.number(name) for name in names}
        latency.done()
        measurement = cls(
            scope=entry.choice("scope", SCOPES),
            engine=entry.take("engine", str),
            engine_version=entry.take("engine_version", str),
            provider=entry.take("provider", str),
            artifact=entry.take("artifact", str),
            precision=entry.take("precision", str),
            bytes=entry.whole("bytes"),
            threads=entry.whole("threads"),
            latency=Latency(runs=entry.whole("runs"), seconds=entry.number("seconds"), **figures),
            load_ms=entry.optional_number("load_ms"),
            first_ms=entry.optional_number("first_ms"),
            faces=None if entry.is_null("faces") else entry.whole("faces"),
            faces_found=entry.optional_number("faces_found"),
            detector=None if entry.is_null("detector") else entry.take("detector", str),
            stages_ms=None if entry.is_null("stages_ms") else _stages(entry.take("stages_ms", dict)),
        )
        entry.done()
        return measurement


@dataclass(frozen=True)
class BenchRecord:
    """The result of one benchmark run."""

    command: str
    """What was called, for whoever wants to repeat it."""
    created: str
    """ISO 8601, UTC."""
    device: str
    """Name of the device profile that was detected."""
    environment: Mapping[str, Any]
    """`before` and `after`: two snapshots."""
    bundle: BundleIdentity
    measurements: tuple[Measurement, ...]
    kind: str = "measured"
    quick: bool = False
    """Whether it was too short for a figure to be published."""
    invalid_reasons: tuple[str, ...] = ()
    bit_identical: bool | None = None
    """Kind `emulated`: whether the results were those of the host, bit by bit."""
    instructions_per_inference: int | None = None
    """Kind `emulated`."""

    @property
    def valid(self) -> bool:
        """Whether nothing was found that makes the figures no evidence."""
        return not self.invalid_reasons

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = {
            "schema": SCHEMA,
            "kind": self.kind,
            "quick": self.quick,
            "command": self.command,
            "created": self.created,
            "device": self.device,
            "valid": self.valid,
            "invalid_reasons": list(self.invalid_reasons),
            "bundle": asdict(self.bundle) | {"labels": list(self.bundle.labels)},
            "environment": dict(self.environment),
            "measurements": [m.as_dict() for m in self.measurements],
        }
        if self.kind == "emulated":
            data |= {
                "bit_identical": self.bit_identical,
                "instructions_per_inference": self.instructions_per_inference,
            }
        return data

    @classmethod
    def from_dict(cls, data: Any) -> BenchRecord:
        """Return the record of such data; raises RecordError that says what is wrong."""
        entry = Fields(data, "record")
        schema = entry.take("schema", int)
        if schema != SCHEMA:
            advice = "install a newer edgefer" if schema > SCHEMA else "measure again"
            raise RecordError(f"schema is {schema}, this version reads {SCHEMA}; {advice}")
        kind = entry.choice("kind", KINDS)
        reasons = tuple(texts(entry.take("invalid_reasons", list), "invalid_reasons"))
        if entry.take("valid", bool) != (not reasons):
            raise RecordError("valid and invalid_reasons contradict each other; measure again")
        environment = entry.take("environment", dict)
        if set(environment) != {"before", "after"} or not all(isinstance(v, dict) for v in environment.values()):
            raise RecordError("environment must hold two snapshots, before and after; measure again")
        refuse_not_finite(environment)
        identity = Fields(entry.take("bundle", dict), "bundle")
        bundle = BundleIdentity(
            name=identity.take("name", str),
            architecture=identity.take("architecture", str),
            digest=identity.take("digest", str),
            labels=tuple(texts(identity.take("labels", list), "labels")),
        )
        identity.done()
        emulated = kind == "emulated"
        record = cls(
            command=entry.take("command", str),
            created=date(entry.take("created", str)),
            device=entry.take("device", str),
            environment=environment,
            bundle=bundle,
            measurements=tuple(Measurement.from_dict(m) for m in entry.take("measurements", list)),
            kind=kind,
            quick=entry.take("quick", bool),
            invalid_reasons=reasons,
            bit_identical=entry.take("bit_identical", bool) if emulated else None,
            instructions_per_inference=entry.whole("instructions_per_inference") if emulated else None,
        )
        entry.done()
        return record


def identity(bundle: Bundle) -> BundleIdentity:
    """Return which bundle it is."""
    return BundleIdentity(bundle.name, bundle.architecture, bundle.digest(), bundle.labels)


def new_record(
    command: str,
    quick: bool,
    device: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    bundle: Bundle,
    measurements: Sequence[Measurement],
) -> BenchRecord:
    """Return the record of measurements taken here and now between two environment snapshots."""
    return BenchRecord(
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device=device,
        environment={"before": dict(before), "after": dict(after)},
        bundle=identity(bundle),
        measurements=tuple(measurements),
        quick=quick,
        invalid_reasons=tuple(validity(before, after)),
    )


def write_record(record: BenchRecord, path: Path) -> None:
    """Write a record as JSON, wholly or not at all.

    Raises RecordError when it cannot be written, or when a number in it is not finite.
    """
    try:
        text = json.dumps(record.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        files.write_text(path, text)
    except ValueError as error:
        raise RecordError(f"the record is not written: {error}") from error
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def read_record(path: Path) -> BenchRecord:
    """Read a record; raises RecordError for a file that is missing, too large, not JSON, too new or malformed."""
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecordError(
            f"cannot read the record {path}: {error.strerror}; make one with: edgefer bench --json {path}"
        ) from error
    if len(text) > MAX_BYTES:
        raise RecordError(f"{path} is larger than {MAX_BYTES:,} bytes: not a record")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not JSON: {str(error)[:200]}; measure again") from error
    try:
        return BenchRecord.from_dict(data)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{path} is nested too deeply to be a record; measure again") from error


def _stages(data: Any) -> dict[str, dict[str, float]]:
    result = {}
    for name, figures in data.items():
        entry = Fields(figures, f"stage {short(name)}")
        result[name] = {key: entry.number(key) for key in ("p50", "p99")}
        entry.done()
    return result
