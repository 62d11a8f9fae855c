"""The documents' CNN of four convolutions with a dense layer of 1,024."""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

VARIANTS = {
    "cnn-1024": Facts(
        summary="4 convolutions, dense 1024",
        parameters=2_345_607,
        trainable=2_345_607,
        macs=77_326_464,
        document="webcam detection with a 4-convolution CNN",
        document_score=0.62,
        document_split="test",
    )
}


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = layers.Conv2D(32, 3, activation="relu", name="conv1")(inputs)
    x = layers.Conv2D(64, 3, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Dropout(0.25, name="dropout1")(x)
    x = layers.Conv2D(128, 3, activation="relu", name="conv3")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Conv2D(128, 3, activation="relu", name="conv4")(x)
    x = layers.MaxPooling2D(name="pool3")(x)
    x = layers.Dropout(0.25, name="dropout2")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(1024, activation="relu", name="dense")(x)
    x = layers.Dropout(0.5, name="dropout3")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
