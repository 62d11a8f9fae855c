"""A TFLite model looked into: which tensor holds the output of which layer, and what is in it after a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.quiet import native_chatter_silenced
from edgefer.train.network import Network

Matrix = npt.NDArray[np.float64]
FORMS = ("QUANTIZE", "DEQUANTIZE")
"""Operations that change only how values are written."""


@dataclass(frozen=True)
class Output:
    """A tensor, and the layers whose output it is, in order: the last one's, computed with those before it."""

    index: int
    layers: tuple[str, ...]


class Model:
    """A TFLite model whose tensors can be looked at after a run."""

    def __init__(self, data: bytes, what: str) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        try:
            with native_chatter_silenced():
                self._interpreter = Interpreter(
                    model_content=data,
                    num_threads=1,
                    experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                    experimental_preserve_all_tensors=True,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"the {what} model cannot be opened to look at its layers: {error}") from error
        self._what = what
        self._input = self._interpreter.get_input_details()[0]
        self._details = {d["index"]: d for d in self._interpreter.get_tensor_details()}

    def outputs(self, network: Network) -> dict[str, Output]:
        """Return the tensor that holds the output of each layer that has one of its own."""
        # The list of operations is not public, but only it tells what is computed from what is constant.
        indices = [
            i for op in self._interpreter._get_ops_details() if op["op_name"] not in FORMS for i in op["outputs"]
        ]
        named = carried({i: self._details[i]["name"] for i in indices if i in self._details}, network)
        found = {}
        for index, layers in named.items():  # in the order in which they are computed: the last one counts
            shape = tuple(int(n) for n in self._details[index]["shape"])
            for place in range(len(layers), 0, -1):
                if shape == (1, *network[layers[place - 1]].shape):
                    found[layers[place - 1]] = Output(index, layers[:place])
                    break
        return found

    def quantisation(self, index: int) -> tuple[float, int, int, int]:
        """Return scale, zero point, lowest and highest whole number of a tensor; a scale of 0 is a float one."""
        detail = self._details[index]
        scales = detail["quantization_parameters"]["scales"]
        if not np.issubdtype(detail["dtype"], np.integer) or len(scales) != 1:
            return 0.0, 0, 0, 0
        limits = np.iinfo(detail["dtype"])
        return float(scales[0]), int(detail["quantization_parameters"]["zero_points"][0]), limits.min, limits.max

    def run(self, picture: npt.NDArray[np.uint8]) -> None:
        """Compute one picture uint8 [s, s, 1]."""
        detail = self._input
        scale, zero, low, high = self.quantisation(detail["index"])
        shape = tuple(int(n) for n in detail["shape"])
        if shape != (1, *picture.shape):
            raise ExportError(f"the {self._what} model takes pictures {shape[1:]}, found {picture.shape}")
        value: Any = picture[None]
        if np.issubdtype(detail["dtype"], np.floating):
            value = value.astype(detail["dtype"]) / np.float32(255)
        elif scale:
            value = np.clip(np.round(value / (255 * scale)) + zero, low, high).astype(detail["dtype"])
        self._interpreter.set_tensor(detail["index"], value)
        self._interpreter.invoke()

    def values(self, index: int) -> Matrix:
        """Return a tensor of the picture computed last, as the real numbers that it stands for."""
        values = np.asarray(self._interpreter.get_tensor(index), np.float64)
        scale, zero, _, _ = self.quantisation(index)
        return (values - zero) * scale if scale else values


def carried(tensors: Mapping[int, str], network: Network) -> dict[int, tuple[str, ...]]:
    """Return the layers that each tensor is named after, in the network's order; tensors of none are left out.

    A converter calls a tensor by the paths of all that it was fused from, as "net_1/relu_1/Relu;net_1/conv_1/add".
    """
    places = {_bare(node.name): place for place, node in enumerate(network.nodes) if node.kind != "InputLayer"}
    whole = re.compile(re.escape(network.name) + r"(_\d+)?")
    paths = {
        index: [
            [_bare(c) for i, c in enumerate(path.split("/")) if i or not whole.fullmatch(c)] for path in name.split(";")
        ]
        for index, name in tensors.items()
    }
    owners = _owners({c for found in paths.values() for path in found for c in path}, set(places))
    carried = {}
    for index, found in paths.items():
        # What stands further right names an operation, which can be called as a layer is: "add".
        firsts = [next((owners[c] for c in path if c in owners), None) for path in found]
        if here := sorted({places[name] for name in firsts if name is not None}):
            carried[index] = tuple(network.nodes[place].name for place in here)
    return carried


def _owners(components: set[str], names: set[str]) -> dict[str, str]:
    """Return the layer that each part of a path is.

    A layer's part can end in a number that Keras added, the same one in the whole model: that tells the layer
    "conv_1" from the layer "conv" with a number. The ending that fits most layers counts first.
    """
    endings: dict[str, dict[str, str]] = {"": {c: c for c in components & names}}
    for component in components:
        if (match := re.fullmatch(r"(.+)(_\d+)", component)) and match[1] in names:
            endings.setdefault(match[2], {})[component] = match[1]
    owners: dict[str, str] = {}
    for owned in sorted(endings.values(), key=len):
        owners |= owned
    return owners


def _bare(component: str) -> str:
    """Return a name without what quantization-aware training puts before it."""
    return component.removeprefix("quant_")
