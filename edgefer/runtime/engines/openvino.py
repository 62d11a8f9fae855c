"""OpenVINO on the CPU: IR files, xml and bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgefer.errors import EngineError
from edgefer.quiet import telemetry_off
from edgefer.runtime.engines import Answers, Pictures, checked, running
from edgefer.runtime.engines._batches import FixedBatches

FORMAT = "openvino"
MODULE = "openvino"
EXTRA = "openvino"


class Engine:
    """An OpenVINO IR compiled for the CPU, tuned for latency, in the precision that it was exported in."""

    def __init__(self, contents: Sequence[bytes], threads: int, providers: Sequence[str] = ()) -> None:
        with telemetry_off():
            import openvino

        if len(contents) != 2:
            raise EngineError("an OpenVINO artifact is two files, .xml and .bin")
        core = openvino.Core()
        model = core.read_model(model=contents[0], weights=contents[1])
        if len(model.inputs) != 1 or len(model.outputs) != 1 or model.input().element_type != openvino.Type.u8:
            raise EngineError("the model must have one uint8 input and one output")
        self._shape = tuple(int(d.get_length()) for d in list(model.input().partial_shape)[1:])
        first = model.input().partial_shape[0]
        # Of a free batch size 1 is taken, also for several faces: fixed shapes, and an input that stays in its place,
        # make one call so much cheaper that a call for many does not pay (benchmarks/batches.py).
        size = 1 if first.is_dynamic else first.get_length()
        model.reshape([size, *self._shape])
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # Left alone it computes in bf16 or fp16 where the CPU can, which is not what was exported.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._request: Any = compiled.create_infer_request()
        self._input = np.zeros((size, *self._shape), np.uint8)
        self._request.set_input_tensor(openvino.Tensor(self._input, shared_memory=True))
        self._batches = FixedBatches(self._call, size)
        self._answer = tuple(int(d.get_length()) for d in list(model.output().partial_shape)[1:])
        self.provider = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
        self.version = str(openvino.__version__).split("-", maxsplit=1)[0]

    def run(self, pictures: Pictures) -> Answers:
        """Return the model's answers float32 [n, …] for pictures uint8 [n, h, w, 1]."""
        pictures = checked(pictures)
        if pictures.shape[1:] != self._shape:
            raise EngineError(f"the model takes pictures {list(self._shape)}, found {list(pictures.shape[1:])}")
        if not len(pictures):
            return np.empty((0, *self._answer), np.float32)
        with running("openvino"):
            return self._batches(pictures)

    def _call(self, pictures: Pictures) -> Answers:
        self._input[...] = pictures
        self._request.infer()
        return np.array(self._request.get_output_tensor().data, np.float32)  # the tensor is the next call's, too

    def close(self) -> None:
        """Release the compiled model."""
        self._request = None
