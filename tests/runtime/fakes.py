"""Sources, sinks and engines that do what a test tells them, where only their timing or their failures matter."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from edgefer.errors import SourceError
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import Sink

IMAGE = np.full((24, 32, 3), 90, np.uint8)


class Camera:
    """A live source: `frames` frames at `fps`, then what `end` does (raises, or blocks until let go)."""

    live = True
    skipped = 0

    def __init__(self, frames: int, fps: float = 1000.0, end: Callable[[], Any] | None = None) -> None:
        self.fps: float | None = fps
        self.closed = threading.Event()
        self._frames = frames
        self._end = end

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._frames):
            time.sleep(1 / (self.fps or 1000))
            yield Frame(index, 0.0, IMAGE)
        if self._end is None:
            raise SourceError("the cable is out")
        self._end()


class Clip:
    """A source that is not live: `frames` frames, as fast as they are taken."""

    live = False
    skipped = 0
    fps: float | None = 25.0

    def __init__(self, frames: int, image: np.ndarray = IMAGE) -> None:
        self._frames = frames
        self._image = image

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._frames):
            yield Frame(index, index / 25, self._image)


class Keeper(Sink):
    """Keeps what it is given; `on_write` may sleep or raise."""

    def __init__(self, name: str = "keeper", on_write: Callable[[int], None] = lambda _: None) -> None:
        self.name = name
        self.frames: list[int] = []
        self.health: list[Health] = []
        self.closed = 0
        self.threads: set[str] = set()
        self._on_write = on_write

    def write(self, frame: Frame, result: FrameResult) -> None:
        self.threads.add(threading.current_thread().name)
        self._on_write(frame.index)
        self.frames.append(frame.index)

    def tell(self, health: Health) -> None:
        self.health.append(health)

    def close(self) -> None:
        self.closed += 1


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Return whether `condition` becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
