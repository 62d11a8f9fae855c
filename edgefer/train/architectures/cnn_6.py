"""The documents' CNN of six convolutions in pairs; its widths are not given, so these are ours."""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

VARIANTS = {
    "cnn-6": Facts(
        summary="6 convolutions in pairs, 2 dense layers (widths are ours; the document's has 8,816,399 parameters)",
        parameters=8_799_591,
        trainable=8_799_143,
        macs=94_108_000,
        document="class-balanced CNN with 6 convolutions",
        document_score=0.6695,
        document_split="test",
    )
}
WIDTHS = (32, 64, 128)
DENSE = (1536, 928)


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = x = keras.Input((48, 48, 1), name="picture")
    for i, width in enumerate(WIDTHS, start=1):
        for part in "ab":
            x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{i}{part}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x)
        x = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.Dropout(0.25, name=f"dropout{i}")(x)
    x = layers.Flatten(name="flat")(x)
    for i, width in enumerate(DENSE, start=1):
        x = layers.Dense(width, activation="relu", name=f"dense{i}")(x)
        x = layers.Dropout(0.5, name=f"dense_dropout{i}")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
