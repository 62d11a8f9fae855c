"""ONNX: translated from TFLite by tf2onnx.

Shared int8 becomes QuantizeLinear / DequantizeLinear pairs with its scales, but for some 1e-5 of those that are added
(see _onnx_sums.py); onnxruntime's own quantisers make dynamic and, if wanted, int8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefer.errors import ExportError
from edgefer.optimize.exporters import Source, _onnx_int8, _onnx_sums

SUFFIXES = (".onnx",)
NEEDS = ("tensorflow", "keras", "onnx", "tf2onnx")
OWN_NEEDS = ("onnxruntime",)
"""For dynamic, fp16 and its own int8."""
ENGINE = "onnxruntime"
OPSETS = range(13, 19)
"""Quantisation per channel came with 13; tf2onnx 1.17 goes to 18."""


def export(source: Source) -> tuple[bytes, ...]:
    """Return the model, uint8 [n, 48, 48, 1] → float32 probabilities [n, classes]; n is free or `source.batch`.

    Raises ExportError for an opset outside of 13–18 or a method of calibration that onnxruntime lacks.
    """
    import onnx
    import tf2onnx

    if source.opset not in OPSETS:
        raise ExportError(f"ONNX opset must be {OPSETS[0]}–{OPSETS[-1]}, found {source.opset}; 17 is the usual one")
    core = source.folder / "core.tflite"
    core.write_bytes(source.core)
    model, _ = tf2onnx.convert.from_tflite(str(core), opset=source.opset)
    _free_batch(model)
    if source.precision == "int8" and source.own:
        unit = source.calibration.astype(np.float32) / np.float32(255)
        model = _onnx_int8.static(model, unit, source.method, source.folder)
    elif source.precision == "int8":
        _unsigned_activations(model)
    elif source.precision == "dynamic":
        model = _onnx_int8.dynamic(model, source.folder)
    if source.precision == "int8":
        _onnx_sums.settle(model)
    _take_pixels(model)
    if source.precision == "fp16":
        model = _half(model)
    if source.batch is not None:
        _fix_batch(model, source.batch)
    _put_in_order(model)
    onnx.checker.check_model(model, full_check=True)
    return (bytes(model.SerializeToString()),)


def _half(model: Any) -> Any:
    """Return the model with weights and arithmetic in half precision, float32 probabilities out.

    On an x86 processor onnxruntime 1.31 has no half-precision kernels for it: it makes the weights float32 when it
    loads the model and computes as fast as with the float32 file, which is twice as large.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=True)


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

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    shifted: dict[str, str] = {}
    for node in model.graph.node:
        of_weights = node.op_type == "DequantizeLinear" and node.input[0] in constants
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or of_weights:
            continue
        name = node.input[2]
        if name not in shifted:  # a constant of their own: weights with the same zero point may share it
            shifted[name] = f"{name}_unsigned"
            zero = numpy_helper.to_array(constants[name]).astype(np.int16) + 128
            model.graph.initializer.append(numpy_helper.from_array(zero.astype(np.uint8), shifted[name]))
        node.input[2] = shifted[name]


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


def _fix_batch(model: Any, batch: int) -> None:
    """Fix a free batch; the shapes between follow from the input's."""
    graph = model.graph
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del graph.value_info[:]


def _put_in_order(model: Any) -> None:
    """Order nodes and constants by how the output is computed and name them by that order: the same model, same bytes.

    tf2onnx and the quantisers walk through sets, and number names by how many the process has made so far.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    names = {"": "", graph.input[0].name: graph.input[0].name}  # an argument that is left out has an empty name
    ordered: list[Any] = []
    pending = [graph.output[0].name]
    while pending:
        maker = makers.get(pending[-1])
        missing = [name for name in maker.input if name in makers and name not in names] if maker else []
        if missing:
            pending += reversed(missing)
            continue
        wanted = pending.pop()
        if maker is None or wanted in names:
            continue
        maker.name = f"{maker.op_type}_{len(ordered)}"
        ordered.append(maker)
        names |= {name: f"{maker.name}_output_{k}" for k, name in enumerate(maker.output)}
        for k, name in enumerate(maker.input):
            names.setdefault(name, f"{maker.name}_input_{k}")
    names[graph.output[0].name] = graph.output[0].name
    for node in ordered:
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        if not node.domain:
            node.ClearField("domain")  # one that is set to nothing takes bytes
    used = [constants[name] for name in names if name in constants]
    for tensor in used:
        tensor.name = names[tensor.name]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(ordered)
    graph.initializer.extend(used)
