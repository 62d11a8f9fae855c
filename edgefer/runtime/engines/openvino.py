"""OpenVINO on the CPU: IR files, xml and bin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgefer.errors import EngineError
from edgefer.quiet import telemetry_off
from edgefer.runtime.engines import Pictures, Probabilities, checked, in_batches

FORMAT = "openvino"
MODULE = "openvino"
EXTRA = "openvino"


class Engine:
    """An OpenVINO IR compiled for the CPU, tuned for latency, in the precision that it was exported in."""

    def __init__(self, contents: Sequence[bytes], threads: int) -> None:
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
        self._batch = 1 if first.is_dynamic else int(first.get_length())
        model.reshape([self._batch, *self._shape])
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # Left alone it computes in bf16 or fp16 where the CPU can, which is not what was exported.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = core.compile_model(model, "CPU", settings)
        self._request: Any = compiled.create_infer_request()
        self._classes = int(model.output().shape[-1])
        self.provider = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
        self.version = str(openvino.__version__).split("-", maxsplit=1)[0]

    def run(self, pictures: Pictures) -> Probabilities:
        """Return probabilities float32 [n, k] for pictures uint8 [n, h, w, 1]."""
        pictures = checked(pictures)
        if pictures.shape[1:] != self._shape:
            raise EngineError(f"the model takes pictures {list(self._shape)}, found {list(pictures.shape[1:])}")
        result = np.empty((len(pictures), self._classes), np.float32)
        for where, batch in in_batches(pictures, self._batch):
            self._request.infer([batch])
            result[where] = self._request.get_output_tensor().data[: where.stop - where.start]
        return result

    def close(self) -> None:
        """Release the compiled model."""
        self._request = None
