"""Failure 3: inference fails, for a moment or for good."""

from __future__ import annotations

import numpy as np
import pytest

from edgefer.errors import EngineError
from edgefer.runtime.revive import ATTEMPTS, Reviving

ONE = np.zeros((1, 48, 48, 1), np.uint8)


class Engine:
    """Fails its first `failures` calls."""

    provider, version = "CPU", "1"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.closed = 0

    def run(self, pictures: np.ndarray) -> np.ndarray:
        if self.failures:
            self.failures -= 1
            raise EngineError("the accelerator has gone")
        return np.ones((len(pictures), 7), np.float32)

    def close(self) -> None:
        self.closed += 1


def test_an_engine_that_fails_is_opened_again_and_asked_once_more() -> None:
    said: list[str] = []
    first, second = Engine(1), Engine(0)
    engine = Reviving(first, lambda: second, said.append)
    assert engine.run(ONE).shape == (1, 7)
    assert engine.run(ONE).shape == (1, 7)
    assert (engine.restarts, first.closed, second.closed) == (1, 1, 0)
    assert said == ["the engine failed and is opened again: the accelerator has gone"]
    engine.close()
    assert second.closed == 1


def test_one_that_keeps_failing_is_an_error() -> None:
    opened: list[Engine] = []

    def reopen() -> Engine:
        opened.append(Engine(99))
        return opened[-1]

    engine = Reviving(Engine(99), reopen, lambda _: None)
    with pytest.raises(EngineError, match="3 times in a row; the last: the accelerator has gone"):
        engine.run(ONE)
    assert len(opened) == ATTEMPTS - 1
