"""What a record of an emulated board holds: counted instructions, and milliseconds that were estimated from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from edgefer.bench._fields import Fields, short
from edgefer.errors import RecordError
from edgefer.manifest import Size


@dataclass(frozen=True)
class Emulator:
    """What ran the foreign instructions."""

    cpu: str
    """The emulated one, such as `cortex-a72`."""
    program: str
    """Such as `qemu-aarch64 7.2.22`."""
    system: str
    """Where the C library and Python come from, such as `Debian bookworm arm64, Python 3.11.2`."""

    @classmethod
    def from_dict(cls, data: Any) -> Emulator:
        """Return the emulator of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "emulator")
        found = cls(**{f.name: entry.take(f.name, str) for f in fields(cls)})
        entry.done()
        return found


@dataclass(frozen=True)
class Instructions:
    """What one inference executes, in one thread; the classes add up to the total."""

    total: int
    integer: int
    """Everything that is none of the others."""
    simd: int
    """SIMD and floating-point arithmetic, but for `dot`."""
    dot: int
    """SDOT and UDOT, which multiply and add four int8 numbers a lane at once."""
    load_store: int
    branch: int
    """Branches, exceptions and system instructions."""


@dataclass(frozen=True)
class Emulation:
    """One artifact in one engine on an emulated CPU, held against this host."""

    engine: str
    engine_version: str
    provider: str
    artifact: str
    precision: str
    bytes: int
    faces: int
    """How many pictures were compared."""
    bit_identical: bool
    """Whether every number of the answers had the same bits as on the host."""
    same_label: float
    """Part of the pictures with the same most likely label, or with faces in the same cells of a detector, 0–1."""
    max_difference: float
    instructions: Instructions
    repeats: tuple[int, ...]
    """The total in each of several fresh processes."""
    size: Size | None = None
    """Height and width of the pictures that a detector's artifact takes; None for a classifier's."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = asdict(self) | {"repeats": list(self.repeats)}
        size = data.pop("size")
        return data | ({} if size is None else {"size": list(size)})

    @classmethod
    def from_dict(cls, data: Any) -> Emulation:
        """Return the emulation of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "emulation")
        counts = Fields(entry.take("instructions", dict), "instructions")
        instructions = Instructions(**{f.name: counts.whole(f.name) for f in fields(Instructions)})
        counts.done()
        parts = sum(getattr(instructions, f.name) for f in fields(Instructions) if f.name != "total")
        if parts != instructions.total:
            raise RecordError(f"the classes of instructions add up to {parts}, not {instructions.total}; measure again")
        repeats = entry.take("repeats", list)
        if not repeats or not all(type(n) is int and n > 0 for n in repeats):
            raise RecordError(f"'repeats' must be counts of instructions, found {short(repeats)}; measure again")
        found = cls(
            **{
                name: entry.take(name, str)
                for name in ("engine", "engine_version", "provider", "artifact", "precision")
            },
            bytes=entry.whole("bytes"),
            faces=entry.whole("faces"),
            bit_identical=entry.take("bit_identical", bool),
            same_label=entry.number("same_label"),
            max_difference=entry.number("max_difference"),
            instructions=instructions,
            repeats=tuple(repeats),
            size=entry.size("size"),
        )
        entry.done()
        return found


@dataclass(frozen=True)
class Estimate:
    """Milliseconds that were calculated from counted instructions and a calibration on a real board."""

    engine: str
    artifact: str
    precision: str
    instructions: int
    ms: float
    """The estimate of p50, one thread."""
    error: float
    """How far such estimates were off for what the board itself had measured, as a fraction; the worst of them."""

    @classmethod
    def from_dict(cls, data: Any) -> Estimate:
        """Return the estimate of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "estimate")
        found = cls(
            **{name: entry.take(name, str) for name in ("engine", "artifact", "precision")},
            instructions=entry.whole("instructions"),
            ms=entry.number("ms"),
            error=entry.number("error"),
        )
        entry.done()
        return found
