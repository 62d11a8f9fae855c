"""Probabilities of int8 models in steps of 1/256, so that every processor gives the same bits.

Up to the logits all is whole numbers, and the same everywhere. The softmax is float32, and what computes it differs
from processor to processor by about 1e-7; without the rounding after it no answer could be compared bit by bit.
TensorFlow Lite's own int8 softmax is worse: on Arm it takes another table than on x86, and some answers are a whole
step apart.
"""

from __future__ import annotations

import copy
from typing import Any


def in_steps(model: bytes) -> bytes:
    """Return a TFLite model whose float32 output in [0, 1] is rounded to int8, 1/256 a step, and written as float32."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    [graph] = content.subgraphs
    [last] = graph.outputs
    steps, output = copy.deepcopy(graph.tensors[last]), copy.deepcopy(graph.tensors[last])
    steps.name, steps.type, steps.buffer = b"steps", schema.TensorType.INT8, 0  # buffer 0 is the empty one
    steps.quantization = schema.QuantizationParametersT()
    steps.quantization.scale, steps.quantization.zeroPoint = [1 / 256], [-128]
    output.name, output.buffer = b"probabilities", 0
    graph.tensors[last].name = b"softmax"
    graph.tensors += [steps, output]
    tail = [last, len(graph.tensors) - 2, len(graph.tensors) - 1]
    for code, before, after in zip(("QUANTIZE", "DEQUANTIZE"), tail, tail[1:], strict=False):
        operation = schema.OperatorT()
        operation.opcodeIndex = _code(content, getattr(schema.BuiltinOperator, code), schema)
        operation.inputs, operation.outputs = [before], [after]
        graph.operators.append(operation)
    graph.outputs = [tail[-1]]
    for signature in content.signatureDefs or []:
        signature.outputs[0].tensorIndex = tail[-1]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))


def _code(content: Any, builtin: int, schema: Any) -> int:
    """Return the index of an operator code, which is added when the model has none of it."""
    for index, code in enumerate(content.operatorCodes):
        if code.builtinCode == builtin:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = builtin
    code.version = 1
    content.operatorCodes.append(code)
    return len(content.operatorCodes) - 1
