"""What is done to ONNX graphs from outside: free the batch, pixels in front, probabilities behind, OpenVINO beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import plugins
from edgefer.errors import ExportError
from edgefer.optimize.importers import NAMED, Built, Choice, Found, Scaling

Array = npt.NDArray[Any]


def runner(model: Any) -> Callable[[Array], Array]:
    """Return what runs the model in onnxruntime; raises ExportError when that refuses it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a class for each kind of failure, none of them public
        raise ExportError(f"onnxruntime does not load the model: {_first_line(error)}") from error
    name = session.get_inputs()[0].name

    def run(values: Array) -> Array:
        try:
            return np.asarray(session.run(None, {name: values})[0])
        except Exception as error:
            raise ExportError(f"onnxruntime does not run the model: {_first_line(error)}") from error

    return run


def batch_of(model: Any) -> int | None:
    """Return how many pictures the model takes at once; None = any number."""
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None


def class_count(shape: Sequence[int]) -> int:
    """Return how many values a picture gets; raises ExportError when `shape` is more than a row for each."""
    if len(shape) < 2 or any(n != 1 for n in shape[2:]):
        raise ExportError(f"the model must give one row of values for a picture; found the shape {list(shape)}")
    return int(shape[1])


def free_batch(model: Any, picture: tuple[int, int, str, str]) -> bool:
    """Let `model` take any number of pictures, when that does not change its answers; return whether it does now.

    `picture` is size, channels, layout and dtype. What cannot be freed stays as it was.
    """
    if batch_of(model) is None:
        return True
    size, channels, layout, dtype = picture
    freed = type(model)()
    freed.CopyFrom(model)
    _forget_batch(freed)
    blank = Found("onnx", "", dtype, layout, size, channels, 0)
    batch = batch_of(model) or 1
    pixels = np.random.default_rng(0).integers(0, 256, (2 * batch, size, size, 1), dtype=np.uint8)
    values = blank.feed(pixels, None if dtype == "uint8" else NAMED["unit"])
    try:
        as_is, run = runner(model), runner(freed)
        whole = np.concatenate([as_is(values[:batch]), as_is(values[batch:])])
        alone = np.concatenate([run(values[i : i + 1]) for i in range(len(values))])
        together = run(values)
    except (ExportError, ValueError):
        return False
    for other in (alone, together):
        if other.shape != whole.shape or not np.allclose(other.astype(float), whole.astype(float), 1e-3, 1e-4):
            return False
    model.CopyFrom(freed)
    return True


def _forget_batch(model: Any) -> None:
    """Make the batch a name in the input, the output and in shapes that are constants."""
    from onnx import numpy_helper

    graph, batch = model.graph, batch_of(model)
    for value in (graph.input[0], graph.output[0]):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "n"
    del graph.value_info[:]  # shapes between, with the old batch
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    constants = {t.name: t for t in graph.initializer}
    constants |= {
        n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute[0].t.dims
    }
    for name in targets & set(constants):
        shape = numpy_helper.to_array(constants[name]).copy()
        if shape.ndim == 1 and shape.size and shape[0] == batch:
            shape[0] = 0 if -1 in shape else -1  # 0 = as in what is reshaped
            constants[name].CopyFrom(numpy_helper.from_array(shape, constants[name].name))


def wrap(model: Any, found: Found, choice: Choice) -> Any:
    """Return the model with uint8 [n, size, size, 1] in and float32 probabilities [n, classes] out; opset as it was."""
    import onnx

    wrapped = type(model)()
    wrapped.CopyFrom(model)
    _pixels_in_front(wrapped.graph, found, choice.scaling)
    _probabilities_behind(wrapped.graph, found, choice.output)
    del wrapped.graph.value_info[:]
    try:
        onnx.checker.check_model(wrapped, full_check=True)
    except Exception as error:
        raise ExportError(f"the model does not fit the ONNX standard: {_first_line(error)}") from error
    return wrapped


