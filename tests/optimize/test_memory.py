"""Peak activation memory, on models small enough to be counted by hand."""

from __future__ import annotations

import pytest

from edgefer.bundle import Bundle
from edgefer.errors import ExportError
from edgefer.optimize.memory import peak_activation_bytes

EIGHT = 8 * 4
"""Bytes of a tensor here: eight float32."""


def model(operations: list[tuple[str, list[int], int]], outputs: list[int]) -> bytes:
    """Return a TFLite model of (RELU or ADD, tensors read, tensor made); tensor 0 is its input, 1 a constant."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    np = pytest.importorskip("numpy")
    tensors = []
    for number in range(2 + len(operations)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = f"t{number}".encode(), [1, 8], int(number == 1)
        tensor.type = schema.TensorType.FLOAT32
        tensors.append(tensor)
    steps = []
    for kind, read, made in operations:
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = ["RELU", "ADD"].index(kind), read, [made]
        if kind == "ADD":
            step.builtinOptionsType, step.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        steps.append(step)
    codes = []
    for kind in ("RELU", "ADD"):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        codes.append(code)
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = tensors, [0], outputs, steps
    empty, constant = schema.BufferT(), schema.BufferT()
    constant.data = np.ones(8, np.float32).view(np.uint8)
    whole = schema.ModelT()
    whole.version, whole.operatorCodes, whole.subgraphs, whole.buffers = 3, codes, [graph], [empty, constant]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("operations", "outputs", "tensors"),
    [
        # One in, one out at each step.
        ([("RELU", [0], 2), ("RELU", [2], 3), ("RELU", [3], 4)], [4], 2),
        # The input is read again at the end, so three are alive in the middle and at the end.
        ([("RELU", [0], 2), ("RELU", [2], 3), ("ADD", [3, 0], 4)], [4], 3),
        # A branch of its own: 0, 2 and 3, then 2, 3 and 4.
        ([("RELU", [0], 2), ("RELU", [0], 3), ("ADD", [2, 3], 4)], [4], 3),
        # An output that is made early stays to the end.
        ([("RELU", [0], 2), ("RELU", [2], 3), ("RELU", [3], 4)], [2, 4], 3),
        # Constants, and what is computed from them alone, take no activation memory.
        ([("ADD", [1, 1], 2), ("ADD", [0, 2], 3)], [3], 2),
    ],
)
def test_hand_counted_models(operations: list[tuple[str, list[int], int]], outputs: list[int], tensors: int) -> None:
    assert peak_activation_bytes(model(operations, outputs)) == tensors * EIGHT


def test_int8_takes_a_quarter_of_float(tiny_bundle: Bundle) -> None:
    float32, int8 = (
        peak_activation_bytes(tiny_bundle.read(tiny_bundle.artifact("tflite", p).file)) for p in ("fp32", "int8")
    )
    assert 3.5 * int8 < float32 <= 4 * int8


@pytest.mark.parametrize("contents", [b"", b"not a model", b"\0" * 100])
def test_what_is_no_model_is_refused_in_one_line(contents: bytes) -> None:
    with pytest.raises(ExportError, match="cannot read the operations") as error:
        peak_activation_bytes(contents)
    assert "\n" not in str(error.value)
