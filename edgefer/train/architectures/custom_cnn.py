"""The documents' custom CNN: three convolutions without activation on the grey picture in three channels."""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

VARIANTS = {
    "custom-cnn": Facts(
        summary="3 linear convolutions, 4 dense layers",
        parameters=353_287,
        trainable=353_031,
        macs=84_177_008,
        document="CNN of the SVM / MLP / CNN / VGG19 comparison",
        document_score=0.32,
        document_split="test",
        inner="48×48×3",
    )
}


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = layers.Concatenate(name="rgb")([inputs] * 3)
    x = layers.Conv2D(256, 3, name="conv1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Dropout(0.2, name="dropout1")(x)
    x = layers.Conv2D(128, 2, name="conv2")(x)
    x = layers.AveragePooling2D(2, name="pool2")(x)
    x = layers.Dropout(0.2, name="dropout2")(x)
    x = layers.Conv2D(64, 3, name="conv3")(x)
    x = layers.AveragePooling2D(2, name="pool3")(x)
    x = layers.Dropout(0.2, name="dropout3")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(128, activation="relu", name="dense1")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Dense(64, activation="relu", name="dense2")(x)
    x = layers.Dense(16, activation="relu", name="dense3")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
