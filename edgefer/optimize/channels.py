"""Which channels of a network belong together: those that meet in a sum or a product, or pass a layer side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.train.network import Network, Node

Indices = npt.NDArray[np.intp]

MAKERS = ("Conv2D", "SeparableConv2D", "Dense")
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum")
# What works on each channel alone, whatever its settings.
PASSES = (
    *("ReLU", "LeakyReLU", "PReLU", "ELU", "Activation", "Dropout", "SpatialDropout2D", "GaussianNoise"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
    *("ZeroPadding2D", "UpSampling2D", "Resizing"),
)


@dataclass(frozen=True)
class Group:
    """Layers whose channels can only be removed together: channel c of one goes with channel c of all others."""

    layers: tuple[str, ...]
    """Names of those that make these channels, in the network's order.

    A depthwise convolution behind a Concatenate stands in several groups, with a part of its channels in each.
    """
    channels: int


def groups(network: Network) -> tuple[Group, ...]:
    """Return which output channels of which layers must go together, in the network's order.

    The picture's channels and the logits stand in no group, nor does what is summed with them. Raises ExportError
    that names the layer when one mixes or changes channels in a way that cannot be followed.
    """
    channels = follow(network)
    return tuple(Group(tuple(layers), channels.widths[s]) for s, layers in channels.groups.items())


@dataclass(frozen=True)
class Channels:
    """Which sets of channels the outputs of all layers consist of. A set is a number from 0 on."""

    widths: tuple[int, ...]
    """Channels of each set."""
    runs: Mapping[str, tuple[int, ...]]
    """Layer → the sets that make, one behind the other, the last axis of its output; one may stand there often."""
    groups: Mapping[int, Sequence[str]]
    """Set that may be narrowed → the layers that make its channels."""

    def offsets(self, name: str) -> list[int]:
        """Return where each run in the output of layer `name` begins, and where the last one ends."""
        return [0, *np.cumsum([self.widths[s] for s in self.runs[name]]).tolist()]

    def kept(self, name: str, kept: Sequence[Indices]) -> Indices:
        """Return which entries of the last axis of the output of `name` stay when those of each set do."""
        return np.concatenate([at + kept[s] for at, s in zip(self.offsets(name), self.runs[name], strict=False)])


class _Sets:
    """Sets of channels that are joined when they turn out to be the same."""

    def __init__(self) -> None:
        self.widths: list[int] = []
        self.fixed: set[int] = set()
        self._parents: list[int] = []

    def new(self, width: int) -> int:
        self.widths.append(width)
        self._parents.append(len(self._parents))
        return self._parents[-1]

    def find(self, s: int) -> int:
        while self._parents[s] != s:
            s = self._parents[s]
        return s

    def join(self, s: int, other: int) -> None:
        first, second = sorted((self.find(s), self.find(other)))
        self._parents[second] = first


def follow(network: Network) -> Channels:
    """Follow every channel through the network."""
    sets = _Sets()
    runs: dict[str, tuple[int, ...]] = {}
    refused = []
    for node in network.nodes:
        found = _output(node, [network[name] for name in node.inputs], [runs[name] for name in node.inputs], sets)
        if found is None:  # does no harm where nothing is narrowed, as softmax behind the logits
            refused.append(node)
            found = (sets.new(node.shape[-1]),)
            sets.fixed.update(found)
        runs[node.name] = found
    last = network.nodes[-1]
    sets.fixed.update(runs[last.name])
    while last.kind not in MAKERS and len(last.inputs) == 1:  # the logits may have softmax behind them
        last = network[last.inputs[0]]
        sets.fixed.update(runs[last.name])
    fixed = {sets.find(s) for s in sets.fixed}
    runs = {name: tuple(sets.find(s) for s in run) for name, run in runs.items()}
    for node in refused:
        if not fixed.issuperset(s for name in node.inputs for s in runs[name]):
            raise ExportError(
                f"{network.name}: channels cannot be followed through the layer {node.name!r} ({node.kind}), so none "
                "can be taken out whole; prune weights instead (--prune magnitude) or build it without that layer"
            )
    found_groups: dict[int, list[str]] = {}
    for node in network.nodes:
        if node.kind in (*MAKERS, "DepthwiseConv2D"):
            for s in dict.fromkeys(runs[node.name]):
                if s not in fixed:
                    found_groups.setdefault(s, []).append(node.name)
    return Channels(tuple(sets.widths), runs, found_groups)


def _output(node: Node, before: list[Node], taken: list[tuple[int, ...]], sets: _Sets) -> tuple[int, ...] | None:
    """Return the runs of a layer's output from those of its inputs; None when they cannot be followed."""
    settings, kind = node.settings, node.kind
    if kind == "InputLayer":
        picture = sets.new(node.shape[-1])
        sets.fixed.add(picture)
        return (picture,)
    last = settings.get("axis", -1) in (-1, len(node.shape), [-1], [len(node.shape)])
    if settings.get("activation") == "softmax" or settings.get("groups", 1) != 1 or not last:
        return None
    if kind in MAKERS:
        return (sets.new(node.shape[-1]),)
    if kind in MERGES:
        return _merged([t for t, b in zip(taken, before, strict=True) if b.shape[-1] == node.shape[-1]], sets)
    if kind == "Concatenate":
        return tuple(s for t in taken for s in t)
    if kind == "Flatten":  # channel c at position p becomes entry p · channels + c
        return taken[0] * math.prod(before[0].shape[:-1])
    if (
        kind in PASSES
        or kind == "BatchNormalization"
        or (kind == "DepthwiseConv2D" and settings.get("depth_multiplier", 1) == 1)
        or (kind == "Reshape" and node.shape[-1] == before[0].shape[-1])
        or (kind == "Rescaling" and not any(isinstance(settings.get(k), list) for k in ("scale", "offset")))
    ):
        return taken[0]
    return None


def _merged(taken: list[tuple[int, ...]], sets: _Sets) -> tuple[int, ...] | None:
    """Join the sets that meet; None when they do not match, as two layers side by side with one of their width."""
    widths = {tuple(sets.widths[s] for s in run) for run in taken}
    if len(widths) != 1:
        return None
    for run in taken[1:]:
        for s, other in zip(taken[0], run, strict=True):
            sets.join(s, other)
    return taken[0]
