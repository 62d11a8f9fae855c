"""The weights of a network while it is trained: copies of them, and batch normalisation that fits averaged ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgefer.train.state import Arrays


def copies(net: Any) -> Arrays:
    """Return the weights of `net` in memory of their own."""
    return [np.array(w) for w in net.get_weights()]


def refresh(net: Any, batches: Iterable[Any]) -> None:
    """Measure what batch normalisation knows of its inputs anew on `batches` of pictures, where it is trained.

    For averaged weights: what was gathered under the raw ones does not fit them (Izmailov et al., 2018, §3.2).
    """
    layers = [layer for layer in net.layers if hasattr(layer, "moving_mean") and layer.trainable]
    if not layers:
        return
    usual = [layer.momentum for layer in layers]
    for k, batch in enumerate(batches, 1):
        for layer in layers:
            layer.momentum = 1.0 - 1.0 / k  # the plain mean of the first k batches
        net(batch, training=True)
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum
