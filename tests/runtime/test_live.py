"""A camera that goes, hangs, comes back: failures 1, 2, 6 and 11 of unattended programs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from edgefer.errors import SourceError
from edgefer.runtime import live as module
from edgefer.runtime.frames import Frame, FrameSource
from edgefer.runtime.live import Live, Retry
from tests.runtime.fakes import IMAGE, Camera, eventually

QUICK = Retry(stall=0.3, delays=(0.0,))


def captures() -> int:
    return sum(thread.name == "edgefer-capture" for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "TICK", 0.02)
    monkeypatch.setattr(module, "OPENING", 0.2)
    yield
    assert eventually(lambda: captures() == 0), "a capture thread was left behind"


def over(first: FrameSource, reopen: Callable[[], FrameSource], retry: Retry = QUICK) -> tuple[Live, list[str]]:
    said: list[str] = []
    return Live(first, reopen, where="rtsp://…@cam", retry=retry, say=said.append), said


def take(live: Live, frames: int, seconds: float = 10.0) -> list[Frame]:
    """Return the next frames; fails when they do not come in time."""
    deadline = time.monotonic() + seconds
    found: list[Frame] = []
    for frame in live:
        if frame is not None:
            found.append(frame)
        if len(found) == frames:
            return found
        assert time.monotonic() < deadline, f"{len(found)} of {frames} frames came"
    raise AssertionError("not reached")


@pytest.mark.alone
def test_only_the_newest_frame_is_kept_and_drops_are_counted() -> None:
    """Failure 6: a camera of 100 frames/s against work for 10: no frame is older than the work on one."""
    camera, _ = over(Camera(10_000, fps=100), lambda: Camera(0))
    ages, indices = [], []
    with camera:
        for _ in range(10):
            (frame,) = take(camera, 1)
            assert frame.captured is not None
            ages.append(time.monotonic() - frame.captured)
            indices.append(frame.index)
            time.sleep(0.1)
        assert max(ages[1:]) < 0.06, "older than the next frame could have been"
        assert indices == sorted(set(indices))
        assert camera.dropped >= indices[-1] - len(indices), "dropped frames are numbered and counted"
        assert camera.dropped > 30


def test_a_camera_that_goes_comes_back_and_is_told_of_once() -> None:
    attempts = []

    def reopen() -> FrameSource:
        attempts.append(time.monotonic())
        if len(attempts) % 4:
            raise SourceError("no camera there")
        return Camera(5)

    camera, said = over(Camera(5), reopen)
    with camera:
        times = [frame.time for frame in take(camera, 8)]
    assert len(attempts) in (4, 8)
    assert camera.reconnects == len(attempts) // 4
    assert said[:2] == [
        "camera rtsp://…@cam is lost: the cable is out; trying again until it is back",
        "camera rtsp://…@cam is back after 0 s (reconnect 1)",
    ]
    assert times == sorted(times)


def test_the_delays_grow_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [Retry().delay(n) for n in range(1, 11)] == [1, 1, 1, 1, 1, 5, 10, 60, 60, 60]
    attempts: list[float] = []

    def refuse() -> FrameSource:
        attempts.append(time.monotonic())
        raise SourceError("refused")

    camera, _ = over(Camera(0), refuse, Retry(delays=(0.1, 0.1, 0.4), most=5))
    start = time.monotonic()
    with camera, pytest.raises(SourceError):
        take(camera, 1)
    gaps = [after - before for before, after in zip([start, *attempts], attempts, strict=False)]
    for gap, wanted in zip(gaps, (0.1, 0.1, 0.4, 0.4, 0.4), strict=True):
        assert wanted <= gap < wanted + 0.25


def test_after_so_many_failures_it_is_given_up() -> None:
    def refuse() -> FrameSource:
        raise SourceError("connection refused")

    camera, said = over(Camera(3), refuse, Retry(delays=(0.0,), most=3))
    with camera, pytest.raises(SourceError, match=r"3 retries failed; the last: connection refused"):
        take(camera, 100)
    assert len(said) == 1


def test_a_camera_that_falls_silent_is_abandoned_and_opened_anew() -> None:
    """Failure 1: `read()` blocks for ever."""
    release = threading.Event()
    silent = Camera(2, end=lambda: release.wait(20))
    camera, said = over(silent, lambda: Camera(50))
    with camera:
        assert len(take(camera, 10, seconds=3)) == 10
        assert "no picture for 0 s" in said[0]
        assert not silent.closed.is_set()
        release.set()
        assert silent.closed.wait(5), "an abandoned camera is let go of when its driver answers"


def test_a_camera_that_never_opens_is_abandoned() -> None:
    release = threading.Event()
    hangs = []

    def reopen() -> FrameSource:
        if not hangs:
            hangs.append(1)
            release.wait(20)
        return Camera(50)

    camera, said = over(Camera(1), reopen)
    with camera:
        take(camera, 10, seconds=5)
        assert camera.reconnects == 1
        release.set()
    assert len(said) == 2


def test_too_many_reads_that_never_come_back_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOPELESS", 0.5)
    release = threading.Event()
    stuck = [Camera(1, end=lambda: release.wait(30)) for _ in range(10)]
    camera, _ = over(stuck.pop(), stuck.pop, Retry(stall=0.05, delays=(0.0,)))
    with pytest.raises(SourceError, match="4 reads never came back"), camera:
        take(camera, 100)
    release.set()


def test_a_late_frame_of_an_abandoned_capture_is_not_taken() -> None:
    release = threading.Event()

    class Late(Camera):
        def __iter__(self) -> Iterator[Frame]:
            release.wait(20)
            yield Frame(0, 0.0, 7 * module_image())

    camera, _ = over(Late(1), lambda: Camera(10_000, fps=200))
    with camera:
        take(camera, 3)
        release.set()
        assert all(frame.image[0, 0, 0] == 90 for frame in take(camera, 50))


def module_image():  # type: ignore[no-untyped-def]
    import numpy as np

    return np.ones((2, 2, 3), np.uint8)


def test_whatever_a_driver_raises_the_camera_is_tried_again() -> None:
    def explode() -> None:
        raise RuntimeError("driver bug 17")

    camera, said = over(Camera(2, end=explode), lambda: Camera(50))
    with camera:
        take(camera, 5)
    assert "driver bug 17" in said[0]


def test_a_wrong_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 11: the clock jumps a year."""
    camera, said = over(Camera(10_000, fps=200), lambda: Camera(0))
    with camera:
        before = take(camera, 5)[-1].time
        monkeypatch.setattr(time, "time", lambda: 4e9)
        after = [frame.time for frame in take(camera, 20)]
    assert all(before <= t < before + 5 for t in after)
    assert said == []


