"""TensorFlow Lite: kept when it takes pixels and gives probabilities already, else translated to ONNX and wrapped.

A `.tflite` file cannot be changed in front and behind as an ONNX graph can.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import plugins
from edgefer.errors import ExportError
from edgefer.optimize.importers import Built, Choice, Found, Opened, Quantisation, Scaling, _graph, picture_shape

SUFFIXES = (".tflite",)
MAGIC = b"TFL3"
OPSET = 17
DTYPES = ("float32", "float16", "uint8", "int8")


@dataclass(frozen=True)
class _Model:
    """What `build` needs."""

    path: Path
    precision: str
    rank: int
    """Of the output."""


def open_model(path: Path) -> Opened:
    """Read the file; raises ExportError for what is no TFLite model, or none that can be taken over."""
    from ai_edge_litert.interpreter import Interpreter

    data = path.read_bytes()
    if data[4:8] != MAGIC:
        raise ExportError("the file is not a TensorFlow Lite model")
    try:
        interpreter = Interpreter(model_content=data)
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ExportError(f"the model must have one input and one output; found {len(inputs)} and {len(outputs)}")
        if inputs[0]["shape"][:1].tolist() not in ([], [1]):
            interpreter.resize_tensor_input(inputs[0]["index"], [1, *inputs[0]["shape"][1:]])
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ExportError(f"TensorFlow Lite does not load the model: {reason}") from error
    [given], [taken] = interpreter.get_output_details(), interpreter.get_input_details()
    dtype = np.dtype(taken["dtype"]).name
    if dtype not in DTYPES:
        raise ExportError(f"the model must take one of {', '.join(DTYPES)}; found {dtype}")
    layout, size, channels = picture_shape([int(n) for n in taken["shape"]])
    classes = _graph.class_count([int(n) for n in given["shape"]])
    found = Found("tflite", "", dtype, layout, size, channels, classes, 1, _quantisation(taken), _quantisation(given))
    if dtype == "int8" and found.taken is None:
        raise ExportError("the model takes int8 and does not say on what scale; convert it again with uint8 or float32")

    def run(values: Any) -> Any:
        interpreter.set_tensor(taken["index"], values)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return Opened(found, run, _Model(path, _precision(interpreter), len(given["shape"])))


def _quantisation(details: Any) -> Quantisation | None:
    scale, zero = details["quantization"]
    return Quantisation(float(scale), int(zero)) if scale else None


def _precision(interpreter: Any) -> str:
    """Return `int8` when most tensors have 8 bits, else `fp32`."""
    names = [np.dtype(t["dtype"]).name for t in interpreter.get_tensor_details() if t["dtype"] is not np.bytes_]
    return "int8" if sum(n in ("int8", "uint8") for n in names) > sum(n.startswith("float") for n in names) else "fp32"


def build(opened: Opened, choice: Choice, folder: Path) -> Built:
    """Return the file itself when it fulfils the contract, else its translation."""
    reason = _why_not(opened, choice)
    held: _Model = opened.held
    if not reason:
        name = f"{choice.name}.{held.precision}.tflite"
        notes = []
        if choice.scaling is None and opened.found.taken is not None:
            scale, zero = opened.found.taken.scale, opened.found.taken.zero
            notes = [f"the file says that pixels 0–255 mean {-zero * scale:.3g} to {(255 - zero) * scale:.3g}"]
        return Built({("tflite", held.precision): {name: held.path.read_bytes()}}, tuple(notes))
    built = _graph.finish(
        _graph.wrap(_translated(opened, folder), opened.found, choice), held.precision, choice, folder
    )
    return Built(built.files, (f"no tflite artifact: {reason}; such a file cannot be changed, so it was"
                               " translated to ONNX", *built.notes))  # fmt: skip


def _why_not(opened: Opened, choice: Choice) -> str:
    """Return why the file cannot be used as it is, or nothing."""
    found = opened.found
    if found.dtype != "uint8":
        return f"the model takes {found.dtype}, not uint8"
    if found.channels != 1 or found.layout != "NHWC":
        return f"the model takes {found.channels} channels, {found.layout}"
    if choice.output != "probabilities" or opened.held.rank != 2:
        return "the model does not give a row of probabilities"
    if choice.scaling is not None and not _fits(found.taken, choice.scaling):
        scale, zero = (found.taken.scale, found.taken.zero) if found.taken else (1.0, 0)
        return f"its quantised input ({scale:.5g} a step, zero at {zero}) does not hold pixels as they are"
    return ""


def _fits(taken: Quantisation | None, scaling: Scaling) -> bool:
    """Return whether a stored byte is the pixel itself: scale 1 / std, zero at the mean."""
    if taken is None:
        return True
    return abs(taken.scale * scaling.std[0] - 1) < 0.01 and abs(taken.zero - scaling.mean[0]) <= 1


def _translated(opened: Opened, folder: Path) -> Any:
    """Return the model as ONNX, with the same input and output."""
    tf2onnx = plugins.require("tf2onnx", "optimize", "translating TensorFlow Lite models")
    try:
        model, _ = tf2onnx.convert.from_tflite(str(opened.held.path), opset=OPSET)
    except Exception as error:  # of every kind
        raise ExportError(f"tf2onnx cannot translate the model: {str(error).strip()[:200]}") from error
    # Others are listed and not used.
    standard = [entry for entry in model.opset_import if entry.domain == ""]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    return model
