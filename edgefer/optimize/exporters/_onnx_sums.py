"""int8 sums that come out the same on every processor.

onnxruntime's QLinearAdd computes in float32 on x86, halves to even, and with multipliers of 22 bits on Arm, halves away
from zero. Of some million sums one lies so near to the middle of two steps that they disagree, and the step that is off
goes on through the layers behind. With scales whose ratios are fractions over one odd number no sum can lie there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_CHANGE = 1e-3
"""A scale is changed by at most this part of it; it is some 1e-5 as a rule."""
_INTEGER, _FLOAT = 255 * 2.0**-21, 4 * 255 * 2.0**-24
"""Steps that a sum of two full inputs may be off: by Arm's multipliers, and by float32, times the greater ratio."""


def settle(model: Any) -> None:
    """Change the scales of what is added, so that onnxruntime adds alike on x86 and Arm.

    `model` has QuantizeLinear / DequantizeLinear pairs, its nodes in the order of computing. A sum stays as it is where
    something else than a layer with weights reads one of its two inputs, or where `MOST_CHANGE` is not enough.
    """
    graph = _Graph(model.graph)
    # From the last one on: the scale of a sum is settled before those of what is added.
    for add in [node for node in reversed(model.graph.node) if node.op_type == "Add"]:
        rounding = graph.rounding_after(add)
        sources = [graph.source(name) for name in add.input]
        if rounding is None or None in sources or not all(graph.is_free(source, add) for source in sources):
            continue
        first, second = map(graph.scale, sources)
        scales = apart(first, second, graph.scale(rounding))
        if scales is not None:
            for source, scale in zip(sources, scales, strict=True):
                graph.rescale(source, scale)


def apart(first: float, second: float, total: float) -> tuple[float, float] | None:
    """Return scales near `first` and `second` that are k / d and m / d of `total` with d odd; None if none are near.

    Of whole numbers a and b, (k a + m b) / d is never nearer to the middle of two steps than 1 / 2d, and d is so small
    that this is more than what is lost by rounding.
    """
    ratios = np.array([first, second]) / total
    greater = ratios.max()
    most = int(1 / (2 * (greater * (_INTEGER + _FLOAT) + _FLOAT)))
    odd = np.arange(1, most + 1, 2)[:, None]
    counts = np.rint(ratios * odd)
    changes = np.abs(counts / odd / ratios - 1).max(axis=1, initial=0)
    if not len(odd) or changes.min() > MOST_CHANGE:
        return None
    best = changes.argmin()
    one, other = total * counts[best] / odd[best]
    return float(one), float(other)


class _Graph:
    """A graph by what makes and what reads each value."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def rounding_after(self, node: Any) -> Any:
        """Return the QuantizeLinear that alone reads what `node` gives, perhaps through a Relu, or None."""
        readers = self._readers.get(node.output[0], [])
        if [reader.op_type for reader in readers] == ["Relu"]:
            readers = self._readers.get(readers[0].output[0], [])
        return readers[0] if [reader.op_type for reader in readers] == ["QuantizeLinear"] else None

    def source(self, name: str) -> Any:
        """Return the QuantizeLinear whose numbers the DequantizeLinear that gives `name` reads, or None."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return None
        rounding = self._makers.get(maker.input[0])
        return rounding if rounding is not None and rounding.op_type == "QuantizeLinear" else None

    def is_free(self, rounding: Any, add: Any) -> bool:
        """Return whether a layer or a sum is rounded here, and only layers with weights and `add` read it, that once.

        Others, such as a maximum, take and give one scale.
        """
        maker = self._makers.get(rounding.input[0])
        if maker is not None and maker.op_type == "Relu":
            maker = self._makers.get(maker.input[0])
        if maker is None or maker.op_type not in ("Conv", "Gemm", "Add"):
            return False
        dequantised = self._readers[rounding.output[0]]
        if {node.op_type for node in dequantised} != {"DequantizeLinear"}:
            return False
        readers = [reader for node in dequantised for reader in self._readers.get(node.output[0], [])]
        sums = [reader for reader in readers if reader.op_type not in ("Conv", "Gemm")]
        return len(sums) == 1 and sums[0] is add

    def scale(self, rounding: Any) -> float:
        """Return the scale of a QuantizeLinear."""
        from onnx import numpy_helper

        return float(numpy_helper.to_array(self._constants[rounding.input[1]]))

    def rescale(self, rounding: Any, scale: float) -> None:
        """Give a scale to a QuantizeLinear, to all that reads its numbers, and to the biases of layers that do."""
        factor = scale / self.scale(rounding)
        dequantised = self._readers[rounding.output[0]]
        layers = [reader for node in dequantised for reader in self._readers[node.output[0]] if reader.op_type != "Add"]
        biases = [self._makers.get(layer.input[2]) for layer in layers if len(layer.input) > 2]
        self._multiply([rounding, *dequantised], factor)
        for bias in biases:
            if bias is not None and bias.op_type == "DequantizeLinear":
                self._multiply([bias], factor)

    def _multiply(self, nodes: list[Any], factor: float) -> None:
        """Multiply the scale of nodes that share one; others may share it, so it becomes a constant of their own."""
        from onnx import numpy_helper

        old = numpy_helper.to_array(self._constants[nodes[0].input[1]])
        name = f"settled_scale_{len(self._graph.initializer)}"
        # NumPy's float64 × float32 array of no dimensions is a number, not an array.
        new = numpy_helper.from_array(np.asarray(old.astype(np.float64) * factor, np.float32), name)
        self._graph.initializer.append(new)
        self._constants[name] = new
        for node in nodes:
            node.input[1] = name
