"""TensorFlow Lite: float32, half-precision weights, int8 weights, or int8 throughout but for the softmax.

A network that gives no probabilities gets no softmax, and its int8 form an int8 output. The batch is fixed to 1:
engines run pictures one by one, and XNNPACK plans best for fixed shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from edgefer.errors import ExportError
from edgefer.optimize.exporters import Source
from edgefer.optimize.int8_output import int8_output
from edgefer.optimize.steps import in_steps

SUFFIXES = (".tflite",)
NEEDS = ("tensorflow", "keras")
OWN_NEEDS: tuple[str, ...] = ()
ENGINE = "litert"


def export(source: Source) -> tuple[bytes, ...]:
    """Return the model, uint8 [1, 48, 48, 1] → float32 probabilities [1, classes], or what it gives without softmax.

    fp32 and int8 are what was converted for all formats; TensorFlow Lite's own quantiser is the shared one. fp16 and
    dynamic hold small weights only. fp16 ones become float32 when the model is loaded. With dynamic ones each
    convolution and dense layer rounds its input to 256 steps between that picture's extremes and multiplies in int8;
    what it gives is float32.
    """
    if source.precision == "fp16":
        return (_small_weights(source.net, True, source.softmax),)
    if source.precision == "dynamic":
        return (_small_weights(source.net, False, source.softmax),)
    return (source.pixels,)


def floating(net: Any, takes_pixels: bool, softmax: bool = True) -> bytes:
    """Return `net` with softmax, or without, as float32 TFLite; it takes uint8 0–255, or float32 in [0, 1]."""
    return bytes(_converter(net, takes_pixels, softmax).convert())


def _small_weights(net: Any, half: bool, softmax: bool) -> bytes:
    import tensorflow as tf

    converter = _converter(net, True, softmax)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if half:
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def quantised(
    net: Any, calibration: Any, takes_pixels: bool, keep_float: Sequence[str] = (), softmax: bool = True
) -> bytes:
    """Return `net` with softmax as int8 TFLite, ranges taken from `calibration` uint8 [n, h, w, 1].

    Weights are int8 per channel, everything up to the logits is computed in int8, and the softmax in float32, as
    XNNPACK has no int8 softmax; its probabilities are rounded (see steps.py). Without `softmax` all is int8, and with
    `takes_pixels` the output too. The Keras layers that `keep_float` names are computed in float32 with float32
    weights; raises ExportError for a name that no layer has, or whose layer computes nothing here.

    As the input ranges over [0, 1], uint8 input is quantised with scale 1/255 and zero point 0: pixels as
    they are. Without `takes_pixels` the very same model has float32 input in [0, 1].
    """
    return quantised_forms(net, calibration, keep_float, softmax)[takes_pixels]


def quantised_forms(
    net: Any, calibration: Any, keep_float: Sequence[str] = (), softmax: bool = True
) -> tuple[bytes, bytes]:
    """Return what `quantised` gives without and with `takes_pixels`, from one calibration."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.util import modify_model_io_type

    def convert(casts: bool) -> Any:
        ranged = _with_ranges(net, calibration, casts, softmax)
        return mlir_quantize(
            ranged, denylisted_ops=["SOFTMAX"], denylisted_nodes=_outputs(ranged, net, keep_float, softmax)
        )

    core = convert(casts=False)
    # It starts with the rounding of its input, which is taken over by uint8. When the first layer is float there is
    # none, and pixels are brought to [0, 1] in float.
    pixels = modify_model_io_type(core, tf.uint8, tf.float32) if _rounds_its_input(core) else convert(casts=True)
    if softmax:
        return in_steps(bytes(core)), in_steps(bytes(pixels))
    return bytes(core), int8_output(bytes(pixels))


def _with_ranges(net: Any, calibration: Any, takes_pixels: bool, softmax: bool) -> bytes:
    """Return the float32 model that carries what each of its tensors ranged over on the calibration faces."""
    import tensorflow as tf

    calibration = calibration.copy()
    calibration[0, 0, :2, 0] = 0, 255  # so that the input ranges over [0, 1] whatever the faces hold

    def faces() -> Iterator[list[Any]]:
        for face in calibration:
            yield [face[None] if takes_pixels else face[None].astype(np.float32) / np.float32(255)]

    converter = _converter(net, takes_pixels, softmax)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = faces
    # `convert` would quantise at once, and takes no list of what to leave out.
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


def _outputs(model: bytes, net: Any, layers: Sequence[str], softmax: bool) -> list[str]:
    """Return the tensors that the operations of these Keras layers give; one operation may stand for several layers."""
    [graph] = _read(model).subgraphs
    tensors = [graph.tensors[i].name.decode() for operation in graph.operators for i in operation.outputs]
    given = graph.tensors[graph.outputs[0]].name.decode()
    found: list[str] = []
    for layer in layers:
        # Names are made of the paths of what was fused, such as "net_1/relu_1/Relu;net_1/conv_1/convolution": Keras
        # adds the same number to the network's name and to each layer's.
        path = re.compile(rf"(?:^|;){re.escape(net.name)}(_\d+|)/(?:.*/)?{re.escape(layer)}\1/")
        names = [name for name in tensors if path.search(name)]
        if not softmax and layer == net.outputs[0]._keras_history.operation.name:
            names.append(given)  # what the model gives is called after nothing
        if not names:
            raise ExportError(
                f"cannot keep {layer!r} float: the network has no layer of this name that computes something"
            )
        found += names
    return found


def _rounds_its_input(model: bytes) -> bool:
    """Return whether nothing but QUANTIZE reads the model's input."""
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    content = _read(model)
    [graph] = content.subgraphs
    readers = [operation for operation in graph.operators if graph.inputs[0] in operation.inputs]
    codes = {content.operatorCodes[operation.opcodeIndex].builtinCode for operation in readers}
    return codes == {BuiltinOperator.QUANTIZE}


def _read(model: bytes) -> Any:
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils.convert_bytearray_to_object(bytearray(model))


def _converter(net: Any, takes_pixels: bool, softmax: bool) -> Any:
    """Return a converter of the frozen graph; `from_keras_model` prints to standard output and fixes no batch."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def answer(picture: Any) -> Any:
        unit = tf.cast(picture, tf.float32) * np.float32(1 / 255) if takes_pixels else picture
        given = net(unit, training=False)
        return tf.nn.softmax(given) if softmax else given

    spec = tf.TensorSpec((1, *net.input_shape[1:]), tf.uint8 if takes_pixels else tf.float32, name="picture")
    graph = convert_variables_to_constants_v2(tf.function(answer).get_concrete_function(spec))
    return tf.lite.TFLiteConverter.from_concrete_functions([graph])
