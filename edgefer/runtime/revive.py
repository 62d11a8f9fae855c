"""An engine that is opened anew when its runtime fails: one bad moment of a driver must not end a run of months."""

from __future__ import annotations

from collections.abc import Callable

from edgefer.errors import EngineError
from edgefer.runtime.engines import Engine, Pictures, Probabilities

ATTEMPTS = 3
"""Failures in a row with which the engine is given up on."""


class Reviving:
    """Runs `engine`; when that raises EngineError it is closed, opened again with `reopen`, and asked once more.

    An engine that cannot be opened again has failed once more.
    """

    def __init__(self, engine: Engine, reopen: Callable[[], Engine], say: Callable[[str], None]) -> None:
        self.provider = engine.provider
        self.version = engine.version
        self.restarts = 0
        """How often it was opened anew."""
        self._engine: Engine | None = engine
        self._reopen = reopen
        self._say = say

    def run(self, pictures: Pictures) -> Probabilities:
        """Return probabilities float32 [n, k] for pictures uint8 [n, h, w, 1].

        Raises EngineError when it fails ATTEMPTS times in a row.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if self._engine is None:
                    self._engine = self._reopen()
                    self.restarts += 1
                return self._engine.run(pictures)
            except EngineError as error:
                if attempt == ATTEMPTS:
                    raise EngineError(f"the engine failed {ATTEMPTS} times in a row; the last: {error}") from error
                self._say(f"the engine failed and is opened again: {error}")
                self.close()
        raise AssertionError("not reached")

    def close(self) -> None:
        """Release the model."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
