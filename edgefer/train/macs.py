"""How much arithmetic a network takes for one picture."""

from __future__ import annotations

import math
from typing import Any


def count_macs(model: Any) -> int:
    """Return the multiplications with addition that built `model` (a keras.Model) does for one picture.

    Counted are convolutions (`Conv2D`, with groups, `DepthwiseConv2D`, `SeparableConv2D`; channels last) and `Dense`,
    each layer once however often it is called, and those of models within. Left out are biases, batch normalisation,
    activations, pooling, resizing and sums: a few per cent in these networks.
    """
    return sum(count_macs(layer) if hasattr(layer, "layers") else _layer_macs(layer) for layer in model.layers)


def _layer_macs(layer: Any) -> int:
    kind = type(layer).__name__  # by name, so that layers of Keras 3 and of tf_keras both count
    if kind not in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"):
        return 0
    positions: int = math.prod(layer.output.shape[1:-1])  # of a kernel; 1 for a dense layer on vectors
    kernels = [w for w in layer.weights if len(w.shape) > 1]  # [height, width, channels in a group, channels out]
    weights: int = sum(math.prod(kernel.shape) for kernel in kernels)
    return positions * weights
