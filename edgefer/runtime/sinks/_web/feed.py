"""From the run to whoever watches: one slot for the newest frame, then events and pictures, made once for all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks._web.channel import Channel
from edgefer.runtime.sinks._web.figures import frame_event, health_event

PER_SECOND = 15
"""Pictures and figures at most."""
_LOOK_SECONDS = 0.02  # between two looks into an empty slot

Draw = Callable[[Frame, FrameResult], bytes]


@dataclass(frozen=True)
class News:
    """The newest events, each with its number, so that a reader can tell which of them it has had."""

    frame: bytes = b""
    frame_number: int = 0
    health: bytes = b""
    health_number: int = 0

    def since(self, seen: News) -> bytes:
        """Return the events that are newer than those in `seen`."""
        frame = self.frame if self.frame_number > seen.frame_number else b""
        return frame + (self.health if self.health_number > seen.health_number else b"")


class Feed:
    """Lives in the server's event loop; only `show` and `tell` are called from other threads.

    Those two leave things where the loop looks for them, and do not wake it: a system call that lets go of Python's
    lock would make the run wait for whatever this loop does next.
    """

    def __init__(self, draw: Draw | None) -> None:
        """`draw` makes a JPEG of a frame; None for a preview without picture."""
        self.pictures: Channel[bytes] = Channel()
        self.events: Channel[News] = Channel()
        self.news = News()
        self.health: Health | None = None
        self.last_frame: float | None = None
        """When the newest frame came, in seconds of `time.monotonic`."""
        self._draw = draw
        self._slot: deque[tuple[Frame, FrameResult]] = deque(maxlen=1)
        self._told: Health | None = None
        self._somebody = asyncio.Event()

    @property
    def watched(self) -> bool:
        """Whether there is anybody to make anything for."""
        return bool(self.pictures.watchers or self.events.watchers)

    def show(self, frame: Frame, result: FrameResult) -> None:
        """Put a frame into the slot and return; while nobody watches, only note that there was one."""
        self.last_frame = time.monotonic()
        if self.watched:
            self._slot.append((frame, result))

    def tell(self, health: Health) -> None:
        """Take note of how the run is doing."""
        self.health = health

    @contextlib.contextmanager
    def watch(self, channel: Channel[Any]) -> Iterator[None]:
        """Count a reader of one of the channels, while whom frames are taken."""
        with channel.watched():
            self._somebody.set()
            yield

    def close(self) -> None:
        """Let every reader come to its end."""
        self.pictures.close()
        self.events.close()

    def refresh(self) -> None:
        """Make an event of what was told since the last time."""
        health = self.health
        if health is not None and health is not self._told:
            self._told = health
            number = self.news.health_number + 1
            self.news = replace(self.news, health=health_event(health), health_number=number)
            self.events.put(self.news)

    async def produce(self, pool: ThreadPoolExecutor) -> None:
        """Make events and pictures of the newest frame, for ever; raises what `draw` raises."""
        loop = asyncio.get_running_loop()
        while True:
            if not self.watched:
                self._slot.clear()
                self._somebody.clear()
                await self._somebody.wait()
            began = loop.time()
            self.refresh()
            wait = _LOOK_SECONDS
            if self._slot:
                await self._make(*self._slot.pop(), pool)
                wait = max(0.0, began + 1 / PER_SECOND - loop.time())
            await asyncio.sleep(wait)

    async def _make(self, frame: Frame, result: FrameResult, pool: ThreadPoolExecutor) -> None:
        if self.events.watchers:
            number = self.news.frame_number + 1
            self.news = replace(self.news, frame=frame_event(frame, result), frame_number=number)
            self.events.put(self.news)
        if self.pictures.watchers and self._draw is not None:
            self.pictures.put(await asyncio.get_running_loop().run_in_executor(pool, self._draw, frame, result))
