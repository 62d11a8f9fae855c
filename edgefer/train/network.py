"""A network as plain data: layers in order, their settings, where their inputs come from, and their weights.

What Keras builds is code and two Kerases are in use (quantization-aware training needs the old one); this form can be
folded, narrowed, checked, written as JSON and built with either. Only the layers of `SETTINGS` exist here, so a file
from a stranger can name nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import TrainError

Floats = npt.NDArray[np.float32]

SETTINGS: dict[str, tuple[str, ...]] = {
    "InputLayer": ("shape",),
    "Conv2D": (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "dilation_rate",
        "groups",
        "activation",
        "use_bias",
    ),
    "DepthwiseConv2D": (
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "dilation_rate",
        "activation",
        "use_bias",
    ),
    "SeparableConv2D": (
        "filters",
        "kernel_size",
        "strides",
        "padding",
        "depth_multiplier",
        "dilation_rate",
        "activation",
        "use_bias",
    ),
    "Dense": ("units", "activation", "use_bias"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "Normalization": ("axis", "mean", "variance"),
    "Rescaling": ("scale", "offset"),
    "Resizing": ("height", "width", "interpolation"),
    "UpSampling2D": ("size", "interpolation"),
    "ZeroPadding2D": ("padding",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "PReLU": ("shared_axes",),
    "ELU": ("alpha",),
    "Softmax": ("axis",),
    "Activation": ("activation",),
    "Add": (),
    "Subtract": (),
    "Multiply": (),
    "Average": (),
    "Maximum": (),
    "Concatenate": ("axis",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": ("keepdims",),
    "GlobalMaxPooling2D": ("keepdims",),
    "Flatten": (),
    "Reshape": ("target_shape",),
    "Dropout": ("rate",),
    "SpatialDropout2D": ("rate",),
    "GaussianNoise": ("stddev",),
}
"""Kind of layer → the constructor's arguments that decide what it computes; channels come last everywhere."""
ACTIVATIONS = (
    "linear",
    "relu",
    "relu6",
    "softmax",
    "sigmoid",
    "hard_sigmoid",
    "tanh",
    "swish",
    "silu",
    "hard_swish",
    "hard_silu",
    "gelu",
    "elu",
    "selu",
    "leaky_relu",
)
LEFT_OUT = (
    "crop_to_aspect_ratio",
    "pad_to_aspect_ratio",
    "antialias",
    "rms_scaling",
    "invert",
    "renorm",
    "quantization_config",
)
"""Switches that change what a layer computes and that `SETTINGS` does not have: they must be off."""
INSTEAD = {
    "Lambda": ": it holds code; write it with layers",
    "Functional": ": it is a network within the network; use its layers directly",
    "Sequential": ": it is a network within the network; use its layers directly",
    "GroupNormalization": ": use BatchNormalization",
    "MultiHeadAttention": ": attention has no int8 form here; leave it out",
    "Attention": ": attention has no int8 form here; leave it out",
}
"""What to do about a kind of layer that people use and that is not known here."""
NEW_ACTIVATIONS = ("hard_sigmoid", "hard_swish", "hard_silu")
"""Those that tf_keras does not have, or has with another slope."""


@dataclass(frozen=True)
class Node:
    """One layer."""

    name: str
    kind: str
    """Name of its class in `keras.layers`."""
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    """Names of the layers whose outputs it takes."""
    shape: tuple[int, ...]
    """Of its output for one picture."""
    weights: tuple[Floats, ...] = ()
    """As `keras.layers.Layer.get_weights` gives them."""


@dataclass(frozen=True)
class Network:
    """Layers in an order in which each comes after its inputs: the first takes the picture, the last gives logits."""

    name: str
    nodes: tuple[Node, ...]

    def __getitem__(self, name: str) -> Node:
        """Return the layer called `name`; raises KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Return the layers that take the output of layer `name`."""
        return tuple(node for node in self.nodes if name in node.inputs)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(w.size for node in self.nodes for w in node.weights)

    @property
    def macs(self) -> int:
        """Multiplications with addition for one picture, in convolutions and dense layers, as `macs.count_macs`."""
        total = 0
        for node in self.nodes:
            if node.kind in ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense"):
                positions = int(np.prod(node.shape[:-1], dtype=np.int64))
                total += positions * sum(w.size for w in node.weights if w.ndim > 1)
        return total


