"""Batch normalisation folded into its neighbours: the same function with fewer layers, which is what quantises well."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgefer.train.network import Network, Node

Vector = npt.NDArray[np.float64]
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2D", "Dense")
NOISE = ("Dropout", "SpatialDropout2D", "GaussianNoise")
APART = ("sigmoid", "tanh", "gelu")
SCALING = ("BatchNormalization", "Rescaling", "Normalization")


def without_noise(network: Network) -> Network:
    """Return the network without the layers that do something in training alone."""
    for name in [node.name for node in network.nodes if node.kind in NOISE]:
        network = _without(network, network[name])
    return network


def fold(network: Network) -> Network:
    """Return the network in its plainest form, without batch normalisation, scaling and dropout, computing the same.

    A scaling that stands straight after a convolution or dense layer without activation goes into its weights. Another
    one on vectors goes into the dense layers that read it; on pictures it becomes a 1×1 depthwise convolution, which
    every int8 runtime has. Activations other than ReLU become layers of their own, and swish a sigmoid and a product.
    """
    network = _apart(without_noise(network))
    for name in [node.name for node in network.nodes if node.kind in SCALING]:
        node = network[name]  # as it is now: what it reads may have been folded
        if (found := _scale_and_shift(node)) is not None:
            network = _folded(network, node, *found)
    return network


def _apart(network: Network) -> Network:
    """Return the network with sigmoid, tanh and gelu behind the layers that they stood in, and swish in two."""
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    for node in network.nodes:
        node = replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        inner = node.settings.get("activation", "linear")
        swish, alone = inner in ("swish", "silu"), node.kind == "Activation"
        if not swish and (alone or inner not in APART):
            nodes.append(node)
            continue
        if not alone:
            nodes.append(replace(node, settings={**node.settings, "activation": "linear"}))
        before = node.inputs[0] if alone else node.name
        kind = "sigmoid" if swish else inner
        after = _plain(f"{node.name}_{kind}", "Activation", {"activation": kind}, (before,), node)
        nodes.append(after)
        if swish:
            name = node.name if alone else f"{node.name}_swish"
            nodes.append(_plain(name, "Multiply", {}, (before, after.name), node))
        renamed[node.name] = nodes[-1].name
    return replace(network, nodes=tuple(nodes))


def _plain(name: str, kind: str, settings: dict[str, str], inputs: tuple[str, ...], like: Node) -> Node:
    """Return a layer without weights whose output is as large as that of `like`."""
    return Node(name, kind, settings, inputs, like.shape)


def _folded(network: Network, node: Node, scale: Vector, shift: Vector) -> Network:
    before = network[node.inputs[0]]
    alone = len(network.consumers(before.name)) == 1
    if before.kind in CONVOLUTIONS and alone and before.settings.get("activation", "linear") == "linear":
        return _without(_replace(network, _times(before, scale, shift)), node)
    readers = network.consumers(node.name)
    if len(node.shape) == 1 and readers and all(reader.kind == "Dense" for reader in readers):
        for reader in readers:
            network = _replace(network, _after(reader, scale, shift))
        return _without(network, node)
    if len(node.shape) == 3:
        settings = {"kernel_size": [1, 1], "strides": [1, 1], "padding": "same", "depth_multiplier": 1}
        weights = (scale.reshape(1, 1, -1, 1).astype(np.float32), shift.astype(np.float32))
        settings |= {"dilation_rate": [1, 1], "activation": "linear", "use_bias": True}
        return _replace(network, replace(node, kind="DepthwiseConv2D", settings=settings, weights=weights))
    return network


def _scale_and_shift(node: Node) -> tuple[Vector, Vector] | None:
    """Return what a layer multiplies by and adds, per channel; None when it does not work per channel."""
    channels = node.shape[-1]
    axis = node.settings.get("axis", -1)
    if axis not in (-1, len(node.shape), [-1], [len(node.shape)], [], None):
        return None
    weights = [w.astype(np.float64) for w in node.weights]
    if node.kind == "BatchNormalization":
        gamma = weights.pop(0) if node.settings["scale"] else np.ones(channels)
        beta = weights.pop(0) if node.settings["center"] else np.zeros(channels)
        mean, variance = weights
        scale = gamma / np.sqrt(variance + node.settings["epsilon"])
        return scale, beta - mean * scale
    if node.kind == "Rescaling":
        scale, shift = (np.asarray(node.settings.get(k, d), np.float64) for k, d in (("scale", 1.0), ("offset", 0.0)))
    elif node.settings.get("mean") is not None or weights:
        mean, variance = weights[:2] if weights else (node.settings["mean"], node.settings["variance"])
        deviation = np.maximum(np.sqrt(np.asarray(variance, np.float64)), 1e-7)
        scale, shift = 1 / deviation, -np.asarray(mean, np.float64) / deviation
    else:
        return None
    if scale.size not in (1, channels) or shift.size not in (1, channels):
        return None
    return np.broadcast_to(scale.ravel(), channels), np.broadcast_to(shift.ravel(), channels)


def _times(node: Node, scale: Vector, shift: Vector) -> Node:
    """Return a convolution or dense layer whose output is scaled and shifted."""
    kernel = node.weights[0].astype(np.float64)
    bias = node.weights[1].astype(np.float64) if node.settings["use_bias"] else np.zeros(len(scale))
    kernel = kernel * (scale.reshape(kernel.shape[2:]) if node.kind == "DepthwiseConv2D" else scale)
    weights = (kernel.astype(np.float32), (bias * scale + shift).astype(np.float32))
    return replace(node, settings={**node.settings, "use_bias": True}, weights=weights)


def _after(node: Node, scale: Vector, shift: Vector) -> Node:
    """Return a dense layer that scales and shifts what it reads."""
    kernel = node.weights[0].astype(np.float64)
    bias = node.weights[1].astype(np.float64) if node.settings["use_bias"] else np.zeros(kernel.shape[1])
    weights = ((kernel * scale[:, None]).astype(np.float32), (bias + shift @ kernel).astype(np.float32))
    return replace(node, settings={**node.settings, "use_bias": True}, weights=weights)


def _replace(network: Network, new: Node) -> Network:
    return replace(network, nodes=tuple(new if node.name == new.name else node for node in network.nodes))


def _without(network: Network, gone: Node) -> Network:
    """Return the network without a layer of one input: what read it reads that input."""
    nodes = (
        replace(node, inputs=tuple(gone.inputs[0] if name == gone.name else name for name in node.inputs))
        for node in network.nodes
        if node.name != gone.name
    )
    return replace(network, nodes=tuple(nodes))
