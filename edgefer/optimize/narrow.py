"""Whole channels taken out of a network: fewer filters in every layer, and nothing that a runtime must know of.

Channels that meet in a sum or a product must go together; `groups` finds which. `narrow` removes the least important
ones until the arithmetic is what was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.optimize.channels import MAKERS, Channels, follow
from edgefer.train.network import Network, Node

Vector = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]


def narrow(
    network: Network, scores: Mapping[str, npt.ArrayLike], macs: int, *, multiple: int = 8, least: int = 8
) -> Network:
    """Return `network` with its least important channels taken out, so that it needs at most `macs` (as `.macs`).

    `scores` gives for each layer of each group the importance of its channels, [channels], finite and ≥ 0; other
    names are not looked at, and the scores of a group's layers are summed. Each step takes `multiple` channels (the
    first time down to the next lower multiple) from the group that loses the least importance for each MAC saved, and
    never leaves fewer than `least`. A group that need not fall keeps its width. Ties are decided by order, so the
    result is the same every time.

    What a step loses is counted as its share of the importance that the group has left. Layers differ in the scale of
    their scores by orders of magnitude, and a share has none. It also grows as a group shrinks: with a fixed scale,
    as the L2 norm of the group's scores, the layers with the most MACs a channel are emptied before others lose any.

    Raises ExportError as `groups`, for scores that are missing or wrong, and when `macs` cannot be reached.
    """
    if multiple < 1 or least < 1:
        raise ExportError(f"channels cannot be kept at multiples of {multiple} and at least {least}; give 1 or more")
    channels = follow(network)
    importances = _importances(network, channels, scores)
    left = _widths(network, channels, importances, macs, multiple, math.ceil(least / multiple) * multiple)
    kept = [np.arange(width) for width in channels.widths]
    for s, importance in importances.items():
        gone = channels.widths[s] - left[s]
        kept[s] = np.sort(np.argsort(importance, kind="stable")[gone:])
    return replace(network, nodes=tuple(_narrowed(node, channels, kept) for node in network.nodes))


def _importances(network: Network, channels: Channels, scores: Mapping[str, npt.ArrayLike]) -> dict[int, Vector]:
    """Return what each channel of each set that may be narrowed is worth: the sum over the layers that make it."""
    totals = {s: np.zeros(channels.widths[s]) for s in channels.groups}
    for name in dict.fromkeys(name for layers in channels.groups.values() for name in layers):
        offsets = channels.offsets(name)
        if name not in scores:
            raise ExportError(f"{network.name}: the layer {name!r} has no importances; give {offsets[-1]} numbers")
        score = np.asarray(scores[name], np.float64)
        if score.shape != (offsets[-1],) or not (np.isfinite(score) & (score >= 0)).all():
            raise ExportError(
                f"{network.name}: the importances of the layer {name!r} are of shape {list(score.shape)}, negative or "
                f"not finite; {offsets[-1]} finite numbers ≥ 0 are needed"
            )
        for s, start, end in zip(channels.runs[name], offsets, offsets[1:], strict=False):
            if s in totals:
                totals[s] += score[start:end]
    return totals


def _widths(
    network: Network, channels: Channels, importances: Mapping[int, Vector], macs: int, multiple: int, least: int
) -> list[int]:
    """Return how many channels each set keeps. Counts alone are worked with; no weight is touched."""
    costs = _costs(network, channels)
    widths = np.array(channels.widths, np.float64)
    order = {s: np.sort(importance) for s, importance in importances.items()}
    steps, prices = np.zeros(len(widths)), np.full(len(widths), np.inf)

    def look(s: int) -> None:
        """Find what the next step of set `s` takes."""
        width = int(widths[s])
        step = width % multiple or multiple
        steps[s], prices[s] = 0.0, np.inf
        if width - step >= least:
            left = order[s][channels.widths[s] - width :]
            steps[s], prices[s] = step, left[:step].sum() / (left.sum() or 1.0)

    for s in importances:
        look(s)
    while (total := costs.total(widths)) > macs:
        if not steps.any():
            raise ExportError(
                f"{network.name} cannot be narrowed to {macs:,} MACs: {total:,} is the least that it reaches with "
                f"multiples of {multiple} channels and at least {least}; it has {network.macs:,} now"
            )
        saved = np.where(steps > 0, costs.saved(widths, steps), 1.0)
        best = int(np.argmin(prices / saved))
        widths[best] -= steps[best]
        look(best)
    return [int(width) for width in widths]


@dataclass(frozen=True)
class _Costs:
    """MACs as a function of the widths w: the sum over layers of (pairs · (gives @ w) + each) · (reads @ w).

    All are float64, whose whole numbers are exact up to 2**53.
    """

    reads: Vector
    """[layers, sets]: how often a layer's input has the channels of a set."""
    gives: Vector
    """[layers, sets]: how often its output has."""
    pairs: Vector
    """[layers]: MACs for an input channel and an output channel."""
    each: Vector
    """[layers]: MACs for an input channel."""

    def total(self, widths: Vector) -> int:
        return round(float((self.pairs * (self.gives @ widths) + self.each) @ (self.reads @ widths)))

    def saved(self, widths: Vector, steps: Vector) -> Vector:
        """Return for each set what is saved when that one alone falls by its step: [sets]."""
        reads, gives = self.reads @ widths, self.gives @ widths
        slopes = (self.pairs * reads) @ self.gives + (self.pairs * gives + self.each) @ self.reads
        both = self.pairs @ (self.reads * self.gives)  # a layer that reads and gives one set falls on both sides
        return np.asarray(steps * slopes - steps**2 * both)