def test_a_thousand_reconnects_leave_no_thread_and_no_descriptor() -> None:
    """Failures 2 and 5."""

    class WithFile(Camera):
        def __enter__(self) -> Camera:
            self.file = os.open(os.devnull, os.O_RDONLY)
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.file)

    descriptors = len(os.listdir("/proc/self/fd"))
    camera, said = over(WithFile(1, fps=100_000), lambda: WithFile(1, fps=100_000))
    with camera:
        deadline = time.monotonic() + 60
        for _ in camera:
            assert captures() <= 2
            if camera.reconnects >= 1000:
                break
            assert time.monotonic() < deadline
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert len(said) >= 2000


def test_corrupt_frames_after_the_last_good_one_are_counted() -> None:
    class Corrupt(Camera):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(0, 0.0, IMAGE)
            self.skipped = 40
            raise SourceError("no whole picture came")

    camera, _ = over(Corrupt(1), lambda: Corrupt(1), Retry(delays=(0.0,), most=2))
    with camera, pytest.raises(SourceError):
        take(camera, 100)
    assert camera.skipped == 120


def test_slow_reads_that_do_come_back_do_not_end_the_run() -> None:
    """A short --stall against a driver that answers late: one picture, then silence, each time."""

    def late() -> Camera:
        return Camera(1, end=lambda: time.sleep(1))

    camera, _ = over(late(), late, Retry(stall=0.05, delays=(0.0,)))
    with camera:
        take(camera, 12, seconds=20)


def test_what_a_camera_gave_before_the_run_began_is_not_dropped() -> None:
    camera, _ = over(Camera(10_000, fps=500), lambda: Camera(0))
    with camera:
        time.sleep(0.2)  # a model is loaded
        (frame,) = take(camera, 1)
        assert (frame.index, camera.dropped) == (0, 0)
        assert frame.captured is not None
        assert time.monotonic() - frame.captured < 0.1


def test_a_camera_that_is_away_to_begin_with_is_waited_for() -> None:
    attempts = []

    def reopen() -> FrameSource:
        attempts.append(1)
        if len(attempts) < 3:
            raise SourceError("no camera there")
        return Camera(50)

    said: list[str] = []
    with Live(None, reopen, where="cam", retry=QUICK, say=said.append) as camera:
        take(camera, 5)
    assert said == [
        "camera cam is lost: no camera there; trying again until it is back",
        "camera cam is back after 0 s (reconnect 1)",
    ]
