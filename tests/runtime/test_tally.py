from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.preprocess import Box
from edgefer.runtime import tally as module
from edgefer.runtime.results import FaceResult, FrameResult
from edgefer.runtime.tally import PERIODS, Spread, Tally


def face(number: int, label: str, raw: str = "", certain: bool = True) -> FaceResult:
    return FaceResult(Box(0, 0, 9, 9), number, label, 0.9, {label: 0.9}, certain, raw or label)


def frame(index: int, *faces: FaceResult, name: str | None = None) -> FrameResult:
    return FrameResult(index, index / 10, faces, {}, name)


def add(tally: Tally, *results: FrameResult) -> Tally:
    for result in results:
        tally.add(result, {"capture": 1.0, "detect": 3.0}, None)
    return tally


def summary(tally: Tally):  # type: ignore[no-untyped-def]
    return tally.summary(skipped=0, dropped=0, reconnects=0, engine_restarts=0, sink_failures={}, sink_drops={})


@given(st.lists(st.floats(0.002, 100_000), min_size=1, max_size=200), st.floats(0.01, 1))
def test_percentiles_are_within_two_percent(values: list[float], share: float) -> None:
    spread = Spread()
    for value in values:
        spread.add(value)
    exact = np.quantile(values, share, method="inverted_cdf")
    assert spread.percentile(share) == pytest.approx(exact, rel=0.021)
    assert spread.total == pytest.approx(sum(values))


def test_extremes_are_counted_too() -> None:
    spread = Spread()
    for value in (0.0, 1e12):
        spread.add(value)
    assert spread.percentile(0.5) <= 0.001
    assert spread.percentile(1) > 100_000
    assert Spread().percentile(0.5) == 0


def test_what_is_counted() -> None:
    tally = add(
        Tally(),
        frame(0, face(1, "happy"), face(2, "sad", certain=False)),
        frame(1, face(1, "happy")),
        frame(2),
    )
    s = summary(tally)
    assert (s.frames, s.faces, s.frames_with_faces) == (3, 3, 2)
    assert s.emotions == {"happy": 2, "uncertain": 1}
    assert s.over_time[0].emotions == s.emotions
    assert s.stages_ms["detect"].p50 == pytest.approx(3.0, rel=0.03)
    assert s.stages_ms["detect"].share == pytest.approx(0.75)
    assert s.age_ms is None
    json.dumps(s.to_json(), allow_nan=False)


def test_flicker_is_changes_a_minute_of_a_face_before_and_after_smoothing() -> None:
    raw = ["happy", "sad"] * 50
    tally = add(Tally(), *(frame(n, face(1, "happy", raw[n])) for n in range(100)))
    s = summary(tally)
    assert s.label_changes_per_minute == 0
    assert s.unsmoothed_changes_per_minute == pytest.approx(99 / 9.9 * 60, rel=0.01)


def test_another_face_and_pictures_of_their_own_are_no_flicker() -> None:
    faces = [frame(n, face(n, "happy" if n % 2 else "sad")) for n in range(50)]
    pictures = [frame(n, face(1, "happy" if n % 2 else "sad"), name=f"{n}.jpg") for n in range(50)]
    assert summary(add(Tally(), *faces, *pictures)).label_changes == 0


def test_months_take_no_more_memory_than_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    tally = Tally()
    sizes = []
    tracemalloc.start()
    for hour in range(24 * 120):
        now = hour * 3600.0
        add(tally, frame(hour, face(hour, ["happy", "sad", "fear"][hour % 3])))
        if hour in (240, 24 * 120 - 1):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    s = summary(tally)
    assert len(s.over_time) <= PERIODS
    assert sum(sum(p.emotions.values()) for p in s.over_time) == 24 * 120
    assert s.over_time[0].seconds * PERIODS >= 24 * 120 * 3600
    assert sizes[1] < sizes[0] + 20_000


def test_a_camera_that_was_away_for_days_leaves_no_more_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    tally = add(Tally(), frame(0, face(1, "happy")))
    now = 40 * 24 * 3600.0
    s = summary(add(tally, frame(1, face(1, "sad"))))
    assert len(s.over_time) <= PERIODS
    assert (s.over_time[0].emotions, s.over_time[-1].emotions) == ({"happy": 1}, {"sad": 1})
