"""The documents' deep CNN: four wide convolutions and two dense layers on the grey picture in three channels.

Its rescaling layer is the division by 255 that every network here has in front.
"""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

VARIANTS = {
    "deep-cnn": Facts(
        summary="4 convolutions of 64–512, 2 dense layers",
        parameters=4_181_895,
        trainable=4_178_439,
        macs=209_372_928,
        document="deep CNN / base CNN / EfficientNetB2 comparison",
        document_score=0.56,
        document_split="9 pictures (.33–.56)",
        inner="48×48×3",
    )
}


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = layers.Concatenate(name="rgb")([inputs] * 3)
    for i, (width, size) in enumerate(((64, 3), (128, 5), (256, 3), (512, 3)), start=1):
        x = layers.Conv2D(width, size, padding="same", activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x)
        x = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.Dropout(0.25, name=f"dropout{i}")(x)
    x = layers.Flatten(name="flat")(x)
    for i, width in enumerate((512, 256), start=5):
        x = layers.Dense(width, activation="relu", name=f"dense{i - 4}")(x)
        x = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.Dropout(0.25, name=f"dropout{i}")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
