"""One frame through detector, tracker, preprocessing, model and smoothing: the path of camera, benchmark and demo."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np

from edgefer.preprocess import Box, Preprocess
from edgefer.runtime.engines import Engine, Probabilities
from edgefer.runtime.frames import Face, FaceDetector, Frame
from edgefer.runtime.pace import Pace
from edgefer.runtime.results import FaceResult, FrameResult
from edgefer.runtime.smooth import Answer, Smoother, Smoothing
from edgefer.runtime.tracker import Tracker

STAGES = ("detect", "track", "preprocess", "infer", "smooth")
FORGET = 5.0
"""Seconds between two frames after which nobody can say that a face is still the same."""


class Pipeline:
    """Frame → the faces in it with their emotions. Holds the memory of faces, so use one for each stream."""

    def __init__(
        self,
        engine: Engine,
        labels: Sequence[str],
        preprocess: Preprocess,
        detector: FaceDetector,
        tracker: Tracker,
        smoothing: Smoothing = Smoothing(),
        pace: Pace | None = None,
    ) -> None:
        """`smoothing` and `pace` as they stand change nothing: every frame is searched and speaks for itself."""
        self._engine = engine
        self._labels = tuple(labels)
        self._preprocess = preprocess
        self._detector = detector
        self._tracker = tracker
        self._smoother = Smoother(smoothing)
        self._alone = Smoothing(min_confidence=smoothing.min_confidence)
        self._pace = pace or Pace()
        self._time = 0.0
        self._shape: tuple[int, ...] = ()

    def process(self, frame: Frame) -> FrameResult:
        """Return the faces of one frame; `stage_ms` has the milliseconds of each stage.

        A frame with a name is a picture of its own: faces of the one before are not looked for in it, nor remembered.
        Nor are they after FORGET seconds without a frame, or in a frame of another size: the camera was away.
        """
        start = time.perf_counter_ns()
        alone = frame.name is not None
        anew = alone or frame.time - self._time > FORGET or frame.image.shape != self._shape
        self._time, self._shape = frame.time, frame.image.shape
        if anew:
            self._tracker.forget()
            self._detector.forget()
        look = self._pace.due() or anew
        found = self._detector.detect(frame.image) if look else []
        detected = time.perf_counter_ns()
        faces = self._tracker.update(found) if look else self._tracker.carry()
        tracked = time.perf_counter_ns()
        rows = np.empty((0, len(self._labels)), np.float32)
        prepared = tracked
        if faces:
            inputs = np.stack([self._preprocess(frame.image, face.box, face.eyes) for _, face in faces])
            prepared = time.perf_counter_ns()
            rows = self._engine.run(inputs)
        inferred = time.perf_counter_ns()
        smoother = Smoother(self._alone) if alone else self._smoother
        results = self._results(faces, rows, smoother, frame.time, look)
        end = time.perf_counter_ns()
        marks = (start, detected, tracked, prepared, inferred, end)
        ms = [(after - before) / 1e6 for before, after in itertools.pairwise(marks)]
        self._pace.took(ms[0] if look else None, sum(ms[1:]))
        return FrameResult(frame.index, frame.time, results, dict(zip(STAGES, ms, strict=True)), frame.name)

    def _results(
        self, faces: Sequence[tuple[int, Face]], rows: Probabilities, smoother: Smoother, now: float, detected: bool
    ) -> tuple[FaceResult, ...]:
        smoother.keep(self._tracker.known)
        return tuple(
            self._result(number, face.box, row, smoother.update(number, now, row), detected)
            for (number, face), row in zip(faces, rows, strict=True)
        )

    def _result(self, number: int, box: Box, row: Probabilities, answer: Answer, detected: bool) -> FaceResult:
        return FaceResult(
            box=box,
            id=number,
            label=self._labels[answer.label],
            confidence=float(answer.probabilities[answer.label]),
            scores=dict(zip(self._labels, answer.probabilities.tolist(), strict=True)),
            certain=answer.certain,
            raw_label=self._labels[int(row.argmax())],
            detected=detected,
        )
