"""Several faces in one call, only where that gives bit for bit what each of them gives alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from edgefer.runtime.engines import Pictures, Probabilities

Call = Callable[[Pictures], Probabilities]


class Batches:
    """Runs pictures in batches of `limit` at most, on a model that takes any number of them.

    A runtime may choose other kernels for a larger batch, which add in another order: the same face would be answered
    differently beside other faces. So the first batch of each size is run one by one as well, and that size is used
    from then on only when both agree to the last bit. Not `exact`: any batch is used, for a GPU, which is slow one by
    one and not exact anyway.
    """

    def __init__(self, call: Call, limit: int, exact: bool = True) -> None:
        self._call = call
        self._limit = limit
        self._exact = exact
        self._agrees: dict[int, bool] = {1: True}

    def __call__(self, pictures: Pictures) -> Probabilities:
        """Return probabilities float32 [n, k] for pictures uint8 [n, h, w, 1], n ≥ 1."""
        if len(pictures) <= self._limit:
            return self._batch(pictures)
        steps = range(0, len(pictures), self._limit)
        return np.concatenate([self._batch(pictures[start : start + self._limit]) for start in steps])

    def _batch(self, batch: Pictures) -> Probabilities:
        agrees = self._agrees.get(len(batch)) if self._exact else True
        if agrees:
            return self._call(batch)
        alone = np.concatenate([self._call(batch[i : i + 1]) for i in range(len(batch))])
        if agrees is None:
            self._agrees[len(batch)] = np.array_equal(self._call(batch), alone)
        return alone


class FixedBatches:
    """Runs pictures on a model that takes so many at once and no fewer; the last batch is filled up."""

    def __init__(self, call: Call, size: int) -> None:
        self._call = call
        self._size = size

    def __call__(self, pictures: Pictures) -> Probabilities:
        """Return probabilities float32 [n, k] for pictures uint8 [n, h, w, 1], n ≥ 1."""
        return np.concatenate([self._call(batch)[:count] for count, batch in self._filled(pictures)])

    def _filled(self, pictures: Pictures) -> Iterator[tuple[int, Pictures]]:
        for start in range(0, len(pictures), self._size):
            batch = pictures[start : start + self._size]
            count = len(batch)
            if count < self._size:
                batch = np.concatenate([batch, np.repeat(batch[-1:], self._size - count, axis=0)])
            yield count, batch
