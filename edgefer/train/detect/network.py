"""The networks that find faces: plain 3×3 convolutions down to stride 32 and a small pyramid back to stride 8.

Made of layers that quantization-aware training takes and that XNNPACK runs in one partition. Plain convolutions rather
than depthwise ones, as in the edge family: on int8 SIMD they reach far more of the arithmetic peak. One grid for all
sizes of face, so decoding is one array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgefer.errors import TrainError
from edgefer.grid import CHANNELS, STRIDE

FACE_BIAS = -4.6
"""Logit of the score of an untrained network, 1 %: most cells hold no face (Lin et al., 2017)."""
SIZE_BIAS = 2.0
"""Of width and height of an untrained network, in octaves above the stride: 32 pixels."""
COARSEST = 32 // STRIDE


@dataclass(frozen=True)
class Facts:
    """What is known of a network without building it; the tests build it and compare."""

    summary: str
    parameters: int
    macs: int
    """Multiplications with addition for one picture of 320×240."""
    channels: tuple[int, int, int, int, int]
    """Of the stages of stride 2, 4, 8, 16 and 32."""
    head: int
    """Channels of the head, at stride 8."""


VARIANTS = {
    "det-xs": Facts("residual 3×3 convolutions, 8–32 channels", 58_327, 48_783_360, (8, 16, 24, 32, 32), 32),
    "det-s": Facts("residual 3×3 convolutions, 16–48 channels", 125_615, 108_134_400, (16, 24, 32, 48, 48), 48),
}


def build(keras: Any, name: str, height: int, width: int, of: Any = None) -> Any:
    """Return the network `name`: float32 [n, height, width, 1] in [0, 1] → float32 [n, R, C, 15] (`edgefer.grid`).

    Sides are multiples of 8; where one is no multiple of 32, the grid has some cells more. The weights do not depend on
    the size: with `of`, such a network of another size, they are shared with it. Raises TrainError for an unknown name
    or another size.
    """
    if name not in VARIANTS:
        raise TrainError(f"there is no detector called {name!r}; choose one of: {', '.join(VARIANTS)}")
    if any(side < 32 or side % STRIDE for side in (height, width)):
        raise TrainError(
            f"a detector's picture has sides that are multiples of {STRIDE}, from 32, found {width}×{height}"
        )
    layers, facts = keras.layers, VARIANTS[name]

    def layer(kind: str, label: str, *arguments: Any, **settings: Any) -> Any:
        return of.get_layer(label) if of else getattr(keras.layers, kind)(*arguments, **settings, name=label)

    def conv(x: Any, channels: int, label: str, stride: int = 1, kernel: int = 3) -> Any:
        settings = {"strides": stride, "padding": "same", "use_bias": False}
        x = layer("Conv2D", f"{label}_conv", channels, kernel, **settings)(x)
        return layer("BatchNormalization", f"{label}_bn", momentum=0.97, epsilon=1e-3)(x)

    def relu(x: Any, label: str) -> Any:
        return layers.ReLU(name=f"{label}_relu")(x)

    def residual(x: Any, label: str) -> Any:
        return relu(layers.Add(name=f"{label}_add")([x, conv(x, x.shape[-1], label)]), label)

    def up(x: Any, label: str) -> Any:
        return layers.UpSampling2D(2, interpolation="bilinear", name=f"{label}_up")(x)

    inputs = keras.Input((height, width, 1), name="picture")
    s1, s2, s3, s4, s5 = facts.channels
    x = relu(conv(inputs, s1, "s1", stride=2), "s1")
    x = residual(relu(conv(x, s2, "s2", stride=2), "s2"), "s2r")
    x = relu(conv(x, s3, "s3", stride=2), "s3")
    more = [-side % COARSEST for side in x.shape[1:3]]  # so that what is halved twice can be doubled twice
    if any(more):
        x = layers.ZeroPadding2D(((0, more[0]), (0, more[1])), name="s3_pad")(x)
    eighth = residual(x, "s3r")
    sixteenth = residual(relu(conv(eighth, s4, "s4", stride=2), "s4"), "s4r")
    x = residual(relu(conv(sixteenth, s5, "s5", stride=2), "s5"), "s5r")
    x = layers.Add(name="p4_add")([up(x, "p4"), sixteenth])
    x = layers.Add(name="p3_add")([up(x, "p3"), conv(eighth, facts.head, "p3", kernel=1)])
    x = relu(conv(relu(x, "p3"), facts.head, "head"), "head")
    bias = np.array([FACE_BIAS, 0, 0, SIZE_BIAS, SIZE_BIAS] + [0] * (CHANNELS - 5), np.float32)
    grid = layer("Conv2D", "grid", CHANNELS, 1, dtype="float32")
    model = keras.Model(inputs, grid(x), name=name)
    if of:
        return model
    kernel, _ = grid.get_weights()
    grid.set_weights([kernel * 0.1, bias])
    return model
