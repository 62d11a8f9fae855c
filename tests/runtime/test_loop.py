"""The run as a whole: what ends it, what it counts, what it tells the sinks."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgefer.bundle import Bundle
from edgefer.errors import EngineError, SourceError
from edgefer.preprocess import Preprocess
from edgefer.runtime import loop as module
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.engines import open_engine
from edgefer.runtime.frames import Frame
from edgefer.runtime.live import Live, Retry
from edgefer.runtime.loop import run
from edgefer.runtime.pace import Pace
from edgefer.runtime.pipeline import STAGES, Pipeline
from edgefer.runtime.revive import Reviving
from edgefer.runtime.sinks import StopRun
from edgefer.runtime.smooth import Smoothing
from edgefer.runtime.tally import Summary
from edgefer.runtime.tracker import Tracker
from tests.runtime.fakes import IMAGE, Camera, Clip, Keeper

LABELS = ("happy", "sad")


class Steps:
    """An engine that answers the next of `rows` at each call, and then begins again."""

    provider, version = "CPU", "1"

    def __init__(self, *rows: tuple[float, float]) -> None:
        self.pictures: list[int] = []
        self._rows = itertools.cycle(rows)

    def run(self, pictures: np.ndarray) -> np.ndarray:
        self.pictures.append(len(pictures))
        return np.asarray([next(self._rows)] * len(pictures), np.float32)

    def close(self) -> None:
        pass


def pipeline(engine: object = None, **settings: object) -> Pipeline:
    engine = engine or Steps((0.9, 0.1))
    return Pipeline(engine, LABELS, Preprocess(), open_detector("none"), Tracker(), **settings)  # type: ignore[arg-type]


def test_a_file_gives_every_frame_to_every_sink_however_slow_one_is() -> None:
    sinks = [Keeper("a"), Keeper("b", on_write=lambda _: time.sleep(0.003))]
    summary = run(Clip(60), pipeline(), sinks)
    for sink in sinks:
        assert sink.frames == list(range(60))
        assert sink.closed == 1
    assert (summary.frames, summary.faces, summary.frames_with_faces) == (60, 60, 60)
    assert summary.dropped == summary.reconnects == 0
    assert set(summary.stages_ms) == {"capture", *STAGES, "emit", "other"}
    assert sum(stage.share for stage in summary.stages_ms.values()) == pytest.approx(1, abs=0.01)
    assert summary.emotions == {"happy": 60}


class Watched(Clip):
    """A file that tells which thread reads it, and whether it is being read."""

    def __init__(self, frames: int, fails_at: int | None = None) -> None:
        super().__init__(frames)
        self.readers: set[str] = set()
        self.reading = False
        self._fails_at = fails_at

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self.reading = True
            self.readers.add(threading.current_thread().name)
            time.sleep(0.002)
            if frame.index == self._fails_at:
                raise SourceError("the disk is gone")
            self.reading = False
            yield frame


def test_a_file_is_read_ahead_and_nothing_reads_it_when_the_run_has_ended() -> None:
    whole, cut = Watched(30), Watched(1000)
    assert run(whole, pipeline(), [Keeper()]).frames == 30
    assert run(cut, pipeline(), [Keeper()], max_frames=5).frames == 5
    for source in (whole, cut):
        assert len(source.readers) == 1
        assert threading.current_thread().name not in source.readers
        assert not source.reading
    assert not any(thread.name in whole.readers | cut.readers for thread in threading.enumerate())


def test_what_a_file_fails_with_comes_after_the_frames_before_it() -> None:
    sink = Keeper()
    with pytest.raises(SourceError, match="the disk is gone"):
        run(Watched(30, fails_at=7), pipeline(), [sink])
    assert sink.frames == list(range(7))


def test_it_ends_after_so_many_frames_or_when_told_to() -> None:
    assert run(Clip(60), pipeline(), [Keeper()], max_frames=7).frames == 7
    asked = itertools.count()
    assert run(Clip(60), pipeline(), [Keeper()], keep_going=lambda: next(asked) < 5).frames < 10


def test_a_sink_that_fails_is_left_out_and_the_others_go_on() -> None:
    def full(index: int) -> None:
        if index == 3:
            raise OSError(28, "No space left on device")

    said: list[str] = []
    good = Keeper("good")
    summary = run(Clip(40), pipeline(), [Keeper("bad", on_write=full), good], say=said.append)
    assert good.frames == list(range(40))
    assert list(summary.sink_failures) == ["bad"]
    assert len(said) == 1


def test_it_ends_when_nobody_listens_any_more() -> None:
    def leave(index: int) -> None:
        if index == 5:
            raise StopRun

    summary = run(Clip(100_000), pipeline(), [Keeper("a", on_write=leave), Keeper("b", on_write=leave)])
    assert summary.frames < 1000
    assert summary.sink_failures == {}


def test_without_any_sink_it_runs_all_the_same() -> None:
    assert run(Clip(9), pipeline(), []).frames == 9


def test_sinks_are_closed_whatever_happens() -> None:
    class Broken(Steps):
        def run(self, pictures: np.ndarray) -> np.ndarray:
            raise EngineError("gone")

    keeper = Keeper()
    with pytest.raises(EngineError):
        run(Clip(5), pipeline(Broken((1, 0))), [keeper])
    assert keeper.closed == 1


def live(camera: Camera, reopen: Callable[[], Camera]) -> Live:
    return Live(camera, reopen, where="camera", retry=Retry(stall=1, delays=(0.2,), most=2))


def test_sinks_are_told_when_the_camera_goes_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEALTH_EVERY", 0.05)
    keeper = Keeper()
    with live(Camera(20, fps=200), lambda: Camera(20, fps=200)) as camera:
        summary = run(camera, pipeline(), [keeper], max_frames=35, temperature=lambda: 48.2)
    states = [state for state, _ in itertools.groupby(health.camera for health in keeper.health)]
    assert states == ["up", "lost", "up"]
    assert keeper.health[-1].temperature == 48.2
    assert keeper.health[-1].reconnects == summary.reconnects == 1
    assert 50 < keeper.health[1].fps <= 220
    assert keeper.health[1].stage_ms["infer"] > 0
    assert summary.age_ms is not None
    assert 0 < summary.age_ms["p99"] < 500


def test_a_stop_is_heard_while_there_is_no_camera() -> None:
    def gone() -> Camera:
        raise SourceError("not there")

    ends = time.monotonic() + 0.6
    with Live(Camera(3), gone, where="camera", retry=Retry(delays=(60,))) as camera:
        summary = run(camera, pipeline(), [Keeper()], keep_going=lambda: time.monotonic() < ends)
    assert time.monotonic() < ends + 1
    assert summary.frames <= 3


def test_a_camera_that_is_given_up_on_is_an_error_and_sinks_are_closed() -> None:
    def gone() -> Camera:
        raise SourceError("not there")

    keeper = Keeper()
    with live(Camera(3), gone) as camera, pytest.raises(SourceError, match="2 retries failed"):
        run(camera, pipeline(), [keeper])
    assert keeper.closed == 1


def test_smoothing_holds_a_label_that_flickers() -> None:
    rows = [(0.6, 0.4), (0.4, 0.6)]
    rough = run(Clip(100), pipeline(Steps(*rows)), [])
    smooth = run(Clip(100), pipeline(Steps(*rows), smoothing=Smoothing(0.5, 0.1)), [])
    assert rough.label_changes == 99
    assert smooth.label_changes == 0
    assert smooth.unsmoothed_changes_per_minute == rough.label_changes_per_minute


def test_pictures_are_not_smoothed_nor_tracked() -> None:
    line = pipeline(Steps((0.9, 0.1), (0.1, 0.9)), smoothing=Smoothing(10, 0.5), pace=Pace(5))
    results = [line.process(Frame(n, n / 10, np.zeros((48, 48, 3), np.uint8), f"{n}.jpg")) for n in range(6)]
    assert [result.faces[0].label for result in results] == ["happy", "sad"] * 3
    assert [result.faces[0].id for result in results] == [1, 2, 3, 4, 5, 6]
    assert all(result.faces[0].detected for result in results)


def test_faces_are_carried_between_detections() -> None:
    line = pipeline(pace=Pace(3))
    results = [line.process(Frame(n, n / 10, np.zeros((48, 48, 3), np.uint8))) for n in range(7)]
    assert [result.faces[0].detected for result in results] == [True, False, False, True, False, False, True]
    assert {result.faces[0].id for result in results} == {1}


def test_what_is_not_certain_is_said_so_and_keeps_its_label() -> None:
    line = pipeline(Steps((0.55, 0.45)), smoothing=Smoothing(min_confidence=0.6))
    (face,) = line.process(Frame(0, 0.0, np.zeros((48, 48, 3), np.uint8))).faces
    assert (face.label, face.certain, face.shown) == ("happy", False, "uncertain")


@pytest.mark.parametrize("faces", [0, 1, 2, 20])
def test_all_faces_of_a_frame_go_through_the_model_in_one_call(faces: int) -> None:
    from edgefer.preprocess import Box
    from edgefer.runtime.frames import Face

    class Fixed:
        def detect(self, image: np.ndarray) -> list[Face]:
            return [Face(Box(5 * n, 0, 40, 40)) for n in range(faces)]

        def forget(self) -> None:
            pass

    engine = Steps((0.9, 0.1))
    line = Pipeline(engine, LABELS, Preprocess(), Fixed(), Tracker())
    result = line.process(Frame(0, 0.0, np.zeros((200, 300, 3), np.uint8)))
    assert len(result.faces) == faces
    assert engine.pictures == ([faces] if faces else [])


def test_a_result_does_not_depend_on_smoothing_for_the_first_frame(tiny_bundle: Bundle) -> None:
    """The real engine, so that what runs is what was evaluated."""
    loaded = open_engine(tiny_bundle, "litert")
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    plain = Pipeline(loaded.engine, tiny_bundle.labels, tiny_bundle.preprocess, open_detector("none"), Tracker())
    smooth = Pipeline(
        loaded.engine, tiny_bundle.labels, tiny_bundle.preprocess, open_detector("none"), Tracker(), Smoothing(0.5, 0.1)
    )
    for line in (plain, smooth):
        (face,) = line.process(Frame(0, 0.0, image)).faces
        row = loaded.engine.run(tiny_bundle.preprocess(image)[None])[0]
        assert list(face.scores.values()) == pytest.approx(row.tolist())
        assert face.label == face.raw_label == tiny_bundle.labels[int(row.argmax())]
    loaded.engine.close()


def test_a_window_that_is_closed_ends_the_run_though_others_listen() -> None:
    def closed(index: int) -> None:
        if index == 5:
            raise StopRun

    window, other = Keeper("--show", on_write=closed), Keeper("text")
    window.main_thread = True
    assert run(Clip(500), pipeline(), [other, window]).frames == 6
    assert other.frames == list(range(6))


def test_a_run_that_ends_with_an_error_is_summed_up_too() -> None:
    def gone() -> Camera:
        raise SourceError("not there")

    summaries: list[Summary] = []
    with live(Camera(3, fps=20), gone) as camera, pytest.raises(SourceError):
        run(camera, pipeline(), [], report=summaries.append)
    assert [summary.frames for summary in summaries] == [3]
    assert run(Clip(5), pipeline(), [], report=summaries.append) == summaries[1]


@pytest.mark.parametrize("every", [1, 7, 50, 1000])
def test_the_first_frame_is_always_looked_at(every: int) -> None:
    line = pipeline(pace=Pace(every))
    found = [line.process(Frame(n, n / 25, IMAGE)).faces[0].detected for n in range(60)]
    assert found == [n % every == 0 for n in range(60)]


@pytest.mark.parametrize(("pause", "size", "same"), [(4.0, 48, True), (6.0, 48, False), (0.1, 40, False)])
def test_after_an_outage_or_in_another_size_faces_are_new(pause: float, size: int, same: bool) -> None:
    line = pipeline(Steps((0.6, 0.4), (0.45, 0.55)), pace=Pace(5), smoothing=Smoothing(0.5, 0.2))
    (before,) = line.process(Frame(0, 0.0, np.zeros((48, 48, 3), np.uint8))).faces
    (after,) = line.process(Frame(1, pause, np.zeros((size, size, 3), np.uint8))).faces
    assert (after.id == before.id, after.detected, after.label) == (same, not same, "happy" if same else "sad")


def test_a_label_that_takes_over_is_certain_only_when_it_reaches_the_threshold() -> None:
    line = pipeline(Steps((0.5, 0.2), (0.1, 0.35)), smoothing=Smoothing(0.01, 0.1, 0.4))
    answers = [line.process(Frame(n, n / 2, IMAGE)).faces[0] for n in range(2)]
    assert [(face.label, face.certain) for face in answers] == [("happy", True), ("sad", False)]


def test_an_engine_that_cannot_be_opened_again_at_first_is_tried_once_more() -> None:
    class Gone(Steps):
        def run(self, pictures: np.ndarray) -> np.ndarray:
            raise EngineError("the accelerator is gone")

    opened: list[int] = []

    def reopen() -> Steps:
        opened.append(1)
        if len(opened) == 1:
            raise EngineError("the accelerator is not back yet")
        return Steps((0.9, 0.1))

    said: list[str] = []
    engine = Reviving(Gone((1, 0)), reopen, said.append)
    assert run(Clip(5), pipeline(engine), []).frames == 5
    assert (len(opened), engine.restarts, len(said)) == (2, 1, 2)
