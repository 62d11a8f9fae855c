"""Several pictures in one call, as many as a model or a device is to be given."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from edgefer.runtime.engines import Answers, Pictures

Call = Callable[[Pictures], Answers]


class Batches:
    """Runs pictures in batches of `limit` at most, on a model that takes any number of them."""

    def __init__(self, call: Call, limit: int) -> None:
        self._call = call
        self._limit = limit

    def __call__(self, pictures: Pictures) -> Answers:
        """Return answers float32 [n, …] for pictures uint8 [n, h, w, 1], n ≥ 1."""
        if len(pictures) <= self._limit:
            return self._call(pictures)
        steps = range(0, len(pictures), self._limit)
        return np.concatenate([self._call(pictures[start : start + self._limit]) for start in steps])


class FixedBatches:
    """Runs pictures on a model that takes so many at once and no fewer; the last batch is filled up."""

    def __init__(self, call: Call, size: int) -> None:
        self._call = call
        self._size = size

    def __call__(self, pictures: Pictures) -> Answers:
        """Return answers float32 [n, …] for pictures uint8 [n, h, w, 1], n ≥ 1."""
        if len(pictures) == self._size:
            return self._call(pictures)
        return np.concatenate([self._call(batch)[:count] for count, batch in self._filled(pictures)])

    def _filled(self, pictures: Pictures) -> Iterator[tuple[int, Pictures]]:
        for start in range(0, len(pictures), self._size):
            batch = pictures[start : start + self._size]
            count = len(batch)
            if count < self._size:
                batch = np.concatenate([batch, np.repeat(batch[-1:], self._size - count, axis=0)])
            yield count, batch