def _costs(network: Network, channels: Channels) -> _Costs:
    nodes = [node for node in network.nodes if node.kind in (*MAKERS, "DepthwiseConv2D")]
    reads, gives = np.zeros((2, len(nodes), len(channels.widths)))
    pairs, each = np.zeros((2, len(nodes)))
    for i, node in enumerate(nodes):
        np.add.at(reads[i], list(channels.runs[node.inputs[0]]), 1)
        np.add.at(gives[i], list(channels.runs[node.name]), 1)
        kernels = [w.size for w in node.weights if w.ndim > 1]
        depth = kernels.pop(0) if node.kind in ("DepthwiseConv2D", "SeparableConv2D") else 0
        positions, width = math.prod(node.shape[:-1]), channels.offsets(node.inputs[0])[-1]
        pairs[i], each[i] = positions * sum(kernels) / (width * node.shape[-1]), positions * depth / width
    return _Costs(reads, gives, pairs, each)


def _narrowed(node: Node, channels: Channels, kept: Sequence[Indices]) -> Node:
    """Return the layer with the channels that stay."""
    if not node.inputs:
        return node
    here, read = channels.kept(node.name, kept), channels.kept(node.inputs[0], kept)
    if len(here) == node.shape[-1] and len(read) == channels.offsets(node.inputs[0])[-1]:
        return node
    shape, weights, settings = (*node.shape[:-1], len(here)), list(node.weights), dict[str, Any](node.settings)
    if node.kind in MAKERS:
        if node.kind == "SeparableConv2D":
            multiplier = weights[0].shape[-1]
            weights[0] = weights[0][:, :, read]
            read = (read[:, None] * multiplier + np.arange(multiplier)).ravel()
        at = 1 if node.kind == "SeparableConv2D" else 0
        weights[at:] = [weights[at][..., read, :][..., here], *(bias[here] for bias in weights[at + 1 :])]
        settings["units" if node.kind == "Dense" else "filters"] = len(here)
    elif node.kind == "DepthwiseConv2D":
        weights = [weights[0][:, :, here], *(bias[here] for bias in weights[1:])]
    elif node.kind in ("BatchNormalization", "PReLU"):  # PReLU's may be one number for all channels
        weights = [w[..., here] if w.shape[-1] == node.shape[-1] else w for w in weights]
    elif node.kind == "Reshape":
        settings["target_shape"] = list(shape)
    return replace(node, shape=shape, settings=settings, weights=tuple(np.ascontiguousarray(w) for w in weights))
