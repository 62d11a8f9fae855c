"""A network in files: its layers as JSON, to lie beside a bundle's weights, and whole as `.npz` between two processes.

The JSON may come from a stranger: it can name nothing but known layers with known settings of sane size.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zipfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import files
from edgefer.errors import TrainError
from edgefer.train.network import ACTIVATIONS, SETTINGS, Floats, Network, Node

MAX_LAYERS = 5_000
MAX_PARAMETERS = 250_000_000
"""Also the most values that the output of one layer may have for one picture."""


def as_json(network: Network) -> bytes:
    """Return the layers without their weights, to lie beside a `.weights.h5` file."""
    layers = [
        {"name": n.name, "kind": n.kind, "settings": dict(n.settings), "inputs": list(n.inputs), "shape": list(n.shape)}
        for n in network.nodes
    ]
    return (json.dumps({"name": network.name, "layers": layers}, indent=1) + "\n").encode()


def from_json(data: bytes, where: str) -> Network:
    """Return the network of `as_json`, without weights; `where` names the file in errors.

    Raises TrainError for anything that is not a list of known layers with known settings in order.
    """
    try:
        found = json.loads(data)
        layers = found["layers"]
        if not isinstance(layers, list) or not 2 <= len(layers) <= MAX_LAYERS:
            raise ValueError(f"2 to {MAX_LAYERS} layers are needed")
        nodes: dict[str, Node] = {}
        parameters = 0.0
        for entry in layers:
            node = _node(entry, nodes)
            parameters += _parameters(node, [nodes[name].shape for name in node.inputs])
            if parameters > MAX_PARAMETERS:
                raise ValueError(f"up to layer {node.name!r} it has more than {MAX_PARAMETERS:,} weights")
            nodes[node.name] = node
        if sum(node.kind == "InputLayer" for node in nodes.values()) != 1:
            raise ValueError("exactly one InputLayer is needed")
        return Network(_identifier(found["name"]), tuple(nodes.values()))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TrainError(f"{where} is not a network that this version reads: {error}; get the bundle again") from error


def _parameters(node: Node, taken: Sequence[tuple[int, ...]]) -> float:
    """Return how many weights a layer will have at most, by its settings: they are made before any can be compared."""
    settings = node.settings
    if node.kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D"):
        here = float(np.prod(settings["kernel_size"], dtype=np.float64)) * taken[0][-1]
        if node.kind == "Conv2D":
            return float(abs(here * settings["filters"]))
        depth: float = settings["depth_multiplier"]
        return abs(here * depth) + float(abs(taken[0][-1] * depth * settings.get("filters", 0)))
    if node.kind == "Dense":
        return abs(float(taken[0][-1] * settings["units"]))
    if node.kind in ("PReLU", "LayerNormalization"):
        return 2.0 * math.prod(node.shape)
    return 4.0 * node.shape[-1] if node.kind in ("BatchNormalization", "Normalization") else 0.0


def _node(entry: Any, known: Collection[str]) -> Node:
    name, kind = _identifier(entry["name"]), entry["kind"]
    if kind not in SETTINGS:
        raise ValueError(f"layer {name!r}: the kind {str(kind)[:40]!r} is not known")
    if name in known:
        raise ValueError(f"two layers are called {name!r}")
    settings = dict(entry["settings"])
    for key, value in settings.items():
        if key not in SETTINGS[kind]:
            raise ValueError(f"layer {name!r}: the setting {str(key)[:40]!r} is not known")
        if not _harmless(value) or (key == "activation" and value not in ACTIVATIONS):
            raise ValueError(f"layer {name!r}: {key} = {str(value)[:40]!r} is not allowed")
    inputs = tuple(entry["inputs"]) if isinstance(entry["inputs"], list) else ("",)
    if (
        len(inputs) > MAX_LAYERS
        or not all(taken in known for taken in inputs)
        or bool(inputs) == (kind == "InputLayer")
    ):
        raise ValueError(f"layer {name!r}: its inputs do not come before it")
    shape = tuple(entry["shape"])
    sane = 1 <= len(shape) <= 4 and all(type(n) is int and 0 < n < 100_000 for n in shape)
    if not sane or math.prod(shape) > MAX_PARAMETERS:
        raise ValueError(f"layer {name!r}: its shape is {str(shape)[:40]}")
    return Node(name, kind, settings, inputs, shape)


def _identifier(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable() or "/" in value:
        raise ValueError(f"{str(value)[:40]!r} is no name")
    return value


def _harmless(value: Any) -> bool:
    """Return whether a setting is a number of sane size, a short text, or a short list of such."""
    if isinstance(value, list):
        return len(value) <= 4096 and all(_harmless(v) for v in value)
    if isinstance(value, (bool, type(None))):
        return True
    if isinstance(value, (int, float)):
        return abs(value) < 1e6
    return isinstance(value, str) and len(value) <= 40


def save(path: Path, network: Network) -> None:
    """Write layers and weights as one `.npz`, wholly or not at all; raises OSError."""
    arrays: dict[str, npt.NDArray[Any]] = {"layers": np.frombuffer(as_json(network), np.uint8)}
    arrays |= {f"{i:04d}/{j}": w for i, node in enumerate(network.nodes) for j, w in enumerate(node.weights)}
    with files.atomic(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Network:
    """Return what `save` wrote; raises TrainError when it is not that."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in sorted(archive.files)}
        layers = arrays.pop("layers").tobytes()
        weights: dict[int, list[Floats]] = {}
        for name, array in arrays.items():
            weights.setdefault(int(name.partition("/")[0]), []).append(array)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainError(f"{path} is not a readable network: {error}") from error
    network = from_json(layers, str(path))
    nodes = (dataclasses.replace(node, weights=tuple(weights.get(i, ()))) for i, node in enumerate(network.nodes))
    return dataclasses.replace(network, nodes=tuple(nodes))
