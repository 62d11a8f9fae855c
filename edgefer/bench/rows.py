"""What a record of a real machine holds, row by row: an artifact in an engine, timed or scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from edgefer.bench._fields import Fields, refuse_not_finite, short, texts
from edgefer.bench.latency import QUANTILES, Latency
from edgefer.bundle import Bundle, DetectorBundle, Size
from edgefer.errors import RecordError
from edgefer.stored import LETTERBOX

SCOPES = ("model", "pipeline", "detect")


@dataclass(frozen=True)
class BundleIdentity:
    """Which bundle it is; `digest` is the SHA-256 of its manifest."""

    name: str
    architecture: str
    digest: str
    labels: tuple[str, ...]
    preprocess: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"labels": list(self.labels)}

    @classmethod
    def from_dict(cls, data: Any) -> BundleIdentity:
        """Return the identity of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "bundle")
        found = cls(
            name=entry.take("name", str),
            architecture=entry.take("architecture", str),
            digest=entry.take("digest", str),
            labels=tuple(texts(entry.take("labels", list), "labels")),
            preprocess=entry.take("preprocess", dict),
        )
        entry.done()
        refuse_not_finite(found.preprocess)
        return found


def identity(bundle: Bundle | DetectorBundle) -> BundleIdentity:
    """Return which bundle it is."""
    taken = LETTERBOX if isinstance(bundle, DetectorBundle) else bundle.preprocess.as_dict()
    return BundleIdentity(bundle.name, bundle.architecture, bundle.digest(), bundle.labels, taken)


