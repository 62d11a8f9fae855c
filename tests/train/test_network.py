"""A network as plain data: the same there and back, with either Keras, and nothing in a file that does harm."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow", reason="needs edgefer[train]")

from edgefer.errors import TrainError
from edgefer.train import architectures, network, network_file
from edgefer.train.backend import load_keras
from edgefer.train.macs import count_macs
from edgefer.train.network import Network, Node, from_keras, to_keras
from edgefer.train.network_file import as_json, from_json

keras = load_keras()
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3 on numpy 2
LARGE = ("cnn-6", "cnn-1024", "deep-cnn", "resnet50", "vgg19-transfer", "vgg19-full", "efficientnet-b2")
# mlp-relu ends in an operation that is no layer; efficientnetv2-l has the layers of efficientnet-b2 and 15 times the
# weights.
NAMES = [
    n for n, f in architectures.facts().items() if f.trainer == "keras" and n not in ("mlp-relu", "efficientnetv2-l")
]
PICTURES = np.random.default_rng(0).random((2, 48, 48, 1), np.float32)


def logits(model: Any, pictures: np.ndarray = PICTURES) -> np.ndarray:
    return np.asarray(model(pictures, training=False))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def made(body: Callable[[Any], Any], shape: tuple[int | None, ...] = (8, 8, 2)) -> Any:
    """Return the model of a function of the picture, with biases and statistics that are not zero."""
    picture = keras.Input(shape, name="picture")
    model = keras.Model(picture, body(picture), name="made")
    rng = np.random.default_rng(1)
    model.set_weights([np.asarray(w) + rng.uniform(0.1, 0.3, w.shape).astype(np.float32) for w in model.get_weights()])
    for layer in model.layers:
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()  # it computes with copies of its weights
    return model


@pytest.fixture(scope="module", params=[pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in NAMES])
def net(request: pytest.FixtureRequest) -> Any:
    return architectures.build(keras, request.param, 7)


@pytest.mark.parametrize("built_with", ["keras", "tf_keras"])
def test_every_architecture_comes_back_the_same(net: Any, built_with: str) -> None:
    module = pytest.importorskip(built_with, reason="needs edgefer[optimize]")
    found = to_keras(module, from_keras(net))
    assert found.name == net.name
    assert [w.shape for w in found.get_weights()] == [w.shape for w in net.get_weights()]
    close(logits(found), logits(net))


def test_every_architecture_as_json(net: Any) -> None:
    plain = from_keras(net)
    found = from_json(as_json(plain), "here")
    assert (found.name, len(found.nodes)) == (plain.name, len(plain.nodes))
    for a, b in zip(found.nodes, plain.nodes, strict=True):
        assert a == replace(b, weights=())


def test_counts_are_those_of_the_model(net: Any) -> None:
    plain = from_keras(net)
    assert plain.parameters == net.count_params()
    assert plain.macs == count_macs(net) == architectures.facts()[net.name].macs
    assert (plain.nodes[0].kind, plain.nodes[0].shape) == ("InputLayer", (48, 48, 1))
    assert plain.nodes[-1].shape == (7,)


def everything(x: Any) -> Any:
    """Return logits through every kind of layer."""
    x = layers.Normalization(mean=[0.4, 0.5], variance=[1.0, 2.0], name="fixed")(layers.Rescaling(2.0, offset=-1.0)(x))
    x = layers.Normalization(name="adapted")(layers.Resizing(9, 10)(x))
    a = layers.LeakyReLU(negative_slope=0.2)(layers.Conv2D(6, (3, 2), strides=2, padding="same", use_bias=False)(x))
    b = layers.PReLU(shared_axes=[1, 2])(layers.SeparableConv2D(6, 3, 2, padding="same", depth_multiplier=2)(x))
    c = layers.ELU(alpha=0.5)(layers.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=3)(x))
    d = layers.ReLU(max_value=6.0, negative_slope=0.1, threshold=0.2)(layers.Add()([a, b]))
    e = layers.Multiply()([d, layers.Activation("sigmoid")(layers.BatchNormalization(momentum=0.9, epsilon=0.01)(c))])
    f = layers.Subtract()([e, layers.Average()([a, b, c])])
    f = layers.Maximum()([f, layers.Conv2D(6, 3, dilation_rate=2, groups=2, padding="same", activation="swish")(f)])
    f = layers.Concatenate()([layers.GaussianNoise(0.1)(f), layers.LayerNormalization(epsilon=0.01)(d)])
    f = layers.SpatialDropout2D(0.1)(layers.ZeroPadding2D(((0, 1), (1, 2)))(f))
    f = layers.UpSampling2D(2, interpolation="bilinear")(layers.MaxPooling2D(2)(f))
    g = layers.Reshape((1, 12))(layers.GlobalMaxPooling2D()(f))
    h = layers.Flatten()(layers.AveragePooling2D(3, strides=1, padding="same")(f))
    i = layers.Flatten()(layers.Multiply()([layers.GlobalAveragePooling2D(keepdims=True)(f), g]))
    return layers.Softmax()(layers.Dense(3, name="logits")(layers.Dropout(0.1)(layers.Concatenate()([h, i]))))


@pytest.mark.parametrize("built_with", ["keras", "tf_keras"])
def test_every_kind_of_layer_comes_back_the_same(built_with: str) -> None:
    module = pytest.importorskip(built_with, reason="needs edgefer[optimize]")
    model = made(everything)
    plain = from_keras(model)
    assert {node.kind for node in plain.nodes} == set(network.SETTINGS)
    again = from_json(as_json(plain), "here")
    nodes = (replace(n, weights=w.weights) for n, w in zip(again.nodes, plain.nodes, strict=True))
    pictures = PICTURES[:, :8, :16].reshape(2, 8, 8, 2)
    close(logits(to_keras(module, replace(again, nodes=tuple(nodes))), pictures), logits(model, pictures))
    assert plain.macs == count_macs(model)


def activation(name: str) -> Network:
    nodes = (
        Node("x", "InputLayer", {"shape": [81]}, (), (81,)),
        Node("y", "Activation", {"activation": name}, ("x",), (81,)),
    )
    return Network("activation", nodes)


@pytest.mark.parametrize("name", network.ACTIVATIONS)
def test_activations_are_the_same_with_the_old_keras_or_refused(name: str) -> None:
    old = pytest.importorskip("tf_keras", reason="needs edgefer[optimize]")
    x = np.linspace(-8, 8, 81, dtype=np.float32)[None]
    expected = logits(to_keras(keras, activation(name)), x)
    if name in network.NEW_ACTIVATIONS:
        with pytest.raises(TrainError, match=rf"layer 'y' \(Activation\).*tf_keras computes {name} in another way"):
            to_keras(old, activation(name))
    else:
        np.testing.assert_allclose(logits(to_keras(old, activation(name)), x), expected, atol=1e-6)


def twice(x: Any) -> Any:
    layer = layers.Dense(2, name="bad")
    return layer(layer(x))


REFUSED = {
    "bad' is used 2 times": twice,
    "bad' is a Lambda.*holds code": lambda x: layers.Lambda(lambda y: y * 2, name="bad")(x),
    "is a Log, which cannot be taken apart; known are": lambda x: keras.ops.log(x),
    "'bad' is a GroupNormalization.*: use BatchNormalization": lambda x: layers.GroupNormalization(1, name="bad")(x),
    "'bad' is a MultiHeadAttention.*leave it out": lambda x: layers.MultiHeadAttention(1, 2, name="bad")(x, x),
    "'bad' is a RandomFlip.*: leave it out; training augments": lambda x: layers.RandomFlip(name="bad")(x),
    "'bad' is a Sequential.*use its layers directly": lambda x: keras.Sequential(
        [layers.Conv2D(x.shape[-1], 3, padding="same")], name="bad"
    )(x),
    "bad' is a Permute": lambda x: layers.Permute((2, 1, 3), name="bad")(x),
    "bad' is a Functional": lambda x: keras.Sequential([layers.Dense(2)], name="bad")(x),
    "bad' has the activation 'softplus'; known are": lambda x: layers.Dense(2, activation="softplus", name="bad")(x),
    "bad' has channels first": lambda x: layers.AveragePooling2D(2, data_format="channels_first", name="bad")(x),
    "bad' has antialias on": lambda x: layers.Resizing(4, 4, antialias=True, name="bad")(x),
    "bad' has crop_to_aspect_ratio on": lambda x: layers.Resizing(4, 4, crop_to_aspect_ratio=True, name="bad")(x),
    "bad' has invert on": lambda x: layers.Normalization(mean=0.0, variance=1.0, invert=True, axis=None, name="bad")(x),
    "bad' has renorm on": lambda x: layers.BatchNormalization(renorm=True, name="bad")(x),
    "has 1 inputs and 2 outputs": lambda x: [layers.Dense(2)(x), layers.Dense(3)(x)],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_taken_apart_is_named(message: str) -> None:
    # The error of a model within has its class, which is Sequential.
    with pytest.raises(TrainError, match=message.replace("Functional", "(Functional|Sequential)")) as error:
        from_keras(made(REFUSED[message]))
    assert "made" in str(error.value)
    assert "\n" not in str(error.value)


def test_mlp_relu_ends_in_an_operation_that_is_named() -> None:
    with pytest.raises(TrainError, match=r"mlp-relu: the layer '.*' is a "):
        from_keras(architectures.build(keras, "mlp-relu", 7))


def test_an_open_size_is_named() -> None:
    with pytest.raises(TrainError, match="the layer 'picture' gives is open"):
        from_keras(made(lambda x: layers.GlobalAveragePooling2D()(x), (None, None, 2)))


def test_a_model_that_another_one_contains_can_still_be_taken_apart() -> None:
    net = architectures.build(keras, "edge-xs", 7)
    picture = keras.Input((48, 48, 1))
    keras.Model(picture, net(layers.Rescaling(1 / 255)(picture)))
    close(logits(to_keras(keras, from_keras(net))), logits(net))


def test_a_layer_that_is_not_what_the_network_says() -> None:
    plain = from_keras(made(lambda x: layers.Dense(3, name="logits")(layers.Flatten(name="flat")(x))))
    for changes, message in (
        ({"shape": (4,)}, r"it gives \[3\], not \[4\]"),
        ({"settings": {**plain["logits"].settings, "units": -1}}, "units"),
        ({"weights": plain["logits"].weights[:1]}, "weight"),
        ({"inputs": ("flat", "flat")}, ""),
    ):
        wrong = network.replace_node(plain, "logits", **changes)
        with pytest.raises(
            TrainError, match=rf"made: the layer 'logits' \(Dense\) cannot be built: .*{message}"
        ) as error:
            to_keras(keras, wrong)
        assert "\n" not in str(error.value)


def test_saved_and_loaded(tmp_path: Path) -> None:
    plain = from_keras(made(everything))
    network_file.save(tmp_path / "net.npz", plain)
    found = network_file.load(tmp_path / "net.npz")
    assert found.name == plain.name
    for a, b in zip(found.nodes, plain.nodes, strict=True):
        assert replace(a, weights=()) == replace(b, weights=())
        for v, w in zip(a.weights, b.weights, strict=True):
            np.testing.assert_array_equal(v, w)


@pytest.mark.parametrize("content", ["nothing", "text", "short", "pickle", "one array", "no layers", "other names"])
def test_a_file_that_is_no_network(content: str, tmp_path: Path) -> None:
    path, layer = tmp_path / "net.npz", np.frombuffer(VALID, np.uint8)
    if content == "text":
        path.write_text("no network")
    elif content == "short":
        np.savez(path, layers=layer)
        path.write_bytes(path.read_bytes()[:300])
    elif content == "pickle":
        np.savez(path, layers=np.array([{"a": 1}], object))
    elif content == "one array":
        with path.open("wb") as file:
            np.save(file, layer)
    elif content == "no layers":
        np.savez(path, **{"0000/0": layer})
    elif content == "other names":
        np.savez(path, layers=layer, weights=layer)
    with pytest.raises(TrainError, match=r"net\.npz is not a"):
        network_file.load(path)


def entry(name: str, kind: str, settings: Any, inputs: Any, shape: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "settings": settings, "inputs": inputs, "shape": shape}


PICTURE = entry("picture", "InputLayer", {"shape": [8, 8, 2]}, [], [8, 8, 2])
CONV = entry(
    "conv",
    "Conv2D",
    {"filters": 4, "kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "activation": "relu"},
    ["picture"],
    [8, 8, 4],
)
ADD = entry("add", "Add", {}, ["conv", "conv"], [8, 8, 4])
POOL = entry("pool", "GlobalAveragePooling2D", {"keepdims": False}, ["add"], [4])
DENSE = entry("dense", "Dense", {"units": 3, "activation": "linear", "use_bias": True}, ["pool"], [3])
TREE = {"name": "net", "layers": [PICTURE, CONV, ADD, POOL, DENSE]}
VALID = json.dumps(TREE).encode()


def changed(at: int, **changes: Any) -> bytes:
    """Return VALID with entries of one layer replaced."""
    tree = copy.deepcopy(TREE)
    tree["layers"][at] |= changes  # type: ignore[index]
    return json.dumps(tree).encode()


def with_setting(at: int, key: str, value: Any) -> bytes:
    return changed(at, settings={**TREE["layers"][at]["settings"], key: value})  # type: ignore[index]


def test_a_small_file_is_read() -> None:
    found = from_json(VALID, "here")
    assert [node.name for node in found.nodes] == ["picture", "conv", "add", "pool", "dense"]
    assert to_keras(keras, found).output_shape == (None, 3)


WRONG = {
    "nothing": (b"", ""),
    "no JSON": (b"layers", ""),
    "no text": (b"\xff\xfe\x00", ""),
    "cut short": (VALID[:-9], ""),
    "a list": (b"[]", ""),
    "a number": (b"7", ""),
    "no layers": (b'{"name": "net"}', "layers"),
    "layers that are text": (b'{"name": "net", "layers": "ab"}', "2 to 5000 layers"),
    "one layer": (json.dumps({"name": "net", "layers": [PICTURE]}).encode(), "2 to 5000 layers"),
    "too many layers": (json.dumps({"name": "net", "layers": [0] * 5001}).encode(), "2 to 5000 layers"),
    "a layer that is no table": (json.dumps({"name": "net", "layers": [PICTURE, 1]}).encode(), ""),
    "no name": (json.dumps({"layers": [PICTURE, CONV]}).encode(), "name"),
    "a name that is a path": (json.dumps({**TREE, "name": "../../net"}).encode(), "no name"),
    "two pictures": (json.dumps({**TREE, "layers": [PICTURE, {**PICTURE, "name": "b"}]}).encode(), "exactly one"),
    "no picture": (changed(0, kind="Flatten", settings={}), "inputs do not come before"),
    "a layer's name with a line": (changed(1, name="a\nb"), "no name"),
    "a layer's name that is a number": (changed(1, name=7), "no name"),
    "a long name": (changed(1, name="a" * 201), "no name"),
    "an unknown kind": (changed(1, kind="TFSMLayer"), "'conv': the kind 'TFSMLayer' is not known"),
    "code": (changed(1, kind="Lambda"), "'conv': the kind 'Lambda' is not known"),
    "a kind that is a list": (changed(1, kind=["Conv2D"]), ""),
    "an unknown setting": (with_setting(1, "kernel_initializer", "ones"), "'kernel_initializer' is not known"),
    "a function": (with_setting(1, "function", "os.system"), "'function' is not known"),
    "an unknown activation": (with_setting(1, "activation", "os.system"), "activation = 'os.system' is not allowed"),
    "an activation that is a table": (with_setting(1, "activation", {"class_name": "X"}), "is not allowed"),
    "a setting that is a table": (with_setting(1, "padding", {"module": "os"}), "is not allowed"),
    "settings that are text": (changed(1, settings="ab"), ""),
    "settings that are missing": (changed(1, settings={}), "kernel_size"),
    "a long text": (with_setting(1, "padding", "a" * 41), "is not allowed"),
    "a huge number": (with_setting(1, "filters", 10**9), "is not allowed"),
    "a number beyond all": (with_setting(1, "filters", 10**400), "is not allowed"),
    "more digits than Python reads": (VALID.replace(b"4", b"4" * 9999), ""),
    "no number": (with_setting(1, "filters", float("nan")), "is not allowed"),
    "infinity": (with_setting(1, "filters", float("inf")), "is not allowed"),
    "a long list": (with_setting(1, "kernel_size", [1] * 4097), "is not allowed"),
    "a number that is text": (with_setting(1, "filters", "4"), ""),
    "a kernel that fills the memory": (with_setting(1, "kernel_size", [99999, 99999]), "more than 250,000,000 weights"),
    "a dense layer that fills it": (with_setting(4, "units", 9e7), "is not allowed"),
    "a dense layer that fills it too": (with_setting(4, "units", -999_999_999), "is not allowed"),
    "a list in a list": (with_setting(1, "strides", json.loads("[" * 600 + "]" * 600)), ""),
    "a cycle": (changed(1, inputs=["add"]), "'conv': its inputs do not come before it"),
    "itself": (changed(1, inputs=["conv"]), "inputs do not come before"),
    "an unknown input": (changed(1, inputs=["nobody"]), "inputs do not come before"),
    "no inputs": (changed(1, inputs=[]), "inputs do not come before"),
    "inputs of the picture": (changed(0, inputs=["picture"]), "inputs do not come before"),
    "inputs that are text": (changed(1, inputs="picture"), "inputs do not come before"),
    "inputs that are lists": (changed(1, inputs=[["picture"]]), ""),
    "inputs without end": (changed(1, inputs=["picture"] * 5001), "inputs do not come before"),
    "a name twice": (changed(2, name="conv"), "two layers are called 'conv'"),
    "no shape": (changed(1, shape=[]), "its shape is"),
    "a shape that is open": (changed(1, shape=[None, 8, 4]), "its shape is"),
    "a shape of nothing": (changed(1, shape=[0, 8, 4]), "its shape is"),
    "a shape of truths": (changed(1, shape=[True, 8, 4]), "its shape is"),
    "a shape of fractions": (changed(1, shape=[8.0, 8, 4]), "its shape is"),
    "a long shape": (changed(1, shape=[1] * 5), "its shape is"),
    "a large shape": (changed(1, shape=[8, 8, 100_000]), "its shape is"),
    "a shape that fills the memory": (changed(1, shape=[9999, 9999, 4]), "its shape is"),
    "a shape that is a number": (changed(1, shape=4), ""),
    "lists without end": (b"[" * 200_000, ""),
    "tables without end": (b'{"layers":' * 100_000, ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused(name: str) -> None:
    data, message = WRONG[name]
    with pytest.raises(TrainError, match=rf"^net\.json is not a network that this version reads: .*{message}") as error:
        from_json(data, "net.json")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 10)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["picture", "conv", "add", *network.SETTINGS, *network.ACTIVATIONS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in the tree."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at] * bool(at) + [way for key, value in inner for way in places(value, (*at, key))]


PLACES = places(TREE)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return TREE with one to three values replaced by anything."""
    tree = copy.deepcopy(TREE)
    for way in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        at: Any = tree
        try:
            for key in way[:-1]:
                at = at[key]
            at[way[-1]] = draw(ANYTHING)
        except (KeyError, IndexError, TypeError):  # replaced before
            continue
    return json.dumps(tree).encode()


def read(data: bytes) -> Network | None:
    with contextlib.suppress(TrainError):
        return from_json(data, "net.json")
    return None


@settings(max_examples=300)
@given(st.binary(max_size=200) | ANYTHING.map(lambda tree: json.dumps(tree).encode()) | damaged())
def test_any_file_is_a_network_or_a_train_error(data: bytes) -> None:
    found = read(data)
    if not found:
        return
    seen = set[str]()
    for node in found.nodes:
        assert node.kind in network.SETTINGS
        assert set(node.settings) <= set(network.SETTINGS[node.kind])
        assert node.settings.get("activation", "linear") in network.ACTIVATIONS
        assert seen.issuperset(node.inputs)
        assert node.name not in seen
        seen.add(node.name)
    assert from_json(as_json(found), "again") == found


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(damaged())
def test_any_network_from_a_file_is_built_or_a_train_error(data: bytes) -> None:
    found = read(data)
    if not found:
        return
    with contextlib.suppress(TrainError):
        assert to_keras(keras, found).count_params() <= network_file.MAX_PARAMETERS
