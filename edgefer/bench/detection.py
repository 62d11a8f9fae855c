"""DetectionRecord: what face detectors find and cost, on what. Versioned JSON, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgefer.average_precision import Comparison, Detection, Interval
from edgefer.bench import _detected
from edgefer.bench._fields import Fields, date, refuse_not_finite, short, texts
from edgefer.bench._figures import ADVICE, text
from edgefer.bench.rows import BundleIdentity
from edgefer.errors import RecordError

SCHEMA = 1
KIND = "measured"
TASK = "detect"
"""Tells these records from those of `edgefer bench`, which are measured, too."""
LARGE = 24.0
"""Pixels at the size that a detector looks at: the longer side of the faces that `Row.large` is about."""
MAX_ROWS = 100
MAX_CLIPS = 100
MAX_ROUNDS = 1000


@dataclass(frozen=True)
class Speed:
    """Milliseconds of a frame."""

    p50: float
    """Over the frames of all rounds."""
    rounds: tuple[float, ...]
    """Medians of the rounds, in the order of time; in each round the detectors took turns."""


@dataclass(frozen=True)
class Model:
    """What a detector runs."""

    name: str
    """Of the file; in a bundle its path."""
    bytes: int
    sha256: str
    engine: str
    """What runs it, with its version."""
    precision: str
    """Empty where the file does not tell."""


@dataclass(frozen=True)
class Row:
    """A detector at a size, on all scenes."""

    detector: str
    size: int
    """Pixels of the longer side of what it looks at."""
    model: Model
    ranked_by: str
    """What its finds are put in order by: `score`, or for a cascade `level weight`."""
    every: Detection
    """On faces of all sizes, and by size."""
    large: Detection
    """On those of `LARGE` pixels or more."""
    fitted: tuple[float, Interval] | None
    """Average precision on the latter with its interval, boxes made as high and wide as labels are; None where not."""
    ms: Speed

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        fitted = None if self.fitted is None else {"average_precision": self.fitted[0], "ci95": list(self.fitted[1])}
        return {
            "detector": self.detector,
            "size": self.size,
            "model": asdict(self.model),
            "ranked_by": self.ranked_by,
            "every": self.every.as_dict(),
            "large": self.large.as_dict(),
            "fitted": fitted,
            "ms": {"p50": self.ms.p50, "rounds": list(self.ms.rounds)},
        }

    @classmethod
    def from_dict(cls, data: Any) -> Row:
        """Return the row of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "row")
        fitted = None
        if not entry.is_null("fitted"):
            part = Fields(entry.take("fitted", dict), "fitted")
            value, interval = _detected.share(part, "average_precision"), _detected.interval(part, "ci95", 1)
            fitted = (value, interval)
            part.done()
        found = cls(
            detector=text(entry, "detector"),
            size=entry.whole("size"),
            model=_model(entry.take("model", dict)),
            ranked_by=text(entry, "ranked_by"),
            every=_detected.detection(entry.take("every", dict)),
            large=_detected.detection(entry.take("large", dict)),
            fitted=fitted,
            ms=_speed(entry.take("ms", dict)),
        )
        entry.done()
        return found


@dataclass(frozen=True)
class Against:
    """The first detector beside another at the same size."""

    detector: str
    other: str
    size: int
    accuracy: Comparison | None
    """Of the average precision on large faces; None where the other found none of them."""
    ms: float
    """Milliseconds of the first over those of the other: median over the rounds."""
    ms_range: Interval
    """The lowest and the highest of a round."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        accuracy = None if self.accuracy is None else self.accuracy.as_dict()
        return vars(self) | {"accuracy": accuracy, "ms_range": list(self.ms_range)}

    @classmethod
    def from_dict(cls, data: Any) -> Against:
        """Return the comparison of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "against")
        found = cls(
            detector=text(entry, "detector"),
            other=text(entry, "other"),
            size=entry.whole("size"),
            accuracy=None if entry.is_null("accuracy") else _detected.comparison(entry.take("accuracy", dict)),
            ms=entry.number("ms"),
            ms_range=_detected.interval(entry, "ms_range"),
        )
        entry.done()
        return found


@dataclass(frozen=True)
class OnClip:
    """A detector on the frames of a clip, one after the other."""

    detector: str
    size: int
    continuous: bool
    """Whether it was told that each frame follows the one before, as `edgefer run` tells it."""
    with_a_face: int
    """Frames in which it found one."""
    faces: int
    """In all frames together."""
    p50: float
    """Milliseconds of a frame."""
    mean: float

    @classmethod
    def from_dict(cls, data: Any, frames: int) -> OnClip:
        """Return the row of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "clip row")
        found = cls(
            detector=text(entry, "detector"),
            size=entry.whole("size"),
            continuous=entry.take("continuous", bool),
            with_a_face=entry.whole("with_a_face"),
            faces=entry.whole("faces"),
            p50=entry.number("p50"),
            mean=entry.number("mean"),
        )
        entry.done()
        if found.with_a_face > min(frames, found.faces):
            raise RecordError(f"clip: {found.with_a_face} of {frames} frames have one of {found.faces} faces; {ADVICE}")
        return found


@dataclass(frozen=True)
class Clip:
    """A clip and what each detector made of it. Nobody labelled it: more frames with a face are not always better."""

    name: str
    frames: int
    rows: tuple[OnClip, ...]

    @classmethod
    def from_dict(cls, data: Any) -> Clip:
        """Return the clip of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "clip")
        frames = entry.whole("frames")
        rows = tuple(OnClip.from_dict(row, frames) for row in _few(entry, "rows", MAX_ROWS))
        found = cls(text(entry, "name"), frames, rows)
        entry.done()
        return found


