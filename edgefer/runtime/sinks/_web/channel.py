"""The newest of something for many readers: nobody waits for anybody, and the slow see less of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """One slot that holds the newest value; every reader keeps the number of the last one that it took.

    Belongs to an event loop, but `watchers` may be read from anywhere.
    """

    def __init__(self) -> None:
        self.watchers = 0
        self.closed = False
        self.number = 0
        """Of the newest value; 0 before the first."""
        self._value: T | None = None
        self._changed = asyncio.Event()

    def put(self, value: T) -> None:
        """Replace the value, and wake whoever waits."""
        self._value = value
        self.number += 1
        self._wake()

    def close(self) -> None:
        """Let every reader come to its end."""
        self.closed = True
        self._wake()

    async def after(self, number: int, seconds: float) -> T | None:
        """Return the newest value if it is newer than `number`, waiting `seconds` for one at most; else None."""
        if self.number <= number and not self.closed:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)
        return self._value if self.number > number else None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Count a reader; with the last one the value goes too."""
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
            if not self.watchers:
                self._value = None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