class _Front:
    """Nodes in a row, each taking what the one before gives."""

    def __init__(self, graph: Any, start: str) -> None:
        self.nodes: list[Any] = []
        self.last = start
        self._graph = graph

    def add(self, kind: str, *constants: Array, copies: int = 1, **attributes: Any) -> None:
        from onnx import helper, numpy_helper

        number = len(self._graph.node) + len(self.nodes)
        inputs = [self.last] * copies
        for i, constant in enumerate(constants):
            inputs.append(f"edgefer_constant_{number}_{i}")
            self._graph.initializer.append(numpy_helper.from_array(constant, inputs[-1]))
        self.last = f"edgefer_{kind.lower()}_{number}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], name=self.last, **attributes))


def _pixels_in_front(graph: Any, found: Found, scaling: Scaling | None) -> None:
    from onnx import TensorProto, helper

    own = graph.input[0].name
    front = _Front(graph, "edgefer_pixels")
    if scaling is not None:
        front.add("Cast", to=TensorProto.FLOAT)
    if found.layout == "NCHW":
        front.add("Transpose", perm=[0, 3, 1, 2])
    if found.channels > 1:
        front.add("Concat", copies=found.channels, axis=1 if found.layout == "NCHW" else 3)
    if scaling is not None:
        by_channel = (1, -1, 1, 1) if found.layout == "NCHW" else (1, 1, 1, -1)
        if any(scaling.mean):
            front.add("Sub", np.array(scaling.mean, np.float32).reshape(by_channel))
        if any(std != 1 for std in scaling.std):
            front.add("Div", np.array(scaling.std, np.float32).reshape(by_channel))
        if found.taken is not None:
            front.add(
                "QuantizeLinear", np.array(found.taken.scale, np.float32), np.array(found.taken.zero, found.dtype)
            )
        elif found.dtype != "float32":
            front.add("Cast", to=helper.np_dtype_to_tensor_dtype(np.dtype(found.dtype)))
    if not front.nodes:
        return
    front.nodes[-1].output[0] = own
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*front.nodes, *rest])
    batch = "n" if found.batch is None else found.batch
    shape = [batch, found.size, found.size, 1]
    graph.input[0].CopyFrom(helper.make_tensor_value_info("edgefer_pixels", TensorProto.UINT8, shape))


def _probabilities_behind(graph: Any, found: Found, output: str) -> None:
    from onnx import TensorProto, helper

    value = graph.output[0]
    back = _Front(graph, value.name)
    tensor = value.type.tensor_type
    if found.given is not None:
        zero = np.array(found.given.zero, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        back.add("DequantizeLinear", np.array(found.given.scale, np.float32), zero)
    elif tensor.elem_type != TensorProto.FLOAT:
        back.add("Cast", to=TensorProto.FLOAT)
    if len(tensor.shape.dim) != 2:
        back.add("Flatten", axis=1)
    if output == "logits":
        back.add("Softmax", axis=1)
    graph.node.extend(back.nodes)
    batch = "n" if found.batch is None else found.batch
    value.CopyFrom(helper.make_tensor_value_info(back.last, TensorProto.FLOAT, [batch, found.classes]))


def finish(model: Any, precision: str, choice: Choice, folder: Path) -> Built:
    """Return the files of a wrapped model: ONNX, and OpenVINO where that can read it."""
    name = f"{choice.name}.{precision}"
    files = {("onnx", precision): {f"{name}.onnx": bytes(model.SerializeToString())}}
    if not plugins.installed("openvino"):
        return Built(files, ("no OpenVINO artifact: openvino is not installed (pip install 'edgefer[openvino]')",))
    import openvino

    source, xml = folder / "model.onnx", folder / "model.xml"
    source.write_bytes(model.SerializeToString())
    try:
        openvino.save_model(openvino.convert_model(source), xml, compress_to_fp16=False)
    except Exception as error:  # of the C++ library
        return Built(files, (f"no OpenVINO artifact: it cannot translate the model ({_first_line(error)})",))
    contents = {f"{name}.xml": xml.read_bytes(), f"{name}.bin": xml.with_suffix(".bin").read_bytes()}
    return Built(files | {("openvino", precision): contents})


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
