"""Whole channels taken out: the same as if they were zero, as few as asked for, and nothing that cannot be followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="needs edgefer[train]")

from edgefer.errors import ExportError
from edgefer.optimize.channels import groups
from edgefer.optimize.narrow import narrow
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
Scores = Mapping[str, np.ndarray]


def randomised(network: Network, seed: int = 1) -> Network:
    """Return the network with weights as after training: every batch normalisation with statistics of its own."""
    rng = np.random.default_rng(seed)

    def weights(node: Node) -> tuple[np.ndarray, ...]:
        if node.kind == "BatchNormalization":
            return tuple(rng.uniform(0.5, 1.5, w.shape) if i in (0, 3) else rng.normal(0, 0.2, w.shape)
                         for i, w in enumerate(node.weights))  # fmt: skip
        if node.kind == "Normalization":
            return node.weights
        depthwise = [node.kind in ("DepthwiseConv2D", "SeparableConv2D") and i == 0 for i in range(len(node.weights))]
        return tuple(
            rng.normal(0, np.sqrt(2 / (np.prod(w.shape[: 2 if d else -1]) if w.ndim > 1 else 50)), w.shape)
            for w, d in zip(node.weights, depthwise, strict=True)
        )

    nodes = (replace(n, weights=tuple(w.astype(np.float32) for w in weights(n))) for n in network.nodes)
    return replace(network, nodes=tuple(nodes))


def random_scores(network: Network, seed: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    names = {name for group in groups(network) for name in group.layers}
    return {n.name: rng.random(n.shape[-1]) * 10.0 ** rng.integers(-6, 6) for n in network.nodes if n.name in names}


def logits(network: Network, pictures: np.ndarray) -> np.ndarray:
    return np.asarray(to_keras(keras, network)(pictures, training=False))


def channel_axis(node: Node, weight: int) -> int:
    """Return which axis of a weight counts the layer's output channels."""
    return -2 if node.kind == "DepthwiseConv2D" and weight == 0 else -1


def left(network: Network, **arguments: Any) -> dict[str, np.ndarray]:
    """Return which channels of each layer with weights are left, seen from outside: weights that say their channel."""

    def numbered(node: Node) -> Node:
        if node.kind == "Normalization":
            return node
        shapes = [np.moveaxis(w, channel_axis(node, i), -1).shape for i, w in enumerate(node.weights)]
        numbers = [np.broadcast_to(np.arange(s[-1], dtype=np.float32), s) for s in shapes]
        return replace(node, weights=tuple(np.moveaxis(w, -1, channel_axis(node, i)) for i, w in enumerate(numbers)))

    found = narrow(replace(network, nodes=tuple(numbered(n) for n in network.nodes)), **arguments)
    return {
        n.name: np.moveaxis(n.weights[-1], channel_axis(n, len(n.weights) - 1), -1)
        .reshape(-1, n.shape[-1])[0]
        .astype(int)
        for n in found.nodes
        if n.weights and n.kind != "Normalization"
    }


def zeroed(network: Network, kept: Mapping[str, np.ndarray]) -> Network:
    """Return the network with zeros where the removed channels are made, and normalised to zero."""

    def without(node: Node) -> Node:
        if node.name not in kept:
            return node
        gone = np.setdiff1d(np.arange(node.shape[-1]), kept[node.name])
        weights = [w.copy() for w in node.weights]
        if node.kind == "BatchNormalization":
            weights[1][gone] = weights[2][gone] = 0  # beta and mean
        elif node.kind == "DepthwiseConv2D":
            weights[0][:, :, gone] = 0
        elif node.kind in ("Conv2D", "Dense", "SeparableConv2D"):
            weights[node.kind == "SeparableConv2D"][..., gone] = 0
        if node.settings.get("use_bias"):
            weights[-1][gone] = 0
        return replace(node, weights=tuple(weights))

    return replace(network, nodes=tuple(without(n) for n in network.nodes))


