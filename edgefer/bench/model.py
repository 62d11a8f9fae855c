"""Scope `model`: one face crop at a time through one artifact in one engine, and how long a cold start takes."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import cartoon
from edgefer.bench.latency import Plan, Progress, measure, part_of
from edgefer.bench.record import Measurement
from edgefer.bundle import PRECISIONS, Bundle, open_bundle
from edgefer.errors import EngineError
from edgefer.runtime import engines as runtimes

Pictures = npt.NDArray[np.uint8]

COLD_START_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class ColdStart:
    """Milliseconds in a fresh process that has imported NumPy and edgefer, but no runtime.

    The files have just been read by the process that asks, so what a slow SD card adds is not in it.
    """

    load_ms: float
    """Reading and checking the artifact, importing the runtime, building the model."""
    first_ms: float
    """The first inference."""


def default_faces(bundle: Bundle, per_class: int = 8, seed: int = 0) -> Pictures:
    """Return drawn faces as the bundle's model takes them: uint8 [n, size, size, 1]."""
    images, _ = cartoon.dataset(per_class, seed)
    return np.stack([bundle.preprocess(image) for image in images])


def combinations(
    bundle: Bundle, engines: Sequence[str], precisions: Sequence[str] | None, threads: Sequence[int]
) -> list[tuple[str, str, int]]:
    """Return every (engine, precision, threads) that the bundle has an artifact for.

    Raises EngineError for an unknown engine, or when nothing is left.
    """
    found = []
    for engine in engines:
        has = {a.precision for a in bundle.artifacts if a.format == runtimes.load(engine).FORMAT}
        wanted = [p for p in PRECISIONS if p in has and (precisions is None or p in precisions)]
        found += [(engine, precision, n) for precision in wanted for n in threads]
    if not found:
        raise EngineError(
            f"{bundle.path} has nothing to measure for {', '.join(engines)} in {', '.join(precisions or PRECISIONS)};"
            f" make it with: edgefer export {bundle.path} --int8"
        )
    return found


def bench_model(
    bundle: Bundle,
    engines: Sequence[str],
    precisions: Sequence[str] | None,
    threads: Sequence[int],
    faces: Pictures,
    plan: Plan,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Measure every engine × precision × number of threads at batch 1, cycling over `faces` uint8 [n, size, size, 1].

    Raises EngineError, MissingDependencyError or BundleError when a model cannot be opened.
    """
    todo = combinations(bundle, engines, precisions, threads)
    results = []
    for index, (name, precision, count) in enumerate(todo):
        loaded = runtimes.open_engine(bundle, name, precision, count)
        try:
            start = cold_start(bundle, name, precision, count, faces[:1])
            pictures = itertools.cycle([faces[i : i + 1] for i in range(len(faces))])
            latency = measure(
                functools.partial(_run_next, loaded.engine, pictures),
                plan,
                part_of(progress, index, len(todo)),
            )
        finally:
            loaded.engine.close()
        results.append(
            Measurement(
                scope="model",
                engine=name,
                engine_version=loaded.engine.version,
                provider=loaded.engine.provider,
                artifact=loaded.artifact.path,
                precision=loaded.artifact.precision,
                bytes=loaded.artifact.bytes,
                threads=count,
                latency=latency,
                load_ms=start.load_ms,
                first_ms=start.first_ms,
            )
        )
    return results


def _run_next(engine: runtimes.Engine, pictures: Iterator[Pictures]) -> None:
    engine.run(next(pictures))


def cold_start(bundle: Bundle, engine: str, precision: str, threads: int, face: Pictures) -> ColdStart:
    """Measure loading and the first inference, on `face` uint8 [1, size, size, 1], in a process of their own.

    Raises EngineError when that process fails.
    """
    task = {"bundle": str(bundle.path), "engine": engine, "precision": precision, "threads": threads}
    # This process's own path list: the other one finds the same packages, and none that lie in the current directory.
    code = f"import sys; sys.path[:] = {sys.path!r}; from edgefer.bench import model; model.cold_start_child()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(task)],
            input=face.tobytes(),
            capture_output=True,
            timeout=COLD_START_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{engine}: a cold start could not be measured: {error}") from error
    lines = (done.stderr if done.returncode else done.stdout).decode("utf-8", errors="replace").strip().splitlines()
    if done.returncode or not lines:
        raise EngineError(
            f"{engine}: a cold start ended with {done.returncode}: {lines[-1] if lines else 'it said nothing'}"
        )
    return ColdStart(**json.loads(lines[-1]))


def cold_start_child() -> None:
    """Do what `cold_start` asked for in `sys.argv` and on standard input, and answer on standard output."""
    task = json.loads(sys.argv[1])
    bundle = open_bundle(Path(task["bundle"]))
    size = bundle.preprocess.size
    face = np.frombuffer(sys.stdin.buffer.read(), np.uint8).reshape(1, size, size, 1)
    module = runtimes.load(task["engine"])
    start = time.perf_counter_ns()
    artifact = bundle.artifact(module.FORMAT, task["precision"])
    engine = module.Engine([bundle.read(f) for f in (artifact.file, *artifact.companions)], task["threads"])
    loaded = time.perf_counter_ns()
    engine.run(face)
    end = time.perf_counter_ns()
    engine.close()
    answer = ColdStart((loaded - start) / 1e6, (end - loaded) / 1e6)
    sys.stdout.write("\n" + json.dumps(vars(answer)) + "\n")
