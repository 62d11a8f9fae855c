"""Sense over time: a face's probabilities averaged over its last moments, and a label that does not flicker."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Smoothing:
    """How to smooth. The defaults change nothing: each frame speaks for itself."""

    seconds: float = 0.0
    """Time constant of the average: what was seen so long ago counts a third of what is seen now."""
    margin: float = 0.0
    """By how much another label must lead before it takes over, and by how much a label that was certain must fall
    below `min_confidence` before it is uncertain again."""
    min_confidence: float = 0.0
    """Below this probability a label is not certain."""


@dataclass(frozen=True)
class Answer:
    """What is said of a face now."""

    probabilities: Probabilities
    """float32 [k]."""
    label: int
    certain: bool


@dataclass(frozen=True)
class _Memory:
    time: float
    answer: Answer


class Smoother:
    """Remembers each face by its number, and forgets with time, whatever the frame rate."""

    def __init__(self, smoothing: Smoothing = Smoothing()) -> None:
        self._how = smoothing
        self._faces: dict[int, _Memory] = {}

    def update(self, face: int, time: float, probabilities: Probabilities) -> Answer:
        """Return what to say of the face with number `face`, which shows `probabilities`, float32 [k], at `time`.

        `time` is in seconds and does not run backwards. A face that is seen for the first time gets what it shows.
        """
        known = self._faces.get(face)
        if known is None:
            best = int(probabilities.argmax())
            answer = Answer(probabilities, best, bool(probabilities[best] >= self._how.min_confidence))
        else:
            answer = self._next(known, time, probabilities)
        self._faces[face] = _Memory(time, answer)
        return answer

    def keep(self, faces: Collection[int]) -> None:
        """Forget every face but these: a run of months must not grow."""
        if any(face not in faces for face in self._faces):
            self._faces = {face: memory for face, memory in self._faces.items() if face in faces}

    def _next(self, known: _Memory, time: float, probabilities: Probabilities) -> Answer:
        before = known.answer
        share = self._share(time - known.time)
        mixed = (share * probabilities + (1 - share) * before.probabilities).astype(np.float32)
        label, best = before.label, int(mixed.argmax())
        if mixed[best] - mixed[label] > self._how.margin:
            label = best
        held = before.certain and label == before.label
        needed = self._how.min_confidence - (self._how.margin if held else 0.0)
        return Answer(mixed, label, bool(mixed[label] >= needed))

    def _share(self, elapsed: float) -> float:
        """Return the weight of the newest answer, 0–1."""
        if self._how.seconds <= 0:
            return 1.0
        return 1 - math.exp(-max(elapsed, 0.0) / self._how.seconds)
