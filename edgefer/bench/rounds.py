"""Measuring: every row in several fresh processes, and the rows in turns, so that drift of the machine touches all."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.bench.latency import Plan, Progress, percentiles, summarise
from edgefer.bench.rows import Measurement, Round, Step, Sustained
from edgefer.bench.subjects import DETECT_FACES, Pixels, Subject, drawn_faces, drawn_frames, letterboxed
from edgefer.bundle import Bundle, DetectorBundle, size_name
from edgefer.errors import EngineError
from edgefer.runtime.pipeline import STAGES

START_TIMEOUT_S = 300.0
"""For a round's start, over the seconds that it measures."""
START_S = 0.7
"""What the start of a round is taken to last, for the progress bar alone."""
TICK_S = 0.25

Windows = tuple[tuple[float, float], ...]
"""When the runs of each round were timed, by time.monotonic()."""


@dataclass
class _Rounds:
    """What the rounds of one row gave so far."""

    rounds: list[Round] = field(default_factory=list)
    times: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """Milliseconds of every run."""
    stages: list[npt.NDArray[np.float64]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    windows: list[tuple[float, float]] = field(default_factory=list)


def measure(
    bundle: Bundle | DetectorBundle,
    subjects: Sequence[Subject],
    plan: Plan,
    progress: Progress | None = None,
    scenes: Sequence[Pixels] | None = None,
) -> list[tuple[Measurement, Windows]]:
    """Measure every subject at batch 1 on drawn pictures, as the plan says; return each with when it was timed.

    `scenes` are shown to a detector's network instead. Raises EngineError when a round fails.
    """
    found = [_Rounds() for _ in subjects]
    total = plan.rounds * len(subjects)
    with _workplace(bundle, subjects, scenes) as place:
        for number in range(plan.rounds):
            for index, (subject, so_far) in enumerate(zip(subjects, found, strict=True)):
                done = number * len(subjects) + index
                tick = _part(progress, done, total, START_S + plan.warmup_seconds + plan.round_seconds)
                _add_round(so_far, place.run(subject, tick, plan=plan))
    if progress is not None:
        progress(100 * total, 100 * total)
    return [(_measurement(s, so_far), tuple(so_far.windows)) for s, so_far in zip(subjects, found, strict=True)]


def sustain(
    bundle: Bundle | DetectorBundle,
    subject: Subject,
    seconds: float,
    progress: Progress | None = None,
    scenes: Sequence[Pixels] | None = None,
) -> Sustained:
    """Run one model without a pause and compare the last minute with the first, or thirds where it is shorter.

    Raises EngineError when it fails.
    """
    with _workplace(bundle, [subject], scenes) as place:
        answer = place.run(subject, _part(progress, 0, 1, seconds + START_S), sustained=seconds)
    if progress is not None:
        progress(100, 100)
    steady = answer["steady"]
    steps = tuple(Step(**step) for step in steady.pop("steps"))
    return Sustained(
        engine=subject.engine,
        artifact=answer["artifact"],
        precision=subject.precision,
        threads=subject.threads,
        steps=steps,
        **steady,
    )


class _Workplace:
    """A temporary folder with the pictures, in which rounds run."""

    def __init__(self, bundle: Bundle | DetectorBundle, folder: Path, scenes: Sequence[Pixels] | None) -> None:
        self._bundle = bundle
        self._folder = folder
        self._scenes = scenes

    def pictures(self, subject: Subject) -> Path:
        """Return the file of the pictures for a subject; they are drawn at the first call."""
        name = "faces" if subject.size is None else f"pictures-{size_name(subject.size)}"
        path = self._folder / f"{name if subject.faces is None else f'frames-{subject.faces}'}.npy"
        if not path.exists():
            np.save(path, self._made(subject))
        return path

    def _made(self, subject: Subject) -> Pixels:
        if subject.faces is not None:
            return drawn_frames(subject.faces)
        if isinstance(self._bundle, DetectorBundle):
            assert subject.size is not None
            return letterboxed(drawn_frames(DETECT_FACES) if self._scenes is None else self._scenes, subject.size)
        return drawn_faces(self._bundle)

    def run(
        self, subject: Subject, tick: Callable[[float], None], plan: Plan | None = None, sustained: float | None = None
    ) -> dict[str, Any]:
        """Run one round of a plan, or a sustained one; return its answer, of a plan with `times` (ms, float64 [n]).

        For a pipeline `stages` are there too. Raises EngineError when it fails or does not end.
        """
        times, stages, answers = (self._folder / name for name in ("times.npy", "stages.npy", "answer.json"))
        task = {
            "subject": asdict(subject),
            "bundle": str(self._bundle.path),
            "pictures": str(self.pictures(subject)),
            "times": str(times),
            "stages": str(stages),
            "answer": str(answers),
            "plan": None if plan is None else asdict(plan),
            "sustained": sustained,
        }
        seconds = sustained if plan is None else plan.warmup_seconds + plan.round_seconds
        _child(subject, task, START_TIMEOUT_S + 20 * (seconds or 0), tick)
        answer: dict[str, Any] = json.loads(answers.read_text())
        if plan is not None:
            answer["times"] = np.load(times) / 1e6
            answer["stages"] = np.load(stages) if subject.scope == "pipeline" else None
        return answer


@contextlib.contextmanager
def _workplace(
    bundle: Bundle | DetectorBundle, subjects: Sequence[Subject], scenes: Sequence[Pixels] | None
) -> Iterator[_Workplace]:
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgefer-bench-"))
            place = _Workplace(bundle, Path(folder), scenes)
            for subject in subjects:
                place.pictures(subject)
        except OSError as error:
            raise EngineError(
                f"the pictures to measure with cannot be written ({error.strerror or error}); name a folder with"
                " 150 MB of room in TMPDIR"
            ) from error
        yield place


def _child(subject: Subject, task: dict[str, Any], timeout: float, tick: Callable[[float], None]) -> None:
    """Run a round in a process of its own, which ends with this one whatever becomes of it."""
    # This process's own path list: the other one finds the same packages, and none that lie in the current directory.
    code = f"import sys; sys.path[:] = {sys.path!r}; from edgefer.bench import child; child.main()"
    begin = time.monotonic()
    what = str(subject)
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", code, json.dumps(task)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        except OSError as error:
            raise EngineError(f"{what}: a round could not be started: {error}") from error
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TICK_S)
                tick(time.monotonic() - begin)
                if time.monotonic() - begin > timeout:
                    raise EngineError(f"{what}: a round did not end within {timeout:.0f} s; is the machine overloaded?")
        finally:
            process.kill()
            process.communicate()
        errors.seek(max(0, errors.seek(0, 2) - 10_000))
        lines = errors.read().decode("utf-8", errors="replace").strip().splitlines()
    if process.returncode:
        raise EngineError(
            f"{what}: a round ended with {process.returncode}: {lines[-1][:300] if lines else 'it said nothing'}"
        )


