"""Scope `pipeline`: a frame through detector, tracker, preprocessing and model to a line of JSON; 0, 1 and 3 faces.

Capture is not in it: a camera has its own pace, and drawn frames lie ready in memory. `emit` is the line of
`edgefer run --json`.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgefer import cartoon
from edgefer.bench.latency import Plan, Progress, measure, part_of, percentiles
from edgefer.bench.record import Measurement
from edgefer.runtime.engines import LoadedEngine
from edgefer.runtime.frames import Frame
from edgefer.runtime.pipeline import Pipeline
from edgefer.runtime.sinks.jsonl import JsonLines

Pixels = npt.NDArray[np.uint8]

FACES = (0, 1, 3)
FRAMES = 60
"""Frames that are drawn for a measurement; they are shown again and again."""
SIZE = (640, 360)
"""Width and height of a frame in pixels."""


def bench_pipeline(
    loaded: LoadedEngine,
    make: Callable[[], Pipeline],
    detector: str,
    threads: int,
    plan: Plan,
    progress: Progress | None = None,
    faces: Sequence[int] = FACES,
    seed: int = 0,
) -> list[Measurement]:
    """Measure whole frames with each number of faces.

    `make` gives a fresh pipeline, with its own tracker, around `loaded`; `detector` and `threads` say how it was made.
    """
    results = []
    for index, count in enumerate(faces):
        with open(os.devnull, "w", encoding="utf-8") as nowhere:
            run = _Run(make(), draw(FRAMES, count, seed), JsonLines(nowhere))
            latency = measure(run, plan, part_of(progress, index, len(faces)))
        timed = run.stages[-latency.runs :]
        stages = {}
        for name in timed[0]:
            p50, p99 = percentiles([times[name] for times in timed], (50, 99))
            stages[name] = {"p50": p50, "p99": p99}
        results.append(
            Measurement(
                scope="pipeline",
                engine=loaded.name,
                engine_version=loaded.engine.version,
                provider=loaded.engine.provider,
                artifact=loaded.artifact.path,
                precision=loaded.artifact.precision,
                bytes=loaded.artifact.bytes,
                threads=threads,
                latency=latency,
                faces=count,
                faces_found=float(np.mean(run.found[-latency.runs :])),
                detector=detector,
                stages_ms=stages,
            )
        )
    return results


def draw(frames: int, faces: int, seed: int) -> list[Pixels]:
    """Return drawn frames uint8 BGR of `SIZE`; with 0 faces, an empty room with changing grain."""
    if faces:
        return [image for image, _ in cartoon.clip(frames, SIZE, faces=faces, seed=seed)]
    width, height = SIZE
    rng = np.random.default_rng(seed)
    wall = np.linspace(210, 140, height)[:, None, None] - 18 * np.linspace(-1, 1, width)[None, :, None] ** 2
    return [(wall + rng.normal(0, 1.2, (height, width, 3))).clip(0, 255).astype(np.uint8) for _ in range(frames)]


class _Run:
    """One call = one frame, with what each stage took and how many faces were found kept for every call."""

    def __init__(self, pipeline: Pipeline, images: Sequence[Pixels], lines: JsonLines) -> None:
        self._pipeline = pipeline
        self._lines = lines
        self._frames = _endless(images)
        self.stages: list[dict[str, float]] = []
        self.found: list[int] = []

    def __call__(self) -> None:
        frame = next(self._frames)
        result = self._pipeline.process(frame)
        start = time.perf_counter_ns()
        self._lines.write(frame, result)
        emit = (time.perf_counter_ns() - start) / 1e6
        self.stages.append({**result.stage_ms, "emit": emit})
        self.found.append(len(result.faces))


def _endless(images: Sequence[Pixels]) -> Iterator[Frame]:
    for index in itertools.count():
        yield Frame(index, index / cartoon.FPS, images[index % len(images)])
