"""How much memory the activations of a TFLite model take while it runs, from its own list of operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgefer.errors import ExportError


def peak_activation_bytes(tflite: bytes) -> int:
    """Return the most bytes of activations that are alive at once while a TFLite model runs its operations in order.

    A tensor lives from the operation that makes it to the last one that reads it; the input of the model from the
    start, its output to the end. Constants do not count, nor what is computed from constants alone. Runtimes need some
    more for their own scratch space, or less where they write a result over what it was made from: the figure compares
    networks. Raises ExportError for bytes that TensorFlow Lite does not read as a model.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from edgefer.quiet import native_chatter_silenced

    try:
        with native_chatter_silenced():
            # A delegate such as XNNPACK would put operations of its own in the list.
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            model = Interpreter(model_content=tflite, experimental_op_resolver_type=resolver)
            model.allocate_tensors()
            operations = [(_tensors(o["inputs"]), _tensors(o["outputs"])) for o in model._get_ops_details()]
            sizes = {t["index"]: _bytes(t) for t in model.get_tensor_details()}
            inputs = [t["index"] for t in model.get_input_details()]
            outputs = [t["index"] for t in model.get_output_details()]
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(f"cannot read the operations of the TFLite model: {reason}") from error
    return _peak(operations, sizes, inputs, outputs)


def _peak(operations: list[tuple[set[int], set[int]]], sizes: dict[int, int], inputs: Any, outputs: Any) -> int:
    first = dict.fromkeys(inputs, 0)
    last = dict.fromkeys(inputs, 0)
    for number, (read, made) in enumerate(operations):
        moving = read & first.keys()
        last |= dict.fromkeys(moving, number)
        if moving:
            first |= dict.fromkeys(made, number)
            last |= dict.fromkeys(made, number)
    last |= {tensor: len(operations) for tensor in outputs if tensor in first}
    return max(
        sum(sizes[tensor] for tensor in first if first[tensor] <= number <= last[tensor])
        for number in range(max(1, len(operations)))
    )


def _tensors(indices: Any) -> set[int]:
    """Return the tensors that an operation names; -1 stands for an input that is left out."""
    return {int(index) for index in indices if index >= 0}


def _bytes(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor["shape"]) * int(np.dtype(tensor["dtype"]).itemsize)
