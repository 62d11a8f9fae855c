"""onnxruntime, on the CPU or in another execution provider. Models that keep data in other files are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgefer.errors import EngineError
from edgefer.runtime.engines import Answers, Pictures, checked, quiet_at_first, running
from edgefer.runtime.engines._batches import Batches, FixedBatches

FORMAT = "onnx"
MODULE = "onnxruntime"
EXTRA = "onnxruntime"

EXTERNAL_DATA = b"\n\x08location\x12"
"""How a tensor's `location` entry begins in the file: the mark of external data, which can name any path."""


CPU, REMOTE = "CPUExecutionProvider", "AzureExecutionProvider"
FRAME = 32
"""Faces in one call elsewhere than on the CPU: those of a whole frame, within reason.

On the CPU they go one by one: together they take less time, but little, and other kernels may take a larger batch.
`python benchmarks/batches.py` says how much less.
"""


def available_providers() -> list[str]:
    """Return the execution providers that this onnxruntime was built with; whether one starts shows when it does.

    Azure's is left out: it sends what it is given to a service.
    """
    import onnxruntime

    return [str(name) for name in onnxruntime.get_available_providers() if name != REMOTE]


class Engine:
    """An ONNX model in an onnxruntime session."""

    def __init__(self, contents: Sequence[bytes], threads: int, providers: Sequence[str] = ()) -> None:
        import onnxruntime

        if EXTERNAL_DATA in contents[0]:
            raise EngineError("the ONNX model refers to data in other files, which is refused")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        available = available_providers()
        wanted = [name for name in dict.fromkeys(providers) if name in available and name != CPU] + [CPU]
        with quiet_at_first(
            "onnxruntime"
        ):  # a model that it refuses is told twice: on descriptor 2, and as an exception
            self._session = _session(contents[0], options, wanted)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(uint8)":
            raise EngineError("the model must have one uint8 input and one output")
        self._input = inputs[0].name
        self._shape = tuple(inputs[0].shape[1:])
        self._answer = tuple(side if isinstance(side, int) else 0 for side in outputs[0].shape[1:])
        self.provider = str(self._session.get_providers()[0])
        self.version = str(onnxruntime.__version__)
        fixed = inputs[0].shape[0]
        self._batches: Batches | FixedBatches
        if isinstance(fixed, int):
            self._batches = FixedBatches(self._call, fixed)
        elif self.provider == CPU:
            self._batches = Batches(self._call, 1)
        else:
            self._batches = Batches(self._call, FRAME)
            # A GPU prepares itself for each size when it first comes, TensorRT for minutes: at the start, not in a run.
            with running("onnxruntime"):
                self._call(np.zeros((FRAME, *self._shape), np.uint8))

    def run(self, pictures: Pictures) -> Answers:
        """Return the model's answers float32 [n, …] for pictures uint8 [n, h, w, 1]."""
        pictures = checked(pictures)
        if pictures.shape[1:] != self._shape:
            raise EngineError(f"the model takes pictures {list(self._shape)}, found {list(pictures.shape[1:])}")
        if not len(pictures):
            return np.empty((0, *self._answer), np.float32)
        with running("onnxruntime"):
            return self._batches(pictures)

    def _call(self, pictures: Pictures) -> Answers:
        return np.asarray(self._session.run(None, {self._input: pictures})[0], np.float32)

    def close(self) -> None:
        """Release the session."""
        self._session = None


def _session(model: bytes, options: Any, providers: Sequence[str]) -> Any:
    """Open the model in the first of the providers that starts; the engine's `provider` tells which.

    onnxruntime's own fall-back is off: it prints on standard output, and when a GPU fails later, it would go on on the
    CPU without a word.
    """
    import onnxruntime

    for first in range(len(providers) - 1):
        try:
            return onnxruntime.InferenceSession(model, options, providers=providers[first:], enable_fallback=0)
        except (RuntimeError, ValueError):
            continue
    return onnxruntime.InferenceSession(model, options, providers=providers[-1:], enable_fallback=0)
