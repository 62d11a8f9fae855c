"""One frame through detector, tracker, preprocessing and model: the path of camera, benchmark and demo."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgefer.metrics import Floats
from edgefer.preprocess import Box, Preprocess
from edgefer.runtime.engines import Engine
from edgefer.runtime.frames import FaceDetector, Frame, FrameSource
from edgefer.runtime.results import FaceResult, FrameResult
from edgefer.runtime.sinks import Sink, StopRun
from edgefer.runtime.tracker import Tracker

STAGES = ("detect", "track", "preprocess", "infer")


class Pipeline:
    """Frame → the faces in it with their emotions. Holds the tracker's memory, so use one for each stream."""

    def __init__(
        self, engine: Engine, labels: Sequence[str], preprocess: Preprocess, detector: FaceDetector, tracker: Tracker
    ) -> None:
        self._engine = engine
        self._labels = tuple(labels)
        self._preprocess = preprocess
        self._detector = detector
        self._tracker = tracker

    def process(self, frame: Frame) -> FrameResult:
        """Return the faces of one frame; `stage_ms` has the milliseconds of each stage."""
        start = time.perf_counter_ns()
        found = self._detector.detect(frame.image)
        detected = time.perf_counter_ns()
        faces = self._tracker.update(found)
        tracked = time.perf_counter_ns()
        results: tuple[FaceResult, ...] = ()
        prepared = tracked
        if faces:
            inputs = np.stack([self._preprocess(frame.image, face.box) for _, face in faces])
            prepared = time.perf_counter_ns()
            rows = self._engine.run(inputs)
            results = tuple(
                self._result(number, face.box, row) for (number, face), row in zip(faces, rows, strict=True)
            )
        end = time.perf_counter_ns()
        times = (detected - start, tracked - detected, prepared - tracked, end - prepared)
        stage_ms = {stage: ns / 1e6 for stage, ns in zip(STAGES, times, strict=True)}
        return FrameResult(frame.index, frame.time, results, stage_ms, frame.name)

    def _result(self, number: int, box: Box, row: Floats) -> FaceResult:
        best = int(row.argmax())
        scores = {label: float(p) for label, p in zip(self._labels, row, strict=True)}
        return FaceResult(box, number, self._labels[best], float(row[best]), scores)


@dataclass(frozen=True)
class Summary:
    """How a run went."""

    frames: int
    skipped: int
    """Frames or pictures that could not be read."""
    seconds: float
    frames_per_second: float
    faces: int
    emotions: dict[str, int]
    """Label → number of faces that showed it, over all frames."""
    stage_p50_ms: dict[str, float]


def run(
    source: FrameSource,
    pipeline: Pipeline,
    sinks: Iterable[Sink],
    *,
    max_frames: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Summary:
    """Feed every frame of an opened source through the pipeline to all sinks, until it ends or is told to stop."""
    sinks = list(sinks)
    emotions: Counter[str] = Counter()
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    frames = 0
    start = time.monotonic()
    try:
        for frame in source:
            result = pipeline.process(frame)
            frames += 1
            emotions.update(face.label for face in result.faces)
            for stage, ms in result.stage_ms.items():
                _keep(times[stage], ms)
            for sink in sinks:
                sink.write(frame, result)
            if stopped() or frames == max_frames:
                break
    except StopRun:
        pass
    seconds = time.monotonic() - start
    return Summary(
        frames=frames,
        skipped=source.skipped,
        seconds=seconds,
        frames_per_second=frames / seconds if seconds else 0.0,
        faces=sum(emotions.values()),
        emotions=dict(emotions.most_common()),
        stage_p50_ms={stage: float(np.median(values)) for stage, values in times.items() if values},
    )


def _keep(values: list[float], value: float, limit: int = 10_000) -> None:
    """Append, forgetting the older half at `limit`: a run of months must not grow."""
    if len(values) >= limit:
        del values[: limit // 2]
    values.append(value)
