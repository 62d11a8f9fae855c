"""VGG19 from ImageNet with the heads of two documents.

Both read it at `block5_conv4`, 3×3×512 for a picture of 48×48: the pooling behind that would leave one cell.
"""

from __future__ import annotations

from typing import Any

from edgefer.train.architectures import Facts, _imagenet

VARIANTS = {
    "vgg19-transfer": Facts(
        summary="VGG19, frozen; dense 512, 384, 96, 32",
        parameters=20_524_327,
        trainable=499_943,
        macs=896_294_112,
        document="VGG19 of the SVM / MLP / CNN / VGG19 comparison",
        document_score=0.39,
        document_split="test",
        inner="48×48×3",
        pretrained=True,
    ),
    "vgg19-full": Facts(
        summary="VGG19, all layers trained; global average pooling",
        parameters=20_027_975,
        trainable=20_027_975,
        macs=895_798_784,
        document="VGG19 fine-tuned as a whole",
        document_score=0.664,
        document_split="test",
        inner="48×48×3",
        pretrained=True,
    ),
}
WEIGHTS = _imagenet.Published(
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "253f8cb515780f3b799900260a226db6",
)


def build(keras: Any, name: str, classes: int, *, weights: str = "none", unfreeze: int = -1) -> Any:
    """Return the network: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes].

    Raises TrainError as `_imagenet.backbone` and `_imagenet.freeze` do.
    """
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="picture")
    x = _imagenet.rgb(keras, inputs, offset=[-mean for mean in _imagenet.CAFFE_MEANS])
    whole = _imagenet.backbone(keras.applications.VGG19, x, weights, WEIGHTS)
    core = keras.Model(inputs, whole.get_layer("block5_conv4").output, name="vgg19")
    _imagenet.freeze(keras, core, unfreeze)
    x = core.output
    if name == "vgg19-full":
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = layers.AveragePooling2D(2, name="pool")(x)
        x = layers.Flatten(name="flat")(x)
        for i, width in enumerate((512, 384, 96, 32), start=1):
            x = layers.Dense(width, activation="relu", name=f"dense{i}")(x)
    return keras.Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)
