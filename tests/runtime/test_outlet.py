"""Sinks that are slow, dead or broken: the others, and the camera, go on."""

from __future__ import annotations

import threading
import time

import pytest

from edgefer.errors import SinkError
from edgefer.runtime import outlet as module
from edgefer.runtime.frames import Frame
from edgefer.runtime.outlet import DEPTH, Outlet, any_stuck, close_all
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import StopRun
from tests.runtime.fakes import IMAGE, Keeper, eventually

HEALTH = Health("up", 1.0, 1, 1.0, 0, 0, {}, None)


def put(outlet: Outlet, count: int) -> None:
    for index in range(count):
        outlet.put(Frame(index, 0.0, IMAGE), FrameResult(index, 0.0, (), {}))


def test_a_lossless_sink_gets_every_frame_in_order_in_one_thread_of_its_own() -> None:
    keeper = Keeper(on_write=lambda _: time.sleep(0.002))
    outlet = Outlet(keeper, lossless=True, say=print)
    put(outlet, 100)
    close_all([outlet])
    assert keeper.frames == list(range(100))
    assert keeper.threads == {"edgefer sink keeper"}
    assert keeper.closed == 1
    assert outlet.dropped == 0


def test_a_slow_sink_of_a_camera_gets_the_newest_and_holds_nobody_up() -> None:
    said: list[str] = []
    keeper = Keeper(on_write=lambda _: time.sleep(0.05))
    outlet = Outlet(keeper, lossless=False, say=said.append)
    start = time.monotonic()
    put(outlet, 1000)
    assert time.monotonic() - start < 0.5
    close_all([outlet])
    assert keeper.frames[-DEPTH:] == list(range(1000 - DEPTH, 1000))
    assert outlet.dropped == 1000 - len(keeper.frames)
    assert said == ["keeper is slower than the camera; it gets fewer frames"]


def test_a_dead_sink_holds_up_neither_camera_nor_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    never = threading.Event()
    outlet = Outlet(Keeper(on_write=lambda _: never.wait(20)), lossless=False, say=lambda _: None)
    start = time.monotonic()
    put(outlet, 1000)
    close_all([outlet])
    assert time.monotonic() - start < 2
    assert outlet.failure == "it did not finish within 0 s"
    assert any_stuck()
    never.set()
    assert eventually(lambda: not any_stuck())


def test_a_dead_sink_of_a_file_can_be_stopped() -> None:
    never = threading.Event()
    outlet = Outlet(Keeper(on_write=lambda _: never.wait(20)), lossless=True, say=lambda _: None)
    put(outlet, DEPTH + 1)  # one is in its hands
    asked = iter([True, True, False])
    outlet.put(Frame(9, 0.0, IMAGE), FrameResult(9, 0.0, (), {}), lambda: next(asked))
    assert next(asked, None) is None
    never.set()
    close_all([outlet])


@pytest.mark.parametrize("error", [SinkError("disk full"), OSError(28, "disk full"), RuntimeError("disk full")])
@pytest.mark.parametrize("main_thread", [False, True])
def test_a_sink_that_fails_is_told_of_once_and_closed(error: Exception, main_thread: bool) -> None:
    def fail(index: int) -> None:
        if index >= 2:
            raise error

    said: list[str] = []
    keeper = Keeper("--csv x", on_write=fail)
    keeper.main_thread = main_thread
    outlet = Outlet(keeper, lossless=True, say=said.append)
    put(outlet, 50)
    assert eventually(lambda: not outlet.open)
    close_all([outlet])
    assert keeper.frames == [0, 1]
    assert keeper.closed == 1
    assert len(said) == 1
    assert said[0].startswith("--csv x failed and is left out from now on: ")
    assert "disk full" in said[0]
    assert outlet.failure is not None


def test_a_sink_that_was_closed_by_whoever_watched_has_not_failed() -> None:
    def leave(_: int) -> None:
        raise StopRun

    said: list[str] = []
    outlet = Outlet(Keeper(on_write=leave), lossless=True, say=said.append)
    put(outlet, 10)
    assert eventually(lambda: not outlet.open)
    close_all([outlet])
    assert outlet.failure is None
    assert said == ["keeper: nobody listens any more"]


def test_a_sink_is_told_how_the_run_is_doing_without_frames() -> None:
    keeper = Keeper()
    outlet = Outlet(keeper, lossless=False, say=print)
    outlet.tell(HEALTH)
    assert eventually(lambda: keeper.health == [HEALTH])
    close_all([outlet])


def test_closing_twice_and_putting_afterwards_do_nothing() -> None:
    keeper = Keeper()
    outlet = Outlet(keeper, lossless=True, say=print)
    close_all([outlet])
    close_all([outlet])
    put(outlet, 3)
    outlet.tell(HEALTH)
    assert (keeper.frames, keeper.health, keeper.closed) == ([], [], 1)


def test_two_dead_sinks_take_no_longer_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    never = threading.Event()
    outlets = [Outlet(Keeper(str(n), lambda _: never.wait(20)), lossless=False, say=lambda _: None) for n in range(4)]
    for outlet in outlets:
        put(outlet, 2)
    start = time.monotonic()
    close_all(outlets)
    assert time.monotonic() - start < 1
    assert all(outlet.failure for outlet in outlets)
    never.set()


@pytest.mark.parametrize("error", [SinkError("disk full"), StopRun()])
def test_a_sink_that_nobody_can_be_told_of_is_closed_all_the_same(error: Exception) -> None:
    def fail(_: int) -> None:
        raise error

    def say(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    keeper = Keeper(on_write=fail)
    outlet = Outlet(keeper, lossless=True, say=say)
    put(outlet, 1)
    assert eventually(lambda: not outlet.open)
    close_all([outlet])
    assert (keeper.closed, outlet.failure) == (1, str(error) or None)
