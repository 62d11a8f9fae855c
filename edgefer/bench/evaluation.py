"""Evaluation: how well an artifact did on labelled faces, as data. Versioned JSON, read strictly."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgefer import metrics
from edgefer.bench import _figures
from edgefer.bench._fields import Fields, date, short
from edgefer.bench.robustness import Robustness
from edgefer.bench.rows import BundleIdentity
from edgefer.bench.voted import Voted
from edgefer.errors import RecordError
from edgefer.labels import is_label

SCHEMA = 1
KIND = "evaluation"
MAX_BYTES = 5_000_000
MAX_EVALUATIONS = 256
"""In one file."""


@dataclass(frozen=True)
class Against:
    """An artifact beside another on the same pictures (`edgefer evaluate --all`: beside the float one)."""

    artifact: str
    """Path of the other in the bundle."""
    engine: str
    """What the other ran in."""
    same_label: float
    """Part of the pictures to which both give the same label, 0–1."""
    mcnemar: metrics.Mcnemar
    """First: this artifact; second: the other."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "artifact": self.artifact,
            "engine": self.engine,
            "same_label": self.same_label,
            "only_this_right": self.mcnemar.only_first_right,
            "only_other_right": self.mcnemar.only_second_right,
            "p": self.mcnemar.p,
            "difference_points": self.mcnemar.difference,
            "ci95_points": list(self.mcnemar.ci95),
        }

    @classmethod
    def from_dict(cls, data: Any, n: int) -> Against:
        """Return the comparison of such data on `n` pictures; raises RecordError when it is malformed."""
        entry = Fields(data, "against")
        first, second = (_figures.pictures(entry, name, n) for name in ("only_this_right", "only_other_right"))
        difference, interval = entry.take("difference_points", float), entry.take("ci95_points", list)
        _figures.same("'difference_points'", difference, 100 * (first - second) / n)
        if len(interval) != 2 or not all(type(v) is float for v in interval):
            raise RecordError(f"'ci95_points' must be two numbers, found {short(interval)}; {_figures.ADVICE}")
        low, high = interval
        p, agreement = entry.number("p"), entry.number("same_label")
        if max(p, agreement) > 1 or not -100 <= low <= high <= 100 or first + second > n:
            raise RecordError(f"against: its figures are out of range, found {short(data)}; {_figures.ADVICE}")
        found = cls(
            artifact=_figures.text(entry, "artifact"),
            engine=_figures.text(entry, "engine"),
            same_label=agreement,
            mcnemar=metrics.Mcnemar(n, first, second, p, difference, (low, high)),
        )
        entry.done()
        return found


