"""The network as int8 will compute it: every weight and activation rounded to 256 levels, in float arithmetic.

TensorFlow Lite's converter turns each fake-quantised tensor into an int8 one with the same scale, so that what is
trained, or calibrated, here is what every runtime computes. The wrappers and quantisers are those of
tensorflow-model-optimization; which layers they stand at is decided here: its own scheme leaves the kernel of a
convolution unquantised when ReLU follows it without batch normalisation between, and the networks here are folded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from edgefer.errors import ExportError
from edgefer.optimize.int8_output import int8_output
from edgefer.optimize.steps import in_steps
from edgefer.train.network import Network, Node, to_keras

KERNELS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}
POOLING = ("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D")
PASSING = (*POOLING, "Flatten", "Reshape", "ZeroPadding2D", "UpSampling2D")
"""Layers whose output takes the steps of their input."""
ROUNDING = (*KERNELS, "ReLU", "Activation", "Add", "Multiply", "Concatenate", "GlobalAveragePooling2D")
"""Layers whose output has steps of its own."""
FIXED = {"sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
"""Ranges that TensorFlow Lite prescribes for what these give."""
ADVICE = {
    "BatchNormalization": "put it straight after a convolution or a dense layer without activation",
    "LayerNormalization": "use batch normalisation",
    "SeparableConv2D": "write it as DepthwiseConv2D and a 1×1 Conv2D",
    "LeakyReLU": "use ReLU",
    "PReLU": "use ReLU",
    "ELU": "use ReLU or swish",
    "Softmax": "end the network in logits",
    "Resizing": "train on pictures of the size that the network computes with",
    "Normalization": "normalise per channel, which folds into the next layer",
    "Rescaling": "scale per channel, which folds into the next layer",
}
ACTIVATIONS = ("linear", "relu", "relu6", "sigmoid", "tanh", "gelu")


def refusals(network: Network, keep_float: Collection[str] = ()) -> list[str]:
    """Return, for each layer of a folded network that cannot be fake-quantised, its name and what to do."""
    found = []
    for node in network.nodes:
        if node.kind == "InputLayer" or node.name in keep_float:
            continue
        activation = node.settings.get("activation", "linear")
        if node.kind not in (*ROUNDING, *PASSING):
            advice = ADVICE.get(node.kind, "replace it by Add, Multiply or Concatenate")
            found.append(f"{node.name!r} is a {node.kind}: {advice}")
        elif node.kind == "UpSampling2D" and node.settings.get("interpolation", "nearest") != "bilinear":
            found.append(f"{node.name!r} repeats pixels, which int8 runtimes have no fast form of: use bilinear")
        elif activation not in ACTIVATIONS:
            found.append(f"{node.name!r} has the activation {activation!r}: use relu or swish")
    return found


def check_names(network: Network, keep_float: Collection[str]) -> None:
    """Raise ExportError for names of layers to keep float that the folded network does not have."""
    unknown = sorted(set(keep_float) - {node.name for node in network.nodes})
    if unknown:
        raise ExportError(
            f"there is no layer called {', '.join(map(repr, unknown))} to keep float; the layers are:"
            f" {', '.join(node.name for node in network.nodes)}"
        )


def check(network: Network, keep_float: Collection[str] = ()) -> None:
    """Raise ExportError that names every layer of a folded network that cannot be fake-quantised, and what to do."""
    check_names(network, keep_float)
    found = refusals(network, keep_float)
    if found:
        raise ExportError(
            f"{network.name} cannot be trained or calibrated for int8 like this: {'; '.join(found)}."
            " Or keep these layers float with --keep-float, or use plain post-training int8 (--calibrate converter)"
        )


def rounded(network: Network, keep_float: Collection[str] = ()) -> list[str]:
    """Return the layers of a folded network whose outputs get steps of their own, in order.

    That of a layer that is kept float gets none, so what reads it computes in float too.
    """
    names = []
    for node in network.nodes:
        readers = network.consumers(node.name)
        if node.kind not in ROUNDING or node.name in keep_float or _fixed(node):
            continue
        # ReLU is computed as part of what stands before it: one rounding for both.
        fused = len(readers) == 1 and _clips(readers[0]) and node.settings.get("activation", "linear") == "linear"
        if not (fused and node.kind in (*KERNELS, "Add")):
            names.append(node.name)
    return names


def _fixed(node: Node) -> tuple[float, float] | None:
    """Return the range of an activation that has a fixed one."""
    return FIXED.get(node.settings["activation"]) if node.kind == "Activation" else None


def _clips(node: Node) -> bool:
    if node.kind == "ReLU":
        plain = not node.settings.get("negative_slope") and not node.settings.get("threshold")
        return plain and node.settings.get("max_value") in (None, 6, 6.0)
    return node.kind == "Activation" and node.settings["activation"] in ("relu", "relu6")


def fake_quantised(
    keras: Any, network: Network, ranges: Mapping[str, tuple[float, float]], keep_float: Collection[str] = ()
) -> Any:
    """Return a folded network as a keras.Model of tf_keras that rounds as int8 does; logits float32 [n, classes].

    `ranges` gives (lowest, highest) of the output of each layer that `rounded` names; training moves them. Kernels of
    Conv2D are rounded per output channel; the converter takes those of other layers as a whole only. The picture is
    rounded to steps of exactly 1/255.
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import QuantizeLayer
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2

    outputs = set(rounded(network, keep_float))

    def wrap(layer: Any, node: Node) -> Any:
        kernel = None if node.name in keep_float else KERNELS.get(node.kind)
        if node.name in keep_float or (kernel is None and node.name not in outputs and not _fixed(node)):
            return layer
        rounds = None
        if ends := _fixed(node):
            rounds = quantizers.FixedQuantizer(8, *ends, narrow_range=False)
        elif node.name in outputs:
            rounds = quantizers.MovingAverageQuantizer(8, per_axis=False, symmetric=False, narrow_range=False)
        return QuantizeWrapperV2(layer, _config(kernel, node.kind == "Conv2D", rounds))

    first = QuantizeLayer(quantizers.FixedQuantizer(8, 0.0, 1.0, narrow_range=False), name="rounded_pixels")
    model = to_keras(keras, network, wrap, first)
    for node in network.nodes:
        for variable, value in zip(trained(model, node), node.weights, strict=True):
            variable.assign(value)
    set_ranges(model, ranges)
    model(np.zeros((1, *network.nodes[0].shape), np.float32), training=True)  # takes the kernels' ranges
    set_ranges(model, ranges)
    return model


