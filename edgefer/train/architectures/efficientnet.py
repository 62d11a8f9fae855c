"""EfficientNets from ImageNet, on an enlarged picture; they scale the pixels 0–255 inside.

What the documents leave open is ours: dropout 0.2 and 0.3, and for `efficientnet-b2`, where the size and the head
are not given either, 128×128 (4×4 cells at the end, a quarter of the pixels of its native 260×260) and a dense
layer of 256.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefer.train.architectures import Facts, _imagenet

VARIANTS = {
    "efficientnetv2-l": Facts(
        summary="EfficientNetV2-L at 224×224, frozen; global average pooling",
        parameters=117_755_815,
        trainable=8_967,
        macs=12_229_917_504,
        document="EfficientNetV2L of the CNN / ResNet50 / EfficientNetV2L comparison",
        document_score=0.54,
        document_split="validation (.649 and .662 with the last 20 and 45 layers trained)",
        inner="224×224×3",
        pretrained=True,
    ),
    "efficientnet-b2": Facts(
        summary="EfficientNet-B2 at 128×128, dense 256 (size and head are ours: the document gives none)",
        parameters=8_131_072,
        trainable=8_063_497,
        macs=215_958_976,
        document="deep CNN / base CNN / EfficientNetB2 comparison",
        document_score=0.56,
        document_split="9 pictures",
        inner="128×128×3",
        pretrained=True,
    ),
}
SIDES = {"efficientnetv2-l": 224, "efficientnet-b2": 128}
WEIGHTS = {
    "efficientnetv2-l": _imagenet.Published(
        "https://storage.googleapis.com/tensorflow/keras-applications/efficientnet_v2/efficientnetv2-l_notop.h5",
        "b0b66b5c863aef5b46e8608fe1711615",
    ),
    "efficientnet-b2": _imagenet.Published(
        "https://storage.googleapis.com/keras-applications/efficientnetb2_notop.h5",
        "111f8e2ac8aa800a7a99e3239f7bfb39",
    ),
}
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue on the scale 0–1."""


def build(keras: Any, name: str, classes: int, *, weights: str = "none", unfreeze: int = -1) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes].

    Raises TrainError as `_imagenet.backbone` and `_imagenet.freeze` do.
    """
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = _imagenet.rgb(keras, inputs, side=SIDES[name])
    large = name == "efficientnetv2-l"
    constructor = keras.applications.EfficientNetV2L if large else keras.applications.EfficientNetB2
    core = _imagenet.backbone(constructor, x, weights, WEIGHTS[name])
    if not large:
        _normalise(keras, core, weights)
    _imagenet.freeze(keras, core, unfreeze)
    x = layers.GlobalAveragePooling2D(name="pool")(core.output)
    if large:
        x = layers.Dropout(0.2, name="dropout")(x)
    else:
        x = layers.Dropout(0.3, name="dropout1")(x)
        x = layers.Dense(256, activation="relu", name="dense")(x)
        x = layers.Dropout(0.3, name="dropout2")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)


def _normalise(keras: Any, core: Any, weights: str) -> None:
    """Make the normalisation in EfficientNet-B2 subtract ImageNet's mean and divide by its deviation.

    The published file holds the deviation where the layer wants the variance. Keras makes up for it with one more
    layer, only when it loads that file itself (https://github.com/tensorflow/tensorflow/issues/49930); squaring the
    value does the same and leaves one graph for all.
    """
    (layer,) = (layer for layer in core.layers if isinstance(layer, keras.layers.Normalization))
    mean, variance, *count = layer.get_weights()
    if weights == "none":
        mean, variance = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)
    if np.allclose(variance, DEVIATION, atol=1e-3):
        variance = variance**2
    layer.set_weights([mean, variance, *count])
    layer.finalize_state()  # the layer computes with copies of its weights
