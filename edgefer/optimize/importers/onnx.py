"""ONNX: wrapped, so that it takes pixels and gives probabilities, and translated to OpenVINO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import plugins
from edgefer.errors import ExportError
from edgefer.optimize.importers import Built, Choice, Found, Opened, _graph, picture_shape

SUFFIXES = (".onnx",)
DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Where the standard's operators live; every other one needs code that is not in onnxruntime everywhere."""
MIN_OPSET = 7
"""Older ones cannot subtract a mean from each channel."""
DTYPES = {1: "float32", 2: "uint8", 10: "float16", 11: "float64"}
"""Numbers of onnx.TensorProto."""


def open_model(path: Path) -> Opened:
    """Read the file; raises ExportError for what is no ONNX model, or none that can be taken over."""
    onnx = plugins.require("onnx", "optimize", "importing ONNX models")
    plugins.require("onnxruntime", "onnxruntime", "importing ONNX models")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except Exception as error:  # protobuf's own, which has moved between versions
        raise ExportError(f"the file is not an ONNX model, or it was cut short: {error}") from error
    _check(model)
    _drop_initializer_inputs(model)
    shape, dtype = _input(model)
    layout, size, channels = picture_shape(shape)
    if not _graph.free_batch(model, (size, channels, layout, dtype)) and shape[0] not in (None, 1):
        raise ExportError(f"the model takes batches of {shape[0]} only; export it with a batch of 1 or a free one")
    run = _graph.runner(model)
    batch = _graph.batch_of(model)
    blank = Found("onnx", model.graph.name, dtype, layout, size, channels, 0, batch)
    given = run(blank.feed(np.zeros((1, size, size, 1), np.uint8), None))
    classes = _graph.class_count(given.shape)
    found = Found("onnx", model.graph.name, dtype, layout, size, channels, classes, batch)
    return Opened(found, run, model)


def build(opened: Opened, choice: Choice, folder: Path) -> Built:
    """Return the wrapped model, and its translation to OpenVINO."""
    return _graph.finish(_graph.wrap(opened.held, opened.found, choice), _precision(opened.held), choice, folder)


def _precision(model: Any) -> str:
    """Return `int8` for a graph that is quantised, `fp16` when most weights have half precision, else `fp32`."""
    if any(node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear") for node in _nodes(model.graph)):
        return "int8"
    sizes = Counter[int]()
    for tensor in _tensors(model.graph):
        sizes[tensor.data_type] += int(np.prod(tensor.dims, dtype=np.int64))
    return "fp16" if sizes[10] > sizes[1] else "fp32"


def _check(model: Any) -> None:
    """Raise ExportError for a model that is empty or reaches outside the file or the standard."""
    if not model.graph.node or not model.opset_import:
        raise ExportError("the file is not an ONNX model, or it is empty")
    for tensor in _tensors(model.graph):
        if tensor.data_location == 1 or tensor.external_data:
            raise ExportError(
                f"the weights {tensor.name!r} lie in another file; save the model in one file"
                " (onnx.save(onnx.load(path), one_file))"
            )
    if model.functions:
        raise ExportError("the model has functions of its own; inline them (onnx.inliner.inline_local_functions)")
    for node in _nodes(model.graph):
        if node.domain not in DOMAINS:
            raise ExportError(
                f"the operator {node.op_type!r} is of the domain {node.domain!r}, not of the ONNX standard;"
                " export the model again without it"
            )
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < MIN_OPSET:
        raise ExportError(f"the model is of opset {opset}, at least {MIN_OPSET} is needed; export it again")


def _nodes(graph: Any) -> Iterator[Any]:
    """Give every node, those inside of branches and loops too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    """Give every constant."""
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _drop_initializer_inputs(model: Any) -> None:
    """Weights are inputs as well in old files: take them from the list, which IR version 4 allows."""
    weights = {tensor.name for tensor in model.graph.initializer}
    left = [value for value in model.graph.input if value.name not in weights]
    if len(left) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(left)
        model.ir_version = max(model.ir_version, 4)


def _input(model: Any) -> tuple[list[int | None], str]:
    """Return shape and dtype of the only input; raises ExportError when there are others, or more than one output."""
    inputs, outputs = model.graph.input, model.graph.output
    if len(inputs) != 1 or len(outputs) != 1:
        named = [f"{len(values)} ({', '.join(v.name for v in values)[:80]})" for values in (inputs, outputs)]
        raise ExportError(f"the model must have one input and one output; found {named[0]} and {named[1]}")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in DTYPES:
        raise ExportError(f"the model must take one of {', '.join(DTYPES.values())}; found type {tensor.elem_type}")
    shape = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]
    return shape, DTYPES[tensor.elem_type]