def trained(model: Any, node: Node) -> list[Any]:
    """Return the variables that hold a layer's weights, in the order of `node.weights`."""
    if not node.weights:
        return []
    names = {layer.name for layer in model.layers}
    layer = model.get_layer(f"quant_{node.name}" if f"quant_{node.name}" in names else node.name)
    return list(layer.weights[: len(node.weights)])  # the quantisers' variables come after


def set_ranges(model: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Set the ranges of the layers' outputs."""
    for name, (low, high) in ranges.items():
        variables = model.get_layer(f"quant_{name}")._output_quantizer_vars
        variables["min_var"].assign(min(low, 0.0))
        variables["max_var"].assign(max(high, 1e-6))


def get_ranges(model: Any, names: Collection[str]) -> dict[str, tuple[float, float]]:
    """Return the ranges that the outputs of the layers `names` have now."""
    found = {name: model.get_layer(f"quant_{name}")._output_quantizer_vars for name in names}
    return {name: (float(v["min_var"]), float(v["max_var"])) for name, v in found.items()}


def to_tflite(model: Any, takes_pixels: bool, softmax: bool = True) -> bytes:
    """Return a fake-quantised model with softmax as TFLite; it takes uint8 0–255, or float32 in [0, 1].

    All is int8 up to the logits, and the softmax float32, as XNNPACK has no int8 softmax; its probabilities are rounded
    (see steps.py). Without `softmax` all is int8, and with `takes_pixels` the output too.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="picture")
    graph = tf.function(lambda picture: model(picture, training=False)).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(graph)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8 if takes_pixels else tf.float32
    converted = bytes(converter.convert())
    if softmax:
        return in_steps(_with_softmax(converted))
    return int8_output(converted) if takes_pixels else converted


def _with_softmax(model: bytes) -> bytes:
    """Return a TFLite model that gives the softmax of what `model` gives; the converter would make it int8."""
    import copy

    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    [graph] = content.subgraphs
    [logits] = graph.outputs
    probabilities = copy.deepcopy(graph.tensors[logits])
    probabilities.name, probabilities.buffer = b"probabilities", 0  # buffer 0 is the empty one
    graph.tensors.append(probabilities)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SOFTMAX
    code.version = 1
    content.operatorCodes.append(code)
    softmax = schema.OperatorT()
    softmax.opcodeIndex = len(content.operatorCodes) - 1
    softmax.inputs, softmax.outputs = [logits], [len(graph.tensors) - 1]
    softmax.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
    softmax.builtinOptions = schema.SoftmaxOptionsT()
    softmax.builtinOptions.beta = 1.0
    graph.operators.append(softmax)
    graph.outputs = list(softmax.outputs)
    for signature in content.signatureDefs or []:
        signature.outputs[0].tensorIndex = softmax.outputs[0]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))


def _config(kernel: str | None, per_channel: bool, output: Any) -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_config import QuantizeConfig

    class Config(QuantizeConfig):  # type: ignore[misc, unused-ignore]
        """Rounds a layer's kernel to int8 steps, symmetric, and its output by the quantiser `output`, if any."""

        def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
            if kernel is None:
                return []
            rounds = quantizers.LastValueQuantizer(8, per_axis=per_channel, symmetric=True, narrow_range=True)
            return [(getattr(layer, kernel), rounds)]

        def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
            return []

        def set_quantize_weights(self, layer: Any, quantize_weights: list[Any]) -> None:
            for weight in quantize_weights:
                setattr(layer, str(kernel), weight)

        def set_quantize_activations(self, layer: Any, quantize_activations: list[Any]) -> None:
            pass

        def get_output_quantizers(self, layer: Any) -> list[Any]:
            return [] if output is None else [output]

        def get_config(self) -> dict[str, Any]:
            return {}

    return Config()