def check(network: Network, pictures: np.ndarray, scores: Scores, macs: int, **options: int) -> Network:
    """Narrow and check everything that holds of every network; return the narrow one."""
    found = narrow(network, scores, macs, **options)
    assert found.macs <= macs
    assert [(n.name, n.kind, n.inputs) for n in found.nodes] == [(n.name, n.kind, n.inputs) for n in network.nodes]
    multiple, least = options.get("multiple", 8), options.get("least", 8)
    kept = left(network, scores=scores, macs=macs, **options)
    for group in groups(network):
        together = [kept[name] for name in group.layers if network[name].shape[-1] == group.channels]
        for channels in together:
            np.testing.assert_array_equal(channels, together[0])
        width = len(together[0])
        assert width == group.channels or (width % multiple == 0 and width >= least)
        if len(together) == len(group.layers):
            total = sum(np.asarray(scores[name]) for name in group.layers)
            gone = np.delete(total, together[0])
            assert gone.size == 0 or gone.max() <= total[together[0]].min()
    expected = logits(zeroed(network, kept), pictures)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(logits(found, pictures), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    return found


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in NAMES])
def network(request: pytest.FixtureRequest) -> Network:
    return randomised(from_keras(architectures.build(keras, request.param, 7)))


@pytest.mark.parametrize("share", [0.7, 0.3])
def test_the_narrow_network_is_the_wide_one_with_zeros(network: Network, share: float) -> None:
    if network.name == "efficientnet-b2" and share < 0.5:
        share = 0.5
    found = check(network, PICTURES, random_scores(network), int(network.macs * share))
    assert found.macs > 0.5 * share * network.macs
    assert found.nodes[-1].shape == (7,)
    assert found.nodes[0] == network.nodes[0]


def test_the_widths_that_groups_says_are_those_of_its_layers(network: Network) -> None:
    found = groups(network)
    assert found
    assert network.nodes[-1].name not in {name for group in found for name in group.layers}
    names = [name for group in found for name in group.layers]
    assert len(names) == len(set(names))
    for group in found:
        assert {network[name].shape[-1] for name in group.layers} == {group.channels}


@pytest.fixture(scope="module")
def edge() -> Network:
    return randomised(from_keras(architectures.build(keras, "edge-s0", 7)))


def test_residual_layers_go_together(edge: Network) -> None:
    assert [(group.layers, group.channels) for group in groups(edge)] == [
        (("s1_conv",), 16),
        (("s2_conv",), 32),
        (("s3_conv", "s3r1_conv"), 64),
        (("s4_conv", "s4r1_conv", "s4r2_conv"), 128),
    ]


