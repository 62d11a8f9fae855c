"""Batch normalisation folded away: the same outputs from fewer layers, with either Keras."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs edgefer[train]")

from edgefer.optimize.fold import fold, without_noise
from edgefer.train import architectures
from edgefer.train.backend import load_keras
from edgefer.train.network import Network, Node, from_keras, to_keras

keras = load_keras()
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3 on numpy 2
LARGE = ("cnn-6", "cnn-1024", "deep-cnn", "resnet50", "vgg19-transfer", "vgg19-full", "efficientnet-b2")
# mlp-relu ends in an operation that is no layer; efficientnetv2-l has the layers of efficientnet-b2 and 15 times the
# weights.
NAMES = [
    n for n, f in architectures.facts().items() if f.trainer == "keras" and n not in ("mlp-relu", "efficientnetv2-l")
]
PICTURES = np.random.default_rng(0).random((3, 48, 48, 1), np.float32)


def randomised(network: Network) -> Network:
    """Return the network with weights as after training: every normalisation with statistics of its own."""
    rng = np.random.default_rng(1)

    def weights(node: Node) -> tuple[np.ndarray, ...]:
        if node.kind == "BatchNormalization":
            wide = {0, len(node.weights) - 1} if node.settings["scale"] else {len(node.weights) - 1}
            return tuple(
                rng.uniform(0.5, 1.5, w.shape) if i in wide else rng.normal(0, 0.2, w.shape)
                for i, w in enumerate(node.weights)
            )
        if node.kind == "Normalization":
            return tuple(rng.uniform(0.5, 1.5, w.shape) for w in node.weights)
        depthwise = [node.kind in ("DepthwiseConv2D", "SeparableConv2D") and i == 0 for i in range(len(node.weights))]
        return tuple(
            rng.normal(0, np.sqrt(2 / (np.prod(w.shape[: 2 if d else -1]) if w.ndim > 1 else 50)), w.shape)
            for w, d in zip(node.weights, depthwise, strict=True)
        )

    nodes = (replace(n, weights=tuple(np.asarray(w, np.float32) for w in weights(n))) for n in network.nodes)
    return replace(network, nodes=tuple(nodes))


def logits(network: Network, built_with: str = "keras") -> np.ndarray:
    pictures = PICTURES[:, : network.nodes[0].shape[0], : network.nodes[0].shape[1]]
    module = pytest.importorskip(built_with, reason="needs edgefer[optimize]")
    return np.asarray(
        to_keras(module, network)(np.repeat(pictures, network.nodes[0].shape[2], axis=-1), training=False)
    )


def same(folded: Network, expected: np.ndarray, built_with: str = "keras") -> None:
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(logits(folded, built_with), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def kinds(network: Network) -> list[str]:
    return [node.kind for node in network.nodes]


def made(body: Callable[[Any], Any], shape: tuple[int, ...] = (8, 8, 1)) -> Network:
    """Return the network of a function from the picture to the logits."""
    picture = keras.Input(shape, name="picture")
    return randomised(from_keras(keras.Model(picture, body(picture), name="made")))


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in NAMES])
def pair(request: pytest.FixtureRequest) -> tuple[Network, np.ndarray]:
    """Each architecture and its logits."""
    network = randomised(from_keras(architectures.build(keras, request.param, 7)))
    return network, logits(network)


@pytest.mark.parametrize("built_with", ["keras", "tf_keras"])
def test_every_architecture_gives_the_same_without_batch_normalisation(
    pair: tuple[Network, np.ndarray], built_with: str
) -> None:
    network, expected = pair
    folded = fold(network)
    assert not {"BatchNormalization", "Rescaling", "Normalization", "Dropout"} & set(kinds(folded))
    before = {n.name: n.shape for n in network.nodes}
    kept = [(n.shape, n.name) for n in folded.nodes if n.name in before]
    assert kept == [(n.shape, n.name) for n in network.nodes if n.name in {m.name for m in folded.nodes}]
    # What is new was an activation inside of a layer, or half of a swish.
    assert all(n.name.removesuffix("_sigmoid").removesuffix("_swish") in before for n in folded.nodes)
    same(folded, expected, built_with)
    if network.name.startswith("edge"):
        assert [k for k in kinds(network) if k not in ("BatchNormalization", "Dropout")] == kinds(folded)
        assert folded.macs == network.macs


def after(kind: str) -> Callable[[Any], Any]:
    """Return a body in which a batch normalisation follows a layer of `kind` without activation."""

    def body(x: Any) -> Any:
        x = layers.Conv2D(6, 3, name="first")(x)
        if kind == "DepthwiseConv2D":
            x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="before")(x)
        elif kind == "Dense on a picture":
            x = layers.Dense(5, use_bias=False, name="before")(x)
        elif kind == "Dense":
            x = layers.Dense(5, name="before")(layers.Flatten(name="flat")(x))
        else:
            x = layers.Conv2D(6, 3, groups=2, use_bias=False, name="before")(x)
        x = layers.ReLU(name="relu")(layers.BatchNormalization(epsilon=0.01, name="bn")(x))
        x = x if kind == "Dense" else layers.Flatten(name="flat")(x)
        return layers.Dense(3, name="logits")(x)

    return body


@pytest.mark.parametrize("kind", ["Conv2D with groups", "DepthwiseConv2D", "Dense", "Dense on a picture"])
def test_it_goes_into_the_layer_before(kind: str) -> None:
    network = made(after(kind))
    folded = fold(network)
    assert [n.name for n in folded.nodes] == [n.name for n in network.nodes if n.name != "bn"]
    assert folded["before"].settings["use_bias"] is True
    same(folded, logits(network))
    same(folded, logits(network), "tf_keras")


def test_behind_a_dense_layer_with_activation_it_goes_forward() -> None:
    def body(x: Any) -> Any:
        x = layers.Dense(6, activation="relu", name="dense")(layers.Flatten(name="flat")(x))
        x = layers.Dropout(0.5, name="drop")(layers.BatchNormalization(name="bn")(x))
        both = [layers.Dense(4, use_bias=False, name="a")(x), layers.Dense(4, activation="tanh", name="b")(x)]
        return layers.Dense(3, name="logits")(layers.Add(name="add")(both))

    network = made(body)
    folded = fold(network)
    assert "BatchNormalization" not in kinds(folded)
    np.testing.assert_array_equal(folded["dense"].weights[0], network["dense"].weights[0])
    for name in "ab":
        assert not np.array_equal(folded[name].weights[0], network[name].weights[0])
        assert len(folded[name].weights) == 2
    assert folded["a"].inputs == folded["b"].inputs == ("dense",)
    same(folded, logits(network))


def test_on_a_vector_that_others_read_too_it_stays() -> None:
    def body(x: Any) -> Any:
        x = layers.Dense(4, activation="relu", name="dense")(layers.Flatten(name="flat")(x))
        x = layers.BatchNormalization(name="bn")(x)
        x = layers.Add(name="add")([x, layers.Dense(4, name="other")(x)])
        return layers.Dense(3, name="logits")(x)

    network = made(body)
    folded = fold(network)
    assert kinds(folded) == kinds(network)
    same(folded, logits(network))


def test_alone_on_a_picture_it_becomes_a_depthwise_convolution() -> None:
    def body(x: Any) -> Any:
        x = layers.MaxPooling2D(name="pool")(layers.Conv2D(6, 3, activation="relu", name="conv")(x))
        x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
        return layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x))

    network = made(body)
    folded = fold(network)
    assert folded["bn"].kind == "DepthwiseConv2D"
    assert [w.shape for w in folded["bn"].weights] == [(1, 1, 6, 1), (6,)]
    np.testing.assert_array_equal(folded["conv"].weights[0], network["conv"].weights[0])
    same(folded, logits(network))
    same(folded, logits(network), "tf_keras")


def test_a_layer_that_others_read_too_keeps_its_weights() -> None:
    def body(x: Any) -> Any:
        x = layers.Conv2D(6, 3, name="conv")(x)
        x = layers.Add(name="add")([x, layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))])
        return layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x))

    network = made(body)
    folded = fold(network)
    assert folded["bn"].kind == "DepthwiseConv2D"
    np.testing.assert_array_equal(folded["conv"].weights[0], network["conv"].weights[0])
    same(folded, logits(network))


@pytest.mark.parametrize("picture", [True, False], ids=["picture", "vector"])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_two_behind_each_other(picture: bool, activation: str) -> None:
    def body(x: Any) -> Any:
        x = layers.Conv2D(6, 3, activation=activation, name="layer")(x) if picture else layers.Flatten(name="flat")(x)
        x = x if picture else layers.Dense(6, activation=activation, name="layer")(x)
        x = layers.BatchNormalization(name="bn2")(layers.BatchNormalization(name="bn1")(x))
        x = layers.Flatten(name="flat")(x) if picture else x
        return layers.Dense(3, name="logits")(x)

    network = made(body)
    folded = fold(network)
    # One is left where neither side takes the first: behind an activation, before the second.
    assert kinds(folded).count("BatchNormalization") == (not picture and activation == "relu")
    same(folded, logits(network))


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_without_shift_or_scale(center: bool, scale: bool) -> None:
    def body(x: Any) -> Any:
        x = layers.BatchNormalization(center=center, scale=scale, name="bn")(layers.Conv2D(6, 3, name="conv")(x))
        return layers.Dense(3, name="logits")(layers.Flatten(name="flat")(layers.ReLU(name="relu")(x)))

    network = made(body)
    folded = fold(network)
    assert "bn" not in [n.name for n in folded.nodes]
    same(folded, logits(network))


FIRST = {
    "Rescaling by a number": lambda: layers.Rescaling(2.0, offset=-1.0, name="scale"),
    "Rescaling by channel": lambda: layers.Rescaling(2.0, offset=[-1.0, 0.5, 0.1], name="scale"),
    "Normalization": lambda: layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], name="scale"),
    "Normalization by a number": lambda: layers.Normalization(axis=None, mean=0.4, variance=2.0, name="scale"),
    "Normalization that was adapted": lambda: layers.Normalization(name="scale"),
}


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("built_with", ["keras", "tf_keras"])
def test_scaling_of_the_picture(name: str, built_with: str) -> None:
    def body(x: Any) -> Any:
        x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(FIRST[name]()(x))
        return layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x))

    network = made(body, (8, 8, 3))
    expected = logits(network)
    same(network, expected, built_with)
    folded = fold(network)
    # With padding it cannot go into the convolution: the zeros around the picture are not scaled.
    assert kinds(folded) == ["InputLayer", "DepthwiseConv2D", "Conv2D", "Flatten", "Dense"]
    same(folded, expected, built_with)


def test_layers_of_training_alone_go() -> None:
    def body(x: Any) -> Any:
        x = layers.SpatialDropout2D(0.5, name="spots")(layers.GaussianNoise(0.1, name="noise")(x))
        x = layers.ReLU(name="relu")(layers.Dropout(0.5, name="drop1")(layers.Conv2D(6, 3, name="conv")(x)))
        x = layers.Dense(3, name="logits")(layers.Dropout(0.5, name="drop2")(layers.Flatten(name="flat")(x)))
        return layers.Dropout(0.1, name="drop3")(x)

    network = made(body)
    for found in (without_noise(network), fold(network)):
        assert [n.name for n in found.nodes] == ["picture", "conv", "relu", "flat", "logits"]
        same(found, logits(network))


def test_over_another_axis_it_stays() -> None:
    def body(x: Any) -> Any:
        x = layers.BatchNormalization(axis=1, name="bn")(layers.Conv2D(6, 3, name="conv")(x))
        return layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x))

    network = made(body)
    assert kinds(fold(network)) == kinds(network)
    same(fold(network), logits(network))


def test_behind_the_logits() -> None:
    network = made(
        lambda x: layers.BatchNormalization(name="bn")(layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x)))
    )
    folded = fold(network)
    assert [n.name for n in folded.nodes] == ["picture", "flat", "logits"]
    same(folded, logits(network))


def test_what_was_given_is_not_changed() -> None:
    network = made(after("Dense"))
    before = [w.copy() for n in network.nodes for w in n.weights]
    fold(network)
    for w, old in zip((w for n in network.nodes for w in n.weights), before, strict=True):
        np.testing.assert_array_equal(w, old)
