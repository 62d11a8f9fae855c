"""A plain CNN of three blocks, ours: the documents name a small CNN beside `deep-cnn` and do not describe it."""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

VARIANTS = {
    "base-cnn": Facts(
        summary="3 convolutions, dense 128 (layers are ours: the document gives none)",
        parameters=683_527,
        trainable=683_527,
        macs=22_487_936,
        document="deep CNN / base CNN / EfficientNetB2 comparison",
        document_score=0.56,
        document_split="9 pictures",
    )
}


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = x = keras.Input((48, 48, 1), name="picture")
    for i, width in enumerate((32, 64, 128), start=1):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(128, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