@dataclass(frozen=True)
class Round:
    """One fresh process: what its start cost, and the times of its runs."""

    runs: int
    p50: float
    mean: float
    load_ms: float
    """Reading and checking the file, importing the runtime, building the model."""
    first_ms: float
    """The first inference, or the first frame, after that."""
    base_mib: float | None
    """Resident memory before the runtime was loaded; None where the system does not tell."""
    peak_mib: float | None
    """The most resident memory it ever had."""

    @classmethod
    def from_dict(cls, data: Any) -> Round:
        """Return the round of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "round")
        found = cls(
            runs=entry.whole("runs"),
            **{name: entry.number(name) for name in ("p50", "mean", "load_ms", "first_ms")},
            base_mib=entry.optional_number("base_mib"),
            peak_mib=entry.optional_number("peak_mib"),
        )
        entry.done()
        return found


@dataclass(frozen=True)
class Measurement:
    """One artifact in one engine: how fast it is alone (`model`), or with everything around it.

    `pipeline` is a frame through everything with a classifier, `detect` one through a detector.
    """

    scope: str
    engine: str
    engine_version: str
    provider: str
    """What really ran it."""
    provider_wanted: str | None
    """What the device's profile prefers, where that is not what ran; None otherwise."""
    artifact: str
    precision: str
    bytes: int
    threads: int
    latency: Latency
    """Over the runs of all rounds."""
    rounds: tuple[Round, ...]
    """Fresh processes, in the order of time; the rows of a record took turns."""
    watts: float | None = None
    """Of the whole board while this row ran; None where it does not tell."""
    joules: float | None = None
    """Of the whole board for one run."""
    faces: int | None = None
    """Faces drawn into each frame; None for `model`."""
    faces_found: float | None = None
    """Faces that were found in a frame, on average; None for `model`."""
    detector: str | None = None
    stages_ms: Mapping[str, Mapping[str, float]] | None = None
    """Stage → p50 and p99, of a `pipeline`."""
    size: Size | None = None
    """Height and width of the pictures that a detector's artifact takes; None for a classifier's."""

    @property
    def load_ms(self) -> float:
        """Median over the rounds."""
        return median([r.load_ms for r in self.rounds])

    @property
    def first_ms(self) -> float:
        """Median over the rounds."""
        return median([r.first_ms for r in self.rounds])

    @property
    def peak_mib(self) -> float | None:
        """The most of all rounds."""
        return max((r.peak_mib for r in self.rounds if r.peak_mib is not None), default=None)

    @property
    def p50_range(self) -> tuple[float, float]:
        """The lowest and the highest median of a round: an interval for the median, of 97 % with six rounds.

        The chance that all of n independent rounds lie on one side of the true median is 2 × .5^n.
        """
        medians = [r.p50 for r in self.rounds]
        return min(medians), max(medians)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two rows the same thing, measured twice; versions do not matter."""
        return self.scope, self.engine, self.artifact_kind, self.size, self.threads, self.faces, self.detector

    @property
    def artifact_kind(self) -> str:
        """The artifact's format (its suffix) and precision."""
        return f"{self.artifact.rsplit('.', 1)[-1]} {self.precision}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        data = asdict(self)
        latency, size = data.pop("latency"), data.pop("size")
        quantiles = list(latency.pop("quantiles"))
        return (
            data
            | ({} if size is None else {"size": list(size)})
            | {
                "rounds": [vars(r) for r in self.rounds],
                "runs": latency.pop("runs"),
                "seconds": latency.pop("seconds"),
                "latency_ms": latency | {"quantiles": quantiles},
            }
        )

    @classmethod
    def from_dict(cls, data: Any) -> Measurement:
        """Return the measurement of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "measurement")
        times = Fields(entry.take("latency_ms", dict), "latency_ms")
        names = ("mean", "std", "min", "p50", "p90", "p95", "p99", "max")
        figures = {name: times.number(name) for name in names}
        quantiles = tuple(times.numbers("quantiles"))
        if len(quantiles) != len(QUANTILES):
            raise RecordError(f"quantiles must be {len(QUANTILES)}, found {len(quantiles)}; measure again")
        times.done()
        rounds = tuple(Round.from_dict(r) for r in entry.take("rounds", list))
        if not rounds:
            raise RecordError("a measurement has no rounds; measure again")
        found = cls(
            scope=entry.choice("scope", SCOPES),
            engine=entry.take("engine", str),
            engine_version=entry.take("engine_version", str),
            provider=entry.take("provider", str),
            provider_wanted=entry.optional_text("provider_wanted"),
            artifact=entry.take("artifact", str),
            precision=entry.take("precision", str),
            bytes=entry.whole("bytes"),
            threads=entry.whole("threads"),
            latency=Latency(runs=entry.whole("runs"), seconds=entry.number("seconds"), quantiles=quantiles, **figures),
            rounds=rounds,
            watts=entry.optional_number("watts"),
            joules=entry.optional_number("joules"),
            faces=None if entry.is_null("faces") else entry.whole("faces"),
            faces_found=entry.optional_number("faces_found"),
            detector=entry.optional_text("detector"),
            stages_ms=None if entry.is_null("stages_ms") else _stages(entry.take("stages_ms", dict)),
            size=entry.size("size"),
        )
        entry.done()
        return found


@dataclass(frozen=True)
class Step:
    """A part of a sustained run."""

    seconds: float
    """From the start to the middle of the step."""
    runs: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Sustained:
    """One artifact in one engine, without a pause: whether it stays as fast as it began."""

    engine: str
    artifact: str
    precision: str
    threads: int
    seconds: float
    runs: int
    window_s: float
    """Length of the first and of the last part that are compared."""
    first_p50: float
    last_p50: float
    steps: tuple[Step, ...]

    @property
    def ratio(self) -> float:
        """p50 of the last window over that of the first: 1 = as fast as it began, 2 = half as fast."""
        return self.last_p50 / self.first_p50

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"steps": [vars(step) for step in self.steps]}

    @classmethod
    def from_dict(cls, data: Any) -> Sustained:
        """Return the run of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "sustained")
        steps = []
        for step in entry.take("steps", list):
            one = Fields(step, "step")
            figures = {name: one.number(name) for name in ("seconds", "p50", "p99")}
            steps.append(Step(runs=one.whole("runs"), **figures))
            one.done()
        found = cls(
            engine=entry.take("engine", str),
            artifact=entry.take("artifact", str),
            precision=entry.take("precision", str),
            threads=entry.whole("threads"),
            seconds=entry.number("seconds"),
            runs=entry.whole("runs"),
            window_s=entry.number("window_s"),
            first_p50=entry.number("first_p50"),
            last_p50=entry.number("last_p50"),
            steps=tuple(steps),
        )
        entry.done()
        if not found.first_p50:
            raise RecordError("sustained: 'first_p50' is 0, which no measurement gives; measure again")
        return found


@dataclass(frozen=True)
class Score:
    """Accuracy of the very artifact in the very engine on labelled faces."""

    engine: str
    artifact: str
    precision: str
    split: str
    data: str
    """SHA-256 of the pictures and labels."""
    n: int
    accuracy: float
    ci95: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self) | {"ci95": list(self.ci95)}

    @classmethod
    def from_dict(cls, data: Any) -> Score:
        """Return the score of such data; raises RecordError when it is malformed."""
        entry = Fields(data, "score")
        interval = entry.numbers("ci95")
        found = cls(
            **{name: entry.take(name, str) for name in ("engine", "artifact", "precision", "split", "data")},
            n=entry.whole("n"),
            accuracy=entry.number("accuracy"),
            ci95=(interval[0], interval[-1]) if len(interval) == 2 else (2.0, 2.0),
        )
        entry.done()
        if not 0 <= found.ci95[0] <= found.accuracy <= found.ci95[1] <= 1:
            raise RecordError(
                f"an accuracy of {found.accuracy} does not lie in its interval {short(interval)} within 0 and 1;"
                " measure again"
            )
        return found


def _stages(data: Any) -> dict[str, dict[str, float]]:
    result = {}
    for name, figures in data.items():
        entry = Fields(figures, f"stage {short(name)}")
        result[name] = {key: entry.number(key) for key in ("p50", "p99")}
        entry.done()
    return result
