"""onnxruntime on the CPU. Models that keep data in other files are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgefer.errors import EngineError
from edgefer.quiet import native_chatter_silenced
from edgefer.runtime.engines import Pictures, Probabilities, checked, in_batches

FORMAT = "onnx"
MODULE = "onnxruntime"
EXTRA = "onnxruntime"

EXTERNAL_DATA = b"\n\x08location\x12"
"""How a tensor's `location` entry begins in the file: the mark of external data, which can name any path."""


class Engine:
    """An ONNX model in an onnxruntime session."""

    def __init__(self, contents: Sequence[bytes], threads: int) -> None:
        import onnxruntime

        if EXTERNAL_DATA in contents[0]:
            raise EngineError("the ONNX model refers to data in other files, which is refused")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        with native_chatter_silenced():  # a model that it refuses is told twice: on descriptor 2, and as an exception
            session = onnxruntime.InferenceSession(contents[0], options, providers=["CPUExecutionProvider"])
        self._session: Any = session
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(uint8)":
            raise EngineError("the model must have one uint8 input and one output")
        self._input = inputs[0].name
        self._batch = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else 1
        self._shape = tuple(inputs[0].shape[1:])
        self._classes = int(outputs[0].shape[-1])
        self.provider = str(self._session.get_providers()[0])
        self.version = str(onnxruntime.__version__)

    def run(self, pictures: Pictures) -> Probabilities:
        """Return probabilities float32 [n, k] for pictures uint8 [n, h, w, 1]."""
        pictures = checked(pictures)
        if pictures.shape[1:] != self._shape:
            raise EngineError(f"the model takes pictures {list(self._shape)}, found {list(pictures.shape[1:])}")
        result = np.empty((len(pictures), self._classes), np.float32)
        for where, batch in in_batches(pictures, self._batch):
            result[where] = self._session.run(None, {self._input: batch})[0][: where.stop - where.start]
        return result

    def close(self) -> None:
        """Release the session."""
        self._session = None
