"""A trained support vector machine as plain arrays, and as an ONNX graph of plain operators.

The graph gives what scikit-learn's `SVC.decision_function` gives with `decision_function_shape="ovr"`, and a softmax on
top: for every two classes one decision; each decision is a vote for one of its two classes; and a class's score is its
votes, plus the sum of its decisions squeezed into (-1/3, 1/3), which settles ties and can do no more.

Votes make steps: where a decision is within rounding of 0 (about 3e-4 in float32 with thousands of support vectors),
two engines may give that one vote to different classes, and their probabilities for that face then differ.

Support vectors are kept as grey levels - 128 in one byte each, because that is what they are: a quarter of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import plugins

OPSET = 17
IR_VERSION = 8
"""The format's version that goes with opset 17; every onnxruntime since 1.12 reads it."""
MIDDLE = 128
"""Taken from every grey level: it makes signed bytes of them, and float32 loses less in sums of smaller numbers."""


@dataclass(frozen=True)
class Machine:
    """An SVM with an RBF kernel and one decision for every two of its m classes, (0, 1), (0, 2) … (m-2, m-1)."""

    support: npt.NDArray[np.uint8]
    """Support vectors, [s, 2304] grey levels."""
    weights: npt.NDArray[np.float64]
    """[2304]; the kernel of x and y is exp(-sum(weights * (x - y)²)) in grey levels: gamma and min-max scale in one."""
    coefficients: npt.NDArray[np.float64]
    """[s, m (m - 1) / 2]; zero where a support vector belongs to neither of the two classes."""
    intercepts: npt.NDArray[np.float64]
    """[m (m - 1) / 2]; a decision that is not negative is for the first of the two classes."""
    classes: npt.NDArray[np.int64]
    """[m], ascending: which labels they are. A label without training pictures is none of them."""


def pairs(classes: int) -> list[tuple[int, int]]:
    """Return every two of `classes` classes, in the order of the decisions."""
    return list(combinations(range(classes), 2))


def to_onnx(machine: Machine, labels: int) -> bytes:
    """Return the model: `pixels` uint8 [n, 48, 48, 1] → `probabilities` float32 [n, labels]; n is free.

    A label that the machine does not know has the probability 0. Raises MissingDependencyError without onnx.
    """
    onnx = plugins.require("onnx", "svm", "writing an SVM")
    make, kinds = onnx.helper, onnx.TensorProto
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in _tensors(machine, labels).items()]
    nodes = [make.make_node(kind, inputs, [output], **options) for kind, inputs, output, options in _nodes(kinds)]
    graph = make.make_graph(
        nodes,
        "svm",
        [make.make_tensor_value_info("pixels", kinds.UINT8, ["n", 48, 48, 1])],
        [make.make_tensor_value_info("probabilities", kinds.FLOAT, ["n", labels])],
        tensors,
    )
    model = make.make_model(
        graph, producer_name="edgefer", ir_version=IR_VERSION, opset_imports=[make.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def _tensors(machine: Machine, labels: int) -> dict[str, npt.NDArray[Any]]:
    """Return the constants of the graph."""
    m = len(machine.classes)
    sides = np.zeros((len(pairs(m)), m), np.float32)
    for row, (one, other) in enumerate(pairs(m)):
        sides[row, one], sides[row, other] = 1, -1
    place = np.zeros((m, labels), np.float32)
    place[np.arange(m), machine.classes] = 1
    centred = machine.support.astype(np.int16) - MIDDLE
    return {
        "middle": np.float32(MIDDLE).reshape(()),
        "weights": machine.weights.astype(np.float32),
        "support": centred.astype(np.int8),
        "minus_norms": -_norms(centred, machine.weights).astype(np.float32),
        "coefficients": machine.coefficients.astype(np.float32),
        "intercepts": machine.intercepts.astype(np.float32),
        "sides": sides,
        "votes_as_first": (sides > 0).sum(axis=0).astype(np.float32),
        "columns": np.array([1], np.int64),
        "zero": np.float32(0).reshape(()),
        "one": np.float32(1).reshape(()),
        "three": np.float32(3).reshape(()),
        "place": place,
    }


def _norms(centred: npt.NDArray[np.int16], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    parts = [centred[i : i + 1000].astype(np.float64) ** 2 @ weights for i in range(0, len(centred), 1000)]
    return np.concatenate(parts)


def _nodes(kinds: Any) -> list[tuple[str, list[str], str, dict[str, Any]]]:
    """Return the operators as (kind, inputs, output, options)."""
    return [
        ("Cast", ["pixels"], "levels", {"to": kinds.FLOAT}),
        ("Flatten", ["levels"], "flat", {"axis": 1}),
        ("Sub", ["flat", "middle"], "x", {}),
        ("Mul", ["x", "weights"], "weighted", {}),
        # -distance² = 2 x·s - s·s - x·x
        ("Mul", ["weighted", "x"], "squares", {}),
        ("ReduceSum", ["squares", "columns"], "norm", {"keepdims": 1}),
        ("Cast", ["support"], "vectors", {"to": kinds.FLOAT}),
        ("Gemm", ["weighted", "vectors", "minus_norms"], "crossed", {"alpha": 2.0, "transB": 1}),
        ("Sub", ["crossed", "norm"], "exponent", {}),
        ("Exp", ["exponent"], "kernel", {}),
        ("MatMul", ["kernel", "coefficients"], "sums", {}),
        ("Add", ["sums", "intercepts"], "decisions", {}),
        # Votes: all decisions in which a class comes first, less those lost there, and those won as second.
        ("Less", ["decisions", "zero"], "for_second", {}),
        ("Cast", ["for_second"], "against", {"to": kinds.FLOAT}),
        ("MatMul", ["against", "sides"], "moved", {}),
        ("Sub", ["votes_as_first", "moved"], "votes", {}),
        ("MatMul", ["decisions", "sides"], "confidence", {}),
        ("Abs", ["confidence"], "size", {}),
        ("Add", ["size", "one"], "more", {}),
        ("Mul", ["more", "three"], "scale", {}),
        ("Div", ["confidence", "scale"], "squeezed", {}),
        ("Add", ["votes", "squeezed"], "scores", {}),
        ("Softmax", ["scores"], "known", {"axis": 1}),
        ("MatMul", ["known", "place"], "probabilities", {}),
    ]
