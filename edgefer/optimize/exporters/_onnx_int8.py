"""int8 by onnxruntime's own quantisers instead of the shared one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgefer.errors import ExportError
from edgefer.quiet import native_chatter_silenced

PICTURES_AT_ONCE = 32
FEW_WEIGHTS = 1024
"""Layers with fewer stay float32 in `dynamic`, as TensorFlow Lite does it: they save nothing, and the first one's
rounding costs most."""
METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}


def static(model: Any, unit: Any, method: str, folder: Path) -> Any:
    """Return the float32 ONNX `model` with QuantizeLinear / DequantizeLinear pairs at every layer up to the softmax.

    Weights are int8 per channel, activations uint8 with ranges taken by `method` from the pictures `unit`, float32
    [n, size, size, 1] in [0, 1]. Raises ExportError for an unknown method.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if method not in METHODS:
        raise ExportError(f"onnxruntime cannot calibrate by {method!r}; choose one of: {', '.join(METHODS)}")
    result = folder / "static.onnx"
    with native_chatter_silenced():
        prepared = _prepared(model, folder)
        graph = onnx.load(prepared).graph
        quantize_static(
            str(prepared),
            str(result),
            _reader(graph.input[0].name, unit),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in graph.node if node.op_type == "Softmax"],
            calibrate_method=getattr(CalibrationMethod, METHODS[method]),
            # One batch at a time: without it every value of every layer for all pictures is held in memory.
            extra_options={"CalibStridedMinMax": 1},
        )
    return onnx.load(result)


def dynamic(model: Any, folder: Path) -> Any:
    """Return the float32 ONNX `model` with int8 weights per channel; activations are rounded as they come.

    Each convolution and dense layer rounds its input to 256 steps between the extremes of what runs together.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    result = folder / "dynamic.onnx"
    with native_chatter_silenced():
        prepared = _prepared(model, folder)
        quantize_dynamic(
            str(prepared),
            str(result),
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_with_few_weights(onnx.load(prepared)),
        )
    return onnx.load(result)


def _with_few_weights(model: Any) -> list[str]:
    """Return the nodes whose weights are not worth it."""
    few = {tensor.name for tensor in model.graph.initializer if np.prod(tensor.dims) < FEW_WEIGHTS}
    return [n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul") and n.input[1] in few]


def _prepared(model: Any, folder: Path) -> Path:
    """Write the model with the shapes that the quantisers ask for, simplified, and return the file."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    before, after = folder / "before.onnx", folder / "prepared.onnx"
    onnx.save(model, before)
    quant_pre_process(str(before), str(after), skip_symbolic_shape=True)
    return after


def _reader(name: str, unit: Any) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        """The pictures as batches; onnxruntime asks for one after the other."""

        def __init__(self) -> None:
            self._batches = np.split(unit, range(PICTURES_AT_ONCE, len(unit), PICTURES_AT_ONCE))
            self._wanted = iter(self._batches)

        def __len__(self) -> int:
            return len(self._batches)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._wanted = iter(self._batches[start_index:end_index])

        def get_next(self) -> Any:
            batch = next(self._wanted, None)
            return None if batch is None else {name: batch}

    return Reader()
