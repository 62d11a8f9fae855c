"""The output of an int8 model as the whole numbers that it computes: whoever runs it multiplies by the scale."""

from __future__ import annotations

from typing import Any


def int8_output(model: bytes) -> bytes:
    """Return a TFLite model without the DEQUANTIZE that gives its output; as it is where something else gives it.

    The output's scale and zero point stand in the file, and reading some of it does not take dequantising all.
    """
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator
    from tensorflow.lite.tools import flatbuffer_utils

    content: Any = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    [graph] = content.subgraphs
    [given] = graph.outputs
    [last] = [operation for operation in graph.operators if given in operation.outputs]
    if content.operatorCodes[last.opcodeIndex].builtinCode != BuiltinOperator.DEQUANTIZE:
        return model
    [whole] = last.inputs
    if graph.tensors[whole].buffer and content.buffers[graph.tensors[whole].buffer].data is not None:
        return model  # a constant in half precision
    graph.operators = [operation for operation in graph.operators if operation is not last]
    graph.outputs = [int(whole)]
    if given == len(graph.tensors) - 1:  # nothing names it any more, and no other tensor's number changes
        graph.tensors.pop()
    for signature in content.signatureDefs or []:
        signature.outputs[0].tensorIndex = int(whole)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(content))
