"""One benchmark session: what is asked for, measured between two looks at the machine while it is watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from edgefer.bench import noise, trace
from edgefer.bench.accuracy import evaluate
from edgefer.bench.environment import advice, cores, snapshot, validity
from edgefer.bench.latency import Plan, Progress
from edgefer.bench.record import BenchRecord
from edgefer.bench.rounds import Windows, measure, sustain
from edgefer.bench.rows import Measurement, Score, identity
from edgefer.bench.subjects import Pixels, Subject, detections, models, named, pipelines
from edgefer.bundle import Bundle, DetectorBundle, Size
from edgefer.devices.description import DeviceProfile
from edgefer.devices.power import PowerMeter
from edgefer.errors import EngineError
from edgefer.runtime.detectors import DEFAULT
from edgefer.runtime.engines import how_to_install, installed_engines, is_installed, load, open_engine
from edgefer.train.data import Dataset

SCOPES = ("model", "pipeline")
"""What of a classifier is measured."""
DETECTOR_SCOPES = ("model", "detect")
"""What of a detector is measured."""

Bar = Callable[[str], AbstractContextManager[Progress]]
"""A progress bar with a label."""


@dataclass(frozen=True)
class Wanted:
    """What is to be measured; what is left out is chosen as the device and the bundle allow."""

    plan: Plan
    scopes: tuple[str, ...] = SCOPES
    engines: tuple[str, ...] = ()
    """Without: every installed one that has an artifact."""
    precision: str | None = None
    """Without: all."""
    threads: tuple[int, ...] = ()
    """Without: 1 and all, or with a quick plan the device's own number."""
    sustained: float | None = None
    """Seconds to run the preferred model without a pause."""


@dataclass(frozen=True)
class Preferred:
    """What the device runs unasked, which whole frames and the sustained run are measured with."""

    engine: str
    precision: str
    threads: int
    providers: tuple[str, ...] = ()
    size: Size | None = None
    """Of a detector's pictures, for the sustained run."""


def take(
    bundle: Bundle | DetectorBundle,
    here: DeviceProfile,
    preferred: Preferred,
    wanted: Wanted,
    command: str,
    bar: Bar,
    faces: tuple[str, Dataset] | None = None,
    root: Path = Path("/"),
    scenes: Sequence[Pixels] | None = None,
) -> BenchRecord:
    """Measure and return the record; `here` is this machine's profile.

    `faces` is a split's name and its labelled faces, for a classifier; `scenes` are pictures that a detector's network
    is shown instead of drawn ones. `root` is where /proc and /sys are looked for. Raises EngineError,
    MissingDependencyError or BundleError when something cannot be run.
    """
    before = snapshot(here, root)
    meter = PowerMeter(here, root)
    idle = trace.idle_watts(meter)
    begun = noise.begin(root)
    with trace.Sampler(here, root, meter) as sampler:
        with bar("Measuring") as progress:
            timed = measure(bundle, subjects_of(bundle, here, preferred, wanted), wanted.plan, progress, scenes)
        busy = noise.busy(noise.end(begun, root=root))
        between, slowed = snapshot(here, root), sampler.throttled
        sustained = None
        if wanted.sustained is not None:
            begun = noise.begin(root)  # on its own: hours of quiet would hide what was busy in the minutes before
            of = preferred
            alone = Subject("model", of.engine, of.precision, of.threads, of.providers, size=of.size)
            with bar("Sustained load") as progress:
                sustained = sustain(bundle, alone, wanted.sustained, progress, scenes)
            busy += [f"sustained run: {reason}" for reason in noise.busy(noise.end(begun, root=root))]
    after = snapshot(here, root)
    notes = advice(before, here)
    if sustained is not None:  # heat is what it is for: it takes nothing from the rows that were measured before
        notes += [f"sustained run: {reason}" for reason in validity(between, after, sorted(sampler.throttled - slowed))]
    rows = tuple(_with_power(row, windows, sampler) for row, windows in timed)
    return BenchRecord(
        command=command,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device=here.name,
        environment={"before": before, "after": after},
        bundle=identity(bundle),
        measurements=rows,
        quick=wanted.plan.quick,
        invalid_reasons=tuple(validity(before, between, sorted(slowed))),
        noisy_reasons=(*busy, *_scattered(rows)),
        notes=tuple(notes),
        sustained=sustained,
        scores=()
        if faces is None or isinstance(bundle, DetectorBundle)
        else _scores(bundle, rows, here.threads, preferred.providers, faces, bar),
        trace=sampler.trace,
        idle_watts=idle,
    )