def test_the_same_comes_out_every_time_and_equal_channels_go_by_order(edge: Network) -> None:
    scores = {name: np.ones(group.channels) for group in groups(edge) for name in group.layers}
    one, same = (narrow(edge, scores, edge.macs // 2) for _ in range(2))
    for a, b in zip(one.nodes, same.nodes, strict=True):
        assert (a.name, a.shape, a.settings) == (b.name, b.shape, b.settings)
        for v, w in zip(a.weights, b.weights, strict=True):
            np.testing.assert_array_equal(v, w)
    kept = left(edge, scores=scores, macs=edge.macs // 2)["s4_conv"]
    np.testing.assert_array_equal(kept, np.arange(128)[-len(kept) :])


def test_the_scale_of_one_layers_scores_does_not_matter(edge: Network) -> None:
    scores = random_scores(edge)
    other = {name: score * (1e9 if name == "s2_conv" else 1) for name, score in scores.items()}
    widths = [[n.shape for n in narrow(edge, s, edge.macs // 2).nodes] for s in (scores, other)]
    assert widths[0] == widths[1]


def test_a_layer_without_use_goes_first(edge: Network) -> None:
    scores = {name: np.ones(group.channels) for group in groups(edge) for name in group.layers}
    scores["s2_conv"] = np.repeat([0.0, 1.0], 16)
    kept = left(edge, scores=scores, macs=edge.macs * 8 // 10)
    np.testing.assert_array_equal(kept["s2_conv"], np.arange(16, 32))


def test_nothing_changes_when_there_is_nothing_to_save(edge: Network) -> None:
    assert narrow(edge, random_scores(edge), edge.macs).nodes == edge.nodes


def test_as_narrow_as_it_gets_and_no_further(edge: Network) -> None:
    scores = random_scores(edge)
    with pytest.raises(ExportError, match=r"edge-s0 cannot be narrowed to 1,000 MACs: ([\d,]+) is the least") as error:
        narrow(edge, scores, 1000, multiple=16, least=20)
    reached = int(str(error.value).split(": ")[1].split()[0].replace(",", ""))
    found = check(edge, PICTURES, scores, reached, multiple=16, least=20)
    assert found.macs == reached
    assert [group.channels for group in groups(found)] == [16, 32, 32, 32]  # 16 is less than 20 as it is


def block(inputs: Any, width: int, name: str) -> Any:
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv")(inputs)
    return layers.ReLU(name=f"{name}_relu")(layers.BatchNormalization(name=f"{name}_bn")(x))


def made(body: Callable[[Any], Any], shape: tuple[int, ...] = (8, 8, 1)) -> Network:
    """Return the network of a function from the picture to what the logits read."""
    picture = keras.Input(shape, name="picture")
    return randomised(from_keras(keras.Model(picture, layers.Dense(3, name="logits")(body(picture)), name="made")))


def flattened(x: Any) -> Any:
    x = layers.PReLU(shared_axes=[1, 2], name="prelu")(layers.Conv2D(12, 3, name="a")(x))
    x = layers.MaxPooling2D(name="pool")(layers.BatchNormalization(name="bn")(x))
    x = layers.Dense(20, activation="relu", name="b")(layers.Flatten(name="flat")(x))
    return layers.BatchNormalization(name="bn_b")(x)


def beside(x: Any) -> Any:
    x = block(x, 8, "stem")
    x = layers.Concatenate(name="both")([block(x, 12, "a"), x, layers.Conv2D(4, 1, name="b")(x)])
    x = layers.DepthwiseConv2D(3, padding="same", name="depth")(layers.BatchNormalization(name="bn")(x))
    return layers.Flatten(name="flat")(layers.UpSampling2D(name="up")(layers.Conv2D(8, 2, name="c")(x)))


def inverted(x: Any) -> Any:
    x = y = block(x, 8, "stem")
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depth")(block(y, 24, "wide"))
    y = layers.ReLU(max_value=6.0, name="relu6")(layers.BatchNormalization(name="depth_bn")(y))
    y = layers.Conv2D(8, 1, name="narrow")(y)
    y = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2, name="separable")(y)
    return layers.GlobalMaxPooling2D(name="pool")(layers.Average(name="mean")([x, y]))


def excited(x: Any) -> Any:
    x = block(x, 16, "stem")
    s = layers.Reshape((1, 1, 16), name="as_picture")(layers.GlobalAveragePooling2D(name="squeeze")(x))
    s = layers.Conv2D(16, 1, activation="sigmoid", name="up")(layers.Conv2D(8, 1, activation="swish", name="down")(s))
    x = layers.Multiply(name="excite")([x, s])
    one = layers.Conv2D(1, 1, activation="sigmoid", name="where")(x)
    return layers.GlobalAveragePooling2D(keepdims=True, name="pool")(layers.Multiply(name="attend")([one, x]))


def tied(x: Any) -> Any:
    y = layers.Conv2D(1, 3, padding="same", name="shift")(x)
    x = layers.Subtract(name="changed")([x, y])  # has the picture's channel
    a, b = block(x, 8, "a"), block(x, 8, "b")
    wide = layers.Concatenate(name="ab")([a, b])
    other = layers.Concatenate(name="cd")([block(x, 8, "c"), block(x, 8, "d")])
    x = layers.Maximum(name="largest")([wide, layers.SpatialDropout2D(0.1, name="drop")(other)])
    return layers.Flatten(name="flat")(layers.ZeroPadding2D(1, name="pad")(x))


SMALL = {
    flattened: [(("a",), 12), (("b",), 20)],
    beside: [(("stem_conv", "depth"), 8), (("a_conv", "depth"), 12), (("b", "depth"), 4), (("c",), 8)],
    inverted: [(("stem_conv", "separable"), 8), (("wide_conv", "depth"), 24), (("narrow",), 8)],
    excited: [(("stem_conv", "up"), 16), (("down",), 8), (("where",), 1)],
    tied: [(("a_conv", "c_conv"), 8), (("b_conv", "d_conv"), 8)],
}


@pytest.mark.parametrize("body", SMALL)
def test_small_networks(body: Callable[[Any], Any]) -> None:
    network = made(body)
    assert {(frozenset(g.layers), g.channels) for g in groups(network)} == {(frozenset(a), n) for a, n in SMALL[body]}
    pictures = PICTURES[:, :8, :8]
    for multiple, share in ((4, 0.6), (1, 0.25)):
        check(network, pictures, random_scores(network), int(network.macs * share), multiple=multiple, least=1)


def test_widths_fall_to_a_multiple_first() -> None:
    network = made(flattened)
    scores = random_scores(network)
    seen = {
        tuple(g.channels for g in groups(narrow(network, scores, macs, multiple=8, least=8)))
        for macs in range(network.macs, 3200, -200)
    }
    assert {a for a, _ in seen} == {12, 8}
    assert {b for _, b in seen} <= {20, 16, 8}
    assert (8, 20) in seen
    assert (8, 8) in seen


@st.composite
def bodies(draw: st.DrawFn) -> list[tuple[str, int]]:
    kinds = st.sampled_from(["conv", "residual", "depthwise", "separable", "beside", "excite", "pool"])
    return draw(st.lists(st.tuples(kinds, st.integers(2, 9)), min_size=1, max_size=4))


@settings(max_examples=10)
@given(bodies(), st.booleans(), st.sampled_from([0.8, 0.5]), st.integers(0, 99))
def test_any_small_network(body: list[tuple[str, int]], flat: bool, share: float, seed: int) -> None:
    def build(x: Any) -> Any:
        x = block(x, 6, "stem")
        for i, (kind, width) in enumerate(body):
            if kind == "conv":
                x = block(x, width, f"l{i}")
            elif kind == "residual":
                x = (
                    layers.Add()([x, block(x, x.shape[-1], f"l{i}")])
                    if i % 2
                    else layers.Add()([block(x, x.shape[-1], f"l{i}"), x])
                )
            elif kind == "depthwise":
                x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
            elif kind == "separable":
                x = layers.SeparableConv2D(width, 3, padding="same", activation="relu")(x)
            elif kind == "beside":
                x = layers.Concatenate()([x, layers.Conv2D(width, 1, activation="tanh")(x)])
            elif kind == "excite":
                gate = layers.Dense(x.shape[-1], activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
                x = layers.Multiply()([x, gate])
            else:
                x = layers.AveragePooling2D(2, padding="same")(x)
        return layers.Flatten()(x) if flat else layers.GlobalAveragePooling2D()(x)

    network = made(build)
    try:
        scores = random_scores(network, seed)
    except ExportError:  # what stands side by side is summed with one layer
        kinds = [kind for kind, _ in body]
        hypothesis.assume("beside" not in kinds or not {"residual", "excite"} & set(kinds))
        raise
    check(network, PICTURES[:, :8, :8], scores, int(network.macs * share), multiple=1, least=1)


def reshaped(x: Any) -> Any:
    return layers.Reshape((64, 4), name="bad")(layers.Conv2D(16, 3, padding="same", strides=2)(x))


REFUSED = {
    "Reshape": reshaped,
    "Conv2D": lambda x: layers.Conv2D(8, 3, groups=2, name="bad")(block(x, 8, "a")),
    "LayerNormalization": lambda x: layers.LayerNormalization(name="bad")(block(x, 8, "a")),
    "Softmax": lambda x: layers.Softmax(name="bad")(block(x, 8, "a")),
    "Activation": lambda x: layers.Activation("softmax", name="bad")(block(x, 8, "a")),
    "DepthwiseConv2D": lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2, name="bad")(block(x, 8, "a")),
    "Concatenate": lambda x: layers.Concatenate(axis=1, name="bad")([block(x, 8, "a"), block(x, 8, "b")]),
    "BatchNormalization": lambda x: layers.BatchNormalization(axis=1, name="bad")(block(x, 8, "a")),
    "Rescaling": lambda x: layers.Rescaling([1.0, 2.0], name="bad")(block(x, 2, "a")),
    "Add": lambda x: layers.Add(name="bad")(
        [layers.Concatenate()([block(x, 8, "a"), block(x, 8, "b")]), block(x, 16, "c")]
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_followed_is_named(kind: str) -> None:
    network = made(lambda x: layers.Flatten()(REFUSED[kind](x)))
    for function in (groups, lambda n: narrow(n, {}, 10)):
        with pytest.raises(ExportError, match=rf"made: .* the layer 'bad' \({kind}\).*--prune magnitude") as error:
            function(network)
        assert "\n" not in str(error.value)


def test_what_cannot_be_followed_does_no_harm_at_the_picture_and_the_logits() -> None:
    picture = x = keras.Input((8, 8, 3), name="picture")
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0], name="normalise")(x)
    x = layers.Rescaling([1.0, 2.0, 3.0], name="scale")(layers.LayerNormalization(name="layer")(x))
    x = block(layers.DepthwiseConv2D(3, depth_multiplier=3, name="depth")(x), 16, "a")
    x = layers.Softmax(name="softmax")(layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x)))
    network = randomised(from_keras(keras.Model(picture, x, name="made")))
    assert [group.layers for group in groups(network)] == [("a_conv",)]
    scores = random_scores(network)
    pictures = PICTURES[:, :8, :24].reshape(3, 8, 8, 3)
    check(network, pictures, scores, network.macs * 2 // 3)


def test_a_network_of_logits_alone_has_nothing_to_remove() -> None:
    network = made(lambda x: layers.Flatten()(x))
    assert groups(network) == ()
    assert narrow(network, {}, network.macs).nodes == network.nodes
    with pytest.raises(ExportError, match="192 is the least"):
        narrow(network, {}, 191)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (None, "'s2_conv' has no importances; give 32 numbers"),
        (np.ones(31), r"'s2_conv' are of shape \[31\].*32 finite numbers"),
        (np.ones((32, 1)), r"of shape \[32, 1\]"),
        (np.r_[np.ones(31), -1e-9], "negative"),
        (np.r_[np.ones(31), np.nan], "not\\s+finite"),
    ],
)
def test_scores_that_are_wrong(edge: Network, score: np.ndarray | None, message: str) -> None:
    scores = random_scores(edge)
    scores.pop("s2_conv")
    with pytest.raises(ExportError, match=message):
        narrow(edge, scores if score is None else {**scores, "s2_conv": score}, edge.macs)


@pytest.mark.parametrize("options", [{"multiple": 0}, {"least": 0}, {"multiple": -8}])
def test_widths_that_make_no_sense(edge: Network, options: dict[str, int]) -> None:
    with pytest.raises(ExportError, match="give 1 or more"):
        narrow(edge, random_scores(edge), edge.macs, **options)
