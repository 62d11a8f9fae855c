"""What the demo counts on its drawn clip."""

from __future__ import annotations

import time

import pytest

from edgefer.cartoon.clip import clip
from edgefer.demo import _Clip, _Counter
from edgefer.preprocess import Box
from edgefer.runtime.frames import Frame
from edgefer.runtime.loop import run
from edgefer.runtime.results import FaceResult, FrameResult

FRAMES = 90
"""Each face changes its expression within them."""


class Telling:
    """Says of every frame what was drawn in it."""

    def __init__(self, seconds: float) -> None:
        self._drawn = [emotions for _, emotions in clip(FRAMES, seed=11)]
        self._seconds = seconds

    def process(self, frame: Frame) -> FrameResult:
        time.sleep(self._seconds)
        faces = [
            FaceResult(Box(0, 0, 9, 9), number, emotion, 1.0, {emotion: 1.0}, True, emotion, True)
            for number, emotion in enumerate(self._drawn[frame.index])
        ]
        return FrameResult(frame.index, frame.time, tuple(faces), {}, frame.name)


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_a_face_is_held_against_what_was_drawn_in_its_own_frame(seconds: float) -> None:
    source, pipeline = _Clip(FRAMES), Telling(seconds)
    assert len({tuple(emotions) for emotions in pipeline._drawn}) > 1
    counter = _Counter(source, lambda done, total: None)
    run(source, pipeline, [counter])  # type: ignore[arg-type]
    assert counter.right == source.drawn > FRAMES
