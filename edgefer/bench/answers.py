"""What an artifact answers to pictures, as a camera would have it asked: preprocessing, then the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgefer.bench.latency import Progress
from edgefer.bundle import Bundle
from edgefer.runtime.engines import LoadedEngine
from edgefer.train.data import Dataset

CHUNK = 64
"""Pictures between two calls of progress."""

Pixels = npt.NDArray[np.uint8]


def answers(
    bundle: Bundle,
    images: Pixels,
    loaded: LoadedEngine,
    progress: Progress | None = None,
    change: Callable[[Pixels], Pixels] | None = None,
) -> npt.NDArray[np.float32]:
    """Return probabilities float32 [n, k] for grey pictures uint8 [n, h, w], in the order of the bundle's labels.

    `change` makes another grey picture of each before the bundle's preprocessing sees it. `progress(done, total)`
    counts pictures.
    """
    parts = []
    for first in range(0, len(images), CHUNK):
        chunk = list(images[first : first + CHUNK])
        if change is not None:
            chunk = [change(image) for image in chunk]
        parts.append(loaded.engine.run(np.stack([bundle.preprocess(image) for image in chunk])))
        if progress is not None:
            progress(first + len(chunk), len(images))
    return np.concatenate(parts)


def digest(data: Dataset) -> str:
    """Return the SHA-256 of pictures and the names of their labels: equal for the same faces in the same order.

    The order of the label names does not matter, so bundles with other orders can be told to be measured on the same.
    """
    found = hashlib.sha256(np.array(data.images.shape, "<i8").tobytes())
    found.update(np.ascontiguousarray(data.images).data)
    names = sorted(data.names)
    found.update("\n".join(names).encode())
    found.update(np.array([names.index(name) for name in data.names], "<i8")[data.labels].tobytes())
    return found.hexdigest()
