"""The documents' CNN of four convolutions, each with batch normalisation, pooling and dropout."""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

VARIANTS = {
    "cnn-bn4": Facts(
        summary="4 convolutions with batch normalisation, dense 512",
        parameters=526_983,
        trainable=524_999,
        macs=14_770_816,
        document="CNN of the CNN / ResNet50 / EfficientNetV2L comparison",
        document_score=0.569,
        document_split="validation",
    )
}


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = x = keras.Input((48, 48, 1), name="picture")
    for i, width in enumerate((32, 64, 128, 256), start=1):
        x = layers.Conv2D(width, 3, activation="relu", name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x)
        x = layers.Dropout(0.2, name=f"dropout{i}")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(512, activation="relu", name="dense")(x)
    x = layers.BatchNormalization(name="bn5")(x)
    x = layers.Dropout(0.2, name="dropout5")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