@dataclass(frozen=True)
class DetectionRecord:
    """The result of one `edgefer evaluate --task detect`."""

    command: str
    created: str
    """ISO 8601, UTC."""
    device: str
    """Name of this machine's profile."""
    environment: Mapping[str, Any]
    """`before` and `after`: two snapshots of the machine."""
    bundle: BundleIdentity | None
    """Of edgefer's own detector, where it is among them."""
    split: str
    data: str
    """SHA-256 of pictures and labels: equal for records on the same scenes."""
    pictures: int
    skipped: int
    """Pictures that could not be read."""
    frame_side: int
    """Longer side of the frames that the milliseconds are of."""
    rows: tuple[Row, ...]
    against: tuple[Against, ...] = ()
    clips: tuple[Clip, ...] = ()
    invalid_reasons: tuple[str, ...] = ()
    """Why the milliseconds are no evidence: the machine was slowed down."""
    noisy_reasons: tuple[str, ...] = ()
    """Why they are less exact than they could be: something else was busy."""
    notes: tuple[str, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether nothing was found that makes the figures no evidence."""
        return not self.invalid_reasons

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        clips = [{"name": c.name, "frames": c.frames, "rows": [asdict(row) for row in c.rows]} for c in self.clips]
        return {
            "schema": SCHEMA,
            "task": TASK,
            "kind": KIND,
            "command": self.command,
            "created": self.created,
            "device": self.device,
            "valid": self.valid,
            "invalid_reasons": list(self.invalid_reasons),
            "noisy_reasons": list(self.noisy_reasons),
            "notes": list(self.notes),
            "bundle": None if self.bundle is None else self.bundle.as_dict(),
            "split": self.split,
            "data": self.data,
            "pictures": self.pictures,
            "skipped": self.skipped,
            "frame_side": self.frame_side,
            "rows": [row.as_dict() for row in self.rows],
            "against": [one.as_dict() for one in self.against],
            "clips": clips,
            "environment": dict(self.environment),
        }

    @classmethod
    def from_dict(cls, data: Any) -> DetectionRecord:
        """Return the record of such data; raises RecordError that says what is wrong."""
        entry = Fields(data, "detection record")
        schema = entry.take("schema", int)
        if schema != SCHEMA:
            advice = "install a newer edgefer" if schema > SCHEMA else ADVICE
            raise RecordError(f"schema is {short(schema)}, this version reads {SCHEMA}; {advice}")
        entry.choice("task", (TASK,))
        entry.choice("kind", (KIND,))
        reasons = _texts(entry, "invalid_reasons")
        if entry.take("valid", bool) != (not reasons):
            raise RecordError(f"valid and invalid_reasons contradict each other; {ADVICE}")
        environment = entry.take("environment", dict)
        if set(environment) != {"before", "after"} or not all(isinstance(v, dict) for v in environment.values()):
            raise RecordError(f"environment must hold two snapshots, before and after; {ADVICE}")
        refuse_not_finite(environment)
        rows = tuple(Row.from_dict(row) for row in _few(entry, "rows", MAX_ROWS))
        if not rows:
            raise RecordError(f"a record of detectors needs a row; {ADVICE}")
        found = cls(
            command=text(entry, "command"),
            created=date(text(entry, "created")),
            device=text(entry, "device"),
            environment=environment,
            bundle=None if entry.is_null("bundle") else BundleIdentity.from_dict(entry.take("bundle", dict)),
            split=text(entry, "split"),
            data=text(entry, "data"),
            pictures=entry.whole("pictures"),
            skipped=entry.whole("skipped"),
            frame_side=entry.whole("frame_side"),
            rows=rows,
            against=tuple(Against.from_dict(one) for one in _few(entry, "against", MAX_ROWS)),
            clips=tuple(Clip.from_dict(clip) for clip in _few(entry, "clips", MAX_CLIPS)),
            invalid_reasons=reasons,
            noisy_reasons=_texts(entry, "noisy_reasons"),
            notes=_texts(entry, "notes"),
        )
        entry.done()
        for row in rows:
            if {row.every.pictures, row.large.pictures} != {found.pictures}:
                raise RecordError(f"a row is not on the {found.pictures:,} pictures of the record; {ADVICE}")
        return found


def is_detection(data: Any) -> bool:
    """Return whether plain data from a file means to be a record of detectors."""
    return isinstance(data, dict) and data.get("task") == TASK


def _few(entry: Fields, name: str, most: int) -> list[Any]:
    values: list[Any] = entry.take(name, list)
    if len(values) > most:
        raise RecordError(f"{name!r} has more than {most:,} entries; {ADVICE}")
    return values


def _texts(entry: Fields, name: str) -> tuple[str, ...]:
    return tuple(texts(entry.take(name, list), name))


def _model(data: Any) -> Model:
    entry = Fields(data, "model")
    names = ("name", "sha256", "engine", "precision")
    found = Model(**{name: text(entry, name) for name in names}, bytes=entry.whole("bytes"))
    entry.done()
    return found


def _speed(data: Any) -> Speed:
    entry = Fields(data, "ms")
    rounds = entry.numbers("rounds")
    if len(rounds) > MAX_ROUNDS:
        raise RecordError(f"'rounds' has more than {MAX_ROUNDS:,} entries; {ADVICE}")
    found = Speed(entry.number("p50"), tuple(rounds))
    entry.done()
    return found