@dataclass(frozen=True)
class Evaluation:
    """How well an artifact in an engine did on a split of a data set."""

    accuracy: metrics.Accuracy
    reliability: tuple[metrics.ReliabilityBin, ...]
    """How often it is right by how sure it says that it is."""
    bundle: BundleIdentity
    engine: str
    engine_version: str
    provider: str
    """What really ran it."""
    artifact: str
    """Its path in the bundle."""
    precision: str
    bytes: int
    """Size of the artifact's files."""
    split: str
    data: str
    """SHA-256 of the pictures and labels: equal for evaluations on the same faces."""
    seconds: float
    """Preprocessing and inference of all pictures."""
    created: str
    """ISO 8601, UTC."""
    command: str = ""
    """What was called, for whoever wants to repeat it; empty when a program did it."""
    skipped: int = 0
    """Pictures of the data set that could not be read."""
    votes: Voted | None = None
    """By FER+'s votes, where the data has them."""
    robustness: Robustness | None = None
    """On spoilt pictures, where asked for."""
    against: Against | None = None
    """Beside the float artifact, where several were evaluated together."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the confusion matrix."""
        return self.bundle.labels

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = {"schema": SCHEMA, "kind": KIND} | self.accuracy.as_dict()
        data |= {
            "reliability": [asdict(b) for b in self.reliability],
            "labels": list(self.labels),
            "bundle": self.bundle.as_dict(),
            "engine": self.engine,
            "engine_version": self.engine_version,
            "provider": self.provider,
            "artifact": self.artifact,
            "precision": self.precision,
            "bytes": self.bytes,
            "split": self.split,
            "data": self.data,
            "skipped": self.skipped,
            "seconds": self.seconds,
            "created": self.created,
            "command": self.command,
        }
        parts = {"votes": self.votes, "robustness": self.robustness, "against": self.against}
        return data | {name: part.as_dict() for name, part in parts.items() if part is not None}

    @classmethod
    def from_dict(cls, data: Any) -> Evaluation:
        """Return the evaluation of such data; raises RecordError that says what is wrong."""
        entry = Fields(data, "evaluation")
        entry.choice("kind", (KIND,))
        schema = entry.take("schema", int)
        if schema != SCHEMA:
            advice = "install a newer edgefer" if schema > SCHEMA else _figures.ADVICE
            raise RecordError(f"schema is {short(schema)}, this version reads {SCHEMA}; {advice}")
        bundle = _bundle(entry)
        accuracy = _figures.accuracy(entry, bundle.labels)
        n = accuracy.n
        has = data.keys()
        found = cls(
            accuracy=accuracy,
            reliability=_figures.reliability(entry.take("reliability", list), accuracy),
            bundle=bundle,
            **{
                name: _figures.text(entry, name)
                for name in ("engine", "engine_version", "provider", "artifact", "precision", "split", "data")
            },
            bytes=entry.whole("bytes"),
            seconds=entry.number("seconds"),
            created=date(_figures.text(entry, "created")),
            command=_figures.text(entry, "command"),
            skipped=entry.whole("skipped"),
            votes=Voted.from_dict(entry.take("votes", dict), bundle.labels, n) if "votes" in has else None,
            robustness=Robustness.from_dict(entry.take("robustness", dict)) if "robustness" in has else None,
            against=Against.from_dict(entry.take("against", dict), n) if "against" in has else None,
        )
        entry.done()
        if found.robustness is not None and found.robustness.n > n:
            raise RecordError(f"robustness is on {found.robustness.n:,} of {n:,} pictures; {_figures.ADVICE}")
        return found


def is_evaluation(data: Any) -> bool:
    """Return whether plain data from a file means to be evaluations: one, or the list that `--all` writes."""
    return isinstance(data, list) or (isinstance(data, dict) and data.get("kind") == KIND)


def evaluations_of(data: Any) -> tuple[Evaluation, ...]:
    """Return the evaluations of plain data, one or a list of them; raises RecordError that says what is wrong."""
    if not isinstance(data, list):
        return (Evaluation.from_dict(data),)
    if not 1 <= len(data) <= MAX_EVALUATIONS:
        raise RecordError(f"a list must hold 1–{MAX_EVALUATIONS} evaluations, found {len(data):,}; {_figures.ADVICE}")
    found = []
    for i, one in enumerate(data, start=1):
        try:
            found.append(Evaluation.from_dict(one))
        except RecordError as error:
            raise RecordError(f"evaluation {i} of {len(data)}: {error}") from error
    return tuple(found)


def read_evaluations(path: Path) -> tuple[Evaluation, ...]:
    """Read what `edgefer evaluate --json` wrote, with `--all` or without.

    Raises RecordError for a file that is missing, too large, not JSON, too new, malformed, or contradicts itself.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecordError(
            f"cannot read the evaluation {path}: {error.strerror or error};"
            f" make one with: edgefer evaluate --data PATH --json > {path}"
        ) from error
    if len(text) > MAX_BYTES:
        raise RecordError(f"{path} is larger than {MAX_BYTES:,} bytes: not an evaluation")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path} is not JSON: {short(str(error))}; {_figures.ADVICE}") from error
    try:
        return evaluations_of(data)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    except RecursionError as error:
        raise RecordError(f"{path} is nested too deeply to be an evaluation; {_figures.ADVICE}") from error


def _bundle(entry: Fields) -> BundleIdentity:
    """Take the bundle's identity and the labels, which stand beside it once more."""
    bundle = BundleIdentity.from_dict(entry.take("bundle", dict))
    try:
        json.dumps(bundle.as_dict(), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise RecordError(f"bundle: holds what no bundle has, found {short(str(error))}; {_figures.ADVICE}") from error
    labels = bundle.labels
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(map(is_label, labels)):
        raise RecordError(
            f"bundle: 'labels' must be 2 or more different names, found {short(labels)}; {_figures.ADVICE}"
        )
    if entry.take("labels", list) != list(labels):
        raise RecordError(f"'labels' are not those of the bundle, {short(labels)}; {_figures.ADVICE}")
    return bundle
