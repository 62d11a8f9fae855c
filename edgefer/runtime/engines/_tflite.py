"""What ai-edge-litert and tflite-runtime share: the TensorFlow Lite interpreter's Python interface."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgefer.errors import EngineError
from edgefer.runtime.engines import Answers, Pictures, checked, running


class TFLiteEngine:
    """A `.tflite` model in an interpreter: uint8 in; uint8, int8 or float32 out, given back as float32."""

    def __init__(self, interpreter: Any, name: str, version: str) -> None:
        self.version = version
        self._name = name
        self._interpreter: Any = interpreter
        interpreter.allocate_tensors()
        self.provider = _provider(interpreter)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0]["dtype"] != np.uint8:
            raise EngineError("the model must have one uint8 input and one output")
        self._input = inputs[0]["index"]
        self._shape = tuple(int(v) for v in inputs[0]["shape"])
        self._output = outputs[0]["index"]
        self._answer = tuple(int(v) for v in outputs[0]["shape"])[1:]
        scale, zero = outputs[0]["quantization"]
        self._quantised = bool(scale)
        self._scale, self._zero = np.float32(scale), np.float32(zero)

    def run(self, pictures: Pictures) -> Answers:
        """Return the model's answers float32 [n, …] for pictures uint8 [n, h, w, 1]."""
        pictures = checked(pictures)
        if pictures.shape[1:] != self._shape[1:]:
            raise EngineError(f"the model takes pictures {list(self._shape[1:])}, found {list(pictures.shape[1:])}")
        result = np.empty((len(pictures), *self._answer), np.float32)
        with running(self._name):
            for i in range(len(pictures)):  # a batch is no faster here
                self._interpreter.set_tensor(self._input, pictures[i : i + 1])
                self._interpreter.invoke()
                result[i] = self._interpreter.get_tensor(self._output)[0]
        if self._quantised:
            result -= self._zero
            result *= self._scale
        return result

    def close(self) -> None:
        """Release the interpreter."""
        self._interpreter = None


def _provider(interpreter: Any) -> str:
    """Return what really runs the graph; the interpreter tells it in a list of operators that is not public."""
    if not hasattr(interpreter, "_get_ops_details"):
        return "unknown"
    delegated = any(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return "XNNPACK" if delegated else "built-in kernels"
