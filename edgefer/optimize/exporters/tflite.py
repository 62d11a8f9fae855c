"""TensorFlow Lite: full int8 by post-training quantisation with per-channel weights, or float32.

The batch is fixed to 1: engines run pictures one by one, and XNNPACK plans best for fixed shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgefer.optimize.exporters import Source

SUFFIXES = (".tflite",)
NEEDS = ("tensorflow", "keras")
ENGINE = "litert"


def export(source: Source) -> tuple[bytes, ...]:
    """Return the model, uint8 [1, 48, 48, 1] → float32 probabilities [1, classes].

    The int8 one computes everything between in int8, softmax too. Its output is dequantised inside: a uint8 output
    would hold the same 256 steps.
    """
    if source.precision == "int8":
        return (quantised(source.net, source.calibration, takes_pixels=True),)
    return (floating(source.net, takes_pixels=True),)


def floating(net: Any, takes_pixels: bool) -> bytes:
    """Return `net` with softmax as float32 TFLite; it takes uint8 0–255, or float32 in [0, 1]."""
    return bytes(_converter(net, takes_pixels).convert())


def quantised(net: Any, calibration: Any, takes_pixels: bool) -> bytes:
    """Return `net` with softmax as full-int8 TFLite, ranges taken from `calibration` uint8 [n, 48, 48, 1].

    As the input ranges over [0, 1], uint8 input is quantised with scale 1/255 and zero point 0: pixels as
    they are. Without `takes_pixels` the very same model has float32 input in [0, 1].
    """
    import tensorflow as tf

    calibration = calibration.copy()
    calibration[0, 0, :2, 0] = 0, 255  # so that the input ranges over [0, 1] whatever the faces hold

    def faces() -> Iterator[list[Any]]:
        for face in calibration:
            yield [face[None].astype(np.float32) / np.float32(255)]

    converter = _converter(net, takes_pixels=False)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = faces
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8 if takes_pixels else tf.float32
    converter.inference_output_type = tf.float32
    return bytes(converter.convert())


def _converter(net: Any, takes_pixels: bool) -> Any:
    """Return a converter of the frozen graph; `from_keras_model` prints to standard output and fixes no batch."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def probabilities(picture: Any) -> Any:
        unit = tf.cast(picture, tf.float32) * np.float32(1 / 255) if takes_pixels else picture
        return tf.nn.softmax(net(unit, training=False))

    spec = tf.TensorSpec((1, *net.input_shape[1:]), tf.uint8 if takes_pixels else tf.float32, name="picture")
    graph = convert_variables_to_constants_v2(tf.function(probabilities).get_concrete_function(spec))
    return tf.lite.TFLiteConverter.from_concrete_functions([graph])