def _part(progress: Progress | None, done: int, total: int, seconds: float) -> Callable[[float], None]:
    """Return what tells `progress`, in hundredths of a round, that round `done` of `total` has gone on so long."""

    def tick(elapsed: float) -> None:
        if progress is not None:
            progress(100 * done + min(99, int(100 * elapsed / seconds)), 100 * total)

    return tick


def _add_round(so_far: _Rounds, answer: dict[str, Any]) -> None:
    ms = answer["times"]
    so_far.times.append(ms)
    so_far.answers.append(answer)
    so_far.windows.append((answer["begin"], answer["end"]))
    if answer["stages"] is not None:
        so_far.stages.append(answer["stages"])
    so_far.rounds.append(
        Round(
            runs=len(ms),
            p50=float(np.median(ms)),
            mean=float(ms.mean()),
            **{key: answer[key] for key in ("load_ms", "first_ms", "base_mib", "peak_mib")},
        )
    )


def _measurement(subject: Subject, so_far: _Rounds) -> Measurement:
    first = so_far.answers[0]
    ms = np.concatenate(so_far.times)
    return Measurement(
        scope=subject.scope,
        engine=subject.engine,
        **{key: first[key] for key in ("engine_version", "provider", "provider_wanted", "artifact", "bytes")},
        precision=subject.precision,
        threads=subject.threads,
        latency=summarise(ms, sum(a["seconds"] for a in so_far.answers)),
        rounds=tuple(so_far.rounds),
        faces=subject.faces,
        faces_found=None if subject.faces is None else float(np.mean([a["faces_found"] for a in so_far.answers])),
        detector=subject.detector,
        stages_ms=_stages(np.concatenate(so_far.stages)) if subject.scope == "pipeline" else None,
        size=subject.size,
    )


def _stages(ms: npt.NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Return p50 and p99 of each column of float64 [n, stages]."""
    result = {}
    for name, column in zip((*STAGES, "emit"), ms.T, strict=True):
        p50, p99 = percentiles(column, (50, 99))
        result[name] = {"p50": p50, "p99": p99}
    return result
