"""The edge family: small residual networks of plain 3×3 convolutions.

Made of layers that quantization-aware training takes and that XNNPACK runs in one partition: convolution, batch
normalisation, ReLU, add, average pooling, dense. Plain convolutions rather than depthwise ones: on int8 SIMD they
reach far more of the arithmetic peak, and they train faster on a CPU.
"""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

# Each stage: (channels, stride of its first convolution, residual convolutions after it).
STAGES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "edge-xs": ((8, 1, 0), (16, 2, 1), (32, 2, 1), (48, 2, 1), (56, 2, 0)),
    "edge-xs0": ((8, 1, 0), (16, 2, 0), (32, 2, 1), (64, 2, 1)),
    "edge-s": ((16, 1, 0), (24, 2, 1), (48, 2, 2), (80, 2, 1), (112, 2, 1)),
    "edge-s0": ((16, 1, 0), (32, 2, 0), (64, 2, 1), (128, 2, 2)),
    "edge-m": ((16, 1, 0), (32, 2, 0), (64, 2, 1), (128, 2, 2), (176, 2, 1)),
}
DROPOUT = {"edge-xs": 0.0, "edge-xs0": 0.25, "edge-s": 0.1, "edge-s0": 0.25, "edge-m": 0.2}
VARIANTS = {
    "edge-xs": Facts("residual 3×3 convolutions, 8–56 channels", 77_527, 77_015, 5_609_480),
    "edge-xs0": Facts("residual 3×3 convolutions, 8–64 channels", 71_663, 71_231, 4_811_200),
    "edge-s": Facts("residual 3×3 convolutions, 16–112 channels", 349_479, 348_295, 17_833_744),
    "edge-s0": Facts("residual 3×3 convolutions, 16–128 channels", 431_831, 430_711, 24_220_544),
    "edge-m": Facts("residual 3×3 convolutions, 16–176 channels", 915_111, 913_287, 28_554_704),
}


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network `name`: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers

    def conv(x: Any, channels: int, stride: int, label: str) -> Any:
        x = layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False, name=f"{label}_conv")(x)
        return layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{label}_bn")(x)

    inputs = x = keras.Input((48, 48, 1), name="picture")
    for i, (channels, stride, residuals) in enumerate(STAGES[name], start=1):
        x = layers.ReLU(name=f"s{i}_relu")(conv(x, channels, stride, f"s{i}"))
        for j in range(1, residuals + 1):
            y = conv(x, channels, 1, f"s{i}r{j}")
            x = layers.ReLU(name=f"s{i}r{j}_relu")(layers.Add(name=f"s{i}r{j}_add")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(DROPOUT[name], name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
