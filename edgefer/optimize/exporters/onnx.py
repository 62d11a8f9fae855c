"""ONNX: translated from TFLite by tf2onnx; int8 becomes QuantizeLinear / DequantizeLinear pairs with its scales."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefer.optimize.exporters import Source

SUFFIXES = (".onnx",)
NEEDS = ("tensorflow", "keras", "onnx", "tf2onnx")
ENGINE = "onnxruntime"
OPSET = 17
"""tf2onnx 1.17 goes to 18; 17 is read by every onnxruntime since 1.12."""


def export(source: Source) -> tuple[bytes, ...]:
    """Return the model, uint8 [n, 48, 48, 1] → float32 probabilities [n, classes]; n is free."""
    import onnx
    import tf2onnx

    core = source.folder / "core.tflite"
    core.write_bytes(source.core)
    model, _ = tf2onnx.convert.from_tflite(str(core), opset=OPSET)
    if source.precision == "int8":
        _unsigned_activations(model)
    _take_pixels(model)
    _free_batch(model)
    onnx.checker.check_model(model, full_check=True)
    return (bytes(model.SerializeToString()),)


def _take_pixels(model: Any) -> None:
    """Put uint8 → float32 and the division by 255 in front."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    unit = graph.input[0].name
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "unit_scale"))
    graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["pixels_float"], to=TensorProto.FLOAT))
    graph.node.insert(1, helper.make_node("Mul", ["pixels_float", "unit_scale"], [unit]))
    graph.input[0].name = "pixels"
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8


def _unsigned_activations(model: Any) -> None:
    """Shift activations from int8 to uint8, zero point + 128: the same numbers; weights stay int8.

    On x86 onnxruntime fuses every layer of the result to integer kernels, but leaves most convolutions of the int8
    form in float. A limit: x86 processors without VNNI may saturate sums of uint8 × int8 products. onnxruntime's
    option against that, `session.x64quantprecision`, fails to load these models (1.31), so the gate is the proof.
    """
    from onnx import numpy_helper

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for name in {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}:
        zero = numpy_helper.to_array(tensors[name]).astype(np.int16) + 128
        tensors[name].CopyFrom(numpy_helper.from_array(zero.astype(np.uint8), name))


def _free_batch(model: Any) -> None:
    """Replace the batch of 1, which TFLite fixes, by a free one in the input, the output and every reshape."""
    from onnx import numpy_helper

    graph = model.graph
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del graph.value_info[:]  # shapes between, with the old batch
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for tensor in graph.initializer:
        if tensor.name in targets:
            shape = numpy_helper.to_array(tensor).copy()
            shape[0] = -1
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