def scopes_of(bundle: Bundle | DetectorBundle) -> tuple[str, ...]:
    """Return what can be measured of a bundle of that kind."""
    return DETECTOR_SCOPES if isinstance(bundle, DetectorBundle) else SCOPES


def runnable(bundle: Bundle | DetectorBundle, names: Sequence[str], precision: str | None = None) -> list[str]:
    """Return the engines of `names` for which the bundle has an artifact, in that precision if one is given."""
    formats = {a.format for a in bundle.artifacts if precision is None or a.precision == precision}
    return [name for name in names if load(name).FORMAT in formats]


def subjects_of(
    bundle: Bundle | DetectorBundle, here: DeviceProfile, preferred: Preferred, wanted: Wanted
) -> list[Subject]:
    """Return the rows that a session measures.

    Raises EngineError when there is nothing to measure, or for an engine that was asked for and cannot run here.
    """
    for name in wanted.engines:
        if not is_installed(name):
            raise EngineError(f"the engine {name} is not installed: {how_to_install(name)}")
    found = []
    if "model" in wanted.scopes:
        names = wanted.engines or runnable(bundle, installed_engines(), wanted.precision)
        every = (here.threads,) if wanted.plan.quick else tuple(sorted({1, cores()}))
        precisions = None if wanted.precision is None else [wanted.precision]
        found += models(bundle, names, precisions, wanted.threads or every, preferred.providers)
    if "detect" in wanted.scopes and isinstance(bundle, DetectorBundle):
        found += detections(bundle, preferred.engine, wanted.precision)
    if "pipeline" in wanted.scopes:
        found += pipelines(preferred.engine, preferred.precision, preferred.threads, DEFAULT, preferred.providers)
    return found


def _with_power(row: Measurement, windows: Windows, sampler: trace.Sampler) -> Measurement:
    """Return the row with the board's watts while it was timed, where the board tells."""
    parts = [(e - s, trace.mean_watts(sampler.trace, s - sampler.started, e - sampler.started)) for s, e in windows]
    known = [(seconds, watts) for seconds, watts in parts if watts is not None]
    if not known:
        return row
    watts = sum(s * w for s, w in known) / sum(s for s, _ in known)
    return replace(row, watts=watts, joules=watts * row.latency.seconds / row.latency.runs)


def _scattered(rows: Sequence[Measurement]) -> list[str]:
    """Return which rows are noisy because their rounds disagree."""
    reasons = []
    for row in rows:
        reason = noise.scattered([r.p50 for r in row.rounds])
        if reason is not None:
            faces = "" if row.faces is None else f", {row.faces} face{'' if row.faces == 1 else 's'}"
            threads = "" if row.threads == 1 else f", {row.threads} threads"
            reasons.append(f"{named(row.engine, row.precision, row.size)}{threads}{faces}: {reason}")
    return reasons


def _scores(
    bundle: Bundle,
    rows: Sequence[Measurement],
    threads: int,
    providers: Sequence[str],
    faces: tuple[str, Dataset],
    bar: Bar,
) -> tuple[Score, ...]:
    """Return the accuracy of every artifact in every engine that was measured."""
    split, data = faces
    found = []
    for engine, precision in dict.fromkeys((row.engine, row.precision) for row in rows):
        loaded = open_engine(bundle, engine, precision, threads, providers)
        try:
            with bar(f"Evaluating {loaded.artifact.path} in {engine}") as progress:
                result = evaluate(bundle, data, loaded, split, progress)
        finally:
            loaded.engine.close()
        found.append(
            Score(
                engine=engine,
                artifact=loaded.artifact.path,
                precision=precision,
                split=split,
                data=result.data,
                n=result.accuracy.n,
                accuracy=result.accuracy.accuracy,
                ci95=result.accuracy.ci95,
            )
        )
    return tuple(found)