def from_keras(model: Any) -> Network:
    """Return a functional keras.Model of Keras 3 as plain data.

    Raises TrainError that names the layer when it is of a kind that is not known here, is used twice, is no layer, or
    computes what its settings here cannot say; and for a model of several inputs or outputs.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise TrainError(
            f"{model.name} has {len(model.inputs)} inputs and {len(model.outputs)} outputs; give it one each"
        )
    nodes = []
    for operation in model.operations:
        kind, name = type(operation).__name__, operation.name
        if kind not in SETTINGS:
            raise TrainError(
                f"{model.name}: the layer {name!r} is a {kind}, which cannot be taken apart{_advice(kind)}"
            )
        if len(operation._inbound_nodes) != 1:
            raise TrainError(f"{model.name}: the layer {name!r} is used {len(operation._inbound_nodes)} times; give"
                             " each place a layer of its own")  # fmt: skip
        inputs = tuple(t._keras_history.operation.name for t in operation._inbound_nodes[0].input_tensors)
        config = operation.get_config()
        settings = {key: _plain(config[key]) for key in SETTINGS[kind] if key in config}
        if kind == "InputLayer":
            settings = {"shape": list(operation.output.shape[1:])}
        if config.get("data_format", "channels_last") != "channels_last":
            raise TrainError(f"{model.name}: the layer {name!r} has channels first; build it with channels last")
        activation = settings.get("activation", "linear")
        if activation not in ACTIVATIONS:
            raise TrainError(f"{model.name}: the layer {name!r} has the activation {str(activation)[:40]!r}; known are"
                             f" {', '.join(ACTIVATIONS)}")  # fmt: skip
        if unknown := [key for key in LEFT_OUT if config.get(key)]:
            raise TrainError(
                f"{model.name}: the layer {name!r} has {unknown[0]} on, which is not known here; turn it off"
            )
        if None in operation.output.shape[1:]:
            raise TrainError(f"{model.name}: the size of what the layer {name!r} gives is open; fix that of the input")
        shape = tuple(int(n) for n in operation.output.shape[1:])
        weights = tuple(np.asarray(w, np.float32) for w in getattr(operation, "get_weights", list)())
        nodes.append(Node(name, kind, settings, inputs, shape, weights))
    return _ordered(model.name, nodes, model.outputs[0]._keras_history.operation.name)


def _advice(kind: str) -> str:
    if kind.startswith("Random"):
        return ": leave it out; training augments the pictures"
    return INSTEAD.get(kind, f"; known are {', '.join(sorted(SETTINGS))}")


def _ordered(name: str, nodes: Sequence[Node], last: str) -> Network:
    """Return the network with its layers in an order to compute them in."""
    left, done, ordered = list(nodes), set[str](), list[Node]()
    while left:
        ready = [node for node in left if done.issuperset(node.inputs)]
        if not ready:
            raise TrainError(f"{name}: the layers {', '.join(n.name for n in left[:5])} wait for each other")
        ordered += ready
        done |= {node.name for node in ready}
        left = [node for node in left if node.name not in done]
    ordered.sort(key=lambda node: node.name == last)  # stable: the last one goes to the end
    return Network(name, tuple(ordered))


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def to_keras(keras: Any, network: Network, wrap: Any = None, first: Any = None) -> Any:
    """Return the network as a `keras.Model` of the module `keras` (Keras 3 or tf_keras), with its weights.

    `wrap(layer, node)` may return another layer in the place of one, and `first` is a layer for the picture; whoever
    gives `wrap` sets the weights. Raises TrainError that names the layer which that Keras cannot build so, or whose
    output or weights are not of the shape that the network says.
    """
    outputs: dict[str, Any] = {}
    for node in network.nodes:
        try:
            if node.kind == "InputLayer":
                inputs = outputs[node.name] = keras.Input(tuple(node.settings["shape"]), name=node.name)
                if first is not None:
                    outputs[node.name] = first(inputs)
            else:
                layer = getattr(keras.layers, node.kind)(name=node.name, **_arguments(keras, node))
                layer = wrap(layer, node) if wrap else layer
                taken = [outputs[name] for name in node.inputs]
                outputs[node.name] = layer(taken if len(taken) > 1 else taken[0])
            found = tuple(outputs[node.name].shape[1:])
            if found != node.shape:
                raise ValueError(f"it gives {list(found)}, not {list(node.shape)}")
            if node.weights and wrap is None:
                layer.set_weights(list(node.weights))
                if node.kind == "Normalization":
                    layer.finalize_state()  # it computes with copies of its weights
        except Exception as error:  # settings may be a stranger's, and Keras raises nearly anything for wrong ones
            what = " ".join(str(error).split())[:200]
            raise TrainError(
                f"{network.name}: the layer {node.name!r} ({node.kind}) cannot be built: {what}"
            ) from error
    return keras.Model(inputs, outputs[network.nodes[-1].name], name=network.name)


def _arguments(keras: Any, node: Node) -> dict[str, Any]:
    """Return the constructor's arguments as that Keras spells them."""
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in node.settings.items()}
    if settings.get("activation") == "silu":
        settings["activation"] = "swish"
    old = not hasattr(keras, "ops")
    if old and settings.get("activation") in NEW_ACTIVATIONS:
        raise ValueError(f"tf_keras computes {settings['activation']} in another way; use relu6 or swish")
    if old and node.kind == "LeakyReLU":
        settings["alpha"] = settings.pop("negative_slope")
    if node.kind == "BatchNormalization" and isinstance(settings.get("axis"), tuple):
        settings["axis"] = settings["axis"][0]
    return settings


def replace_node(network: Network, name: str, **changes: Any) -> Network:
    """Return the network with fields of one layer replaced."""
    nodes = tuple(dataclasses.replace(n, **changes) if n.name == name else n for n in network.nodes)
    return dataclasses.replace(network, nodes=nodes)


def with_weights(network: Network, model: Any) -> Network:
    """Return the network with the weights that the layers of a built `model` have now."""
    nodes = tuple(
        dataclasses.replace(node, weights=tuple(np.array(w) for w in model.get_layer(node.name).get_weights()))
        if node.weights
        else node
        for node in network.nodes
    )
    return dataclasses.replace(network, nodes=nodes)
