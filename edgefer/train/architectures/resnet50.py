"""ResNet50 from ImageNet under global maximum pooling; the document gives no dropout rate, 0.3 is ours."""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts, _imagenet

VARIANTS = {
    "resnet50": Facts(
        summary="ResNet50, global maximum pooling",
        parameters=23_602_055,
        trainable=23_548_935,
        macs=203_220_992,
        document="ResNet50 of the CNN / ResNet50 / EfficientNetV2L comparison",
        document_score=0.601,
        document_split="validation",
        inner="48×48×3",
        pretrained=True,
    )
}
WEIGHTS = _imagenet.Published(
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
    "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "4d473c1dd8becc155b73f8504c6f6626",
)


def build(keras: Any, name: str, classes: int, *, weights: str = "none", unfreeze: int = -1) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes].

    Raises TrainError as `_imagenet.backbone` and `_imagenet.freeze` do.
    """
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = _imagenet.rgb(keras, inputs, offset=[-mean for mean in _imagenet.CAFFE_MEANS])
    core = _imagenet.backbone(keras.applications.ResNet50, x, weights, WEIGHTS)
    _imagenet.freeze(keras, core, unfreeze)
    x = layers.GlobalMaxPooling2D(name="pool")(core.output)
    x = layers.Dropout(0.3, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
