"""A multilayer perceptron on the raw pixels, from the documents.

Their network ends in ReLU instead of softmax. `mlp` ends in softmax as is usual; `mlp-relu` is theirs to the letter:
Keras' cross-entropy divides such outputs by their sum, and logits log(relu(x) + ε) mean exactly that.
"""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts

WIDTHS = (512, 256, 128, 64, 16)

_FACTS = {
    "parameters": 1_353_799,
    "trainable": 1_353_799,
    "macs": 1_352_816,
    "document": "MLP of the SVM / MLP / CNN / VGG19 comparison",
    "document_score": 0.33,
    "document_split": "test",
}
VARIANTS = {
    "mlp": Facts("5 dense layers on 2,304 pixels", **_FACTS),  # type: ignore[arg-type]
    "mlp-relu": Facts("mlp with the ReLU output of its document", **_FACTS),  # type: ignore[arg-type]
}
EPSILON = 1e-7
"""What Keras' cross-entropy keeps probabilities away from zero by."""


def build(keras: Any, name: str, classes: int) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = layers.Flatten(name="flat")(inputs)
    for i, width in enumerate(WIDTHS, start=1):
        x = layers.Dense(width, activation="relu", name=f"dense{i}")(x)
        if i == 1:
            x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.Dense(classes, dtype="float32", name="logits")(x)
    if name == "mlp-relu":
        x = keras.ops.log(layers.ReLU(name="output")(x) + EPSILON)
    return keras.Model(inputs, x, name=name)
