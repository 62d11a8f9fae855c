"""Which layer lost it: networks made to fail in int8 at a known place, converted and run for real."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bundle import open_bundle, shipped
from edgefer.errors import ExportError
from edgefer.optimize.layers import LayerLoss, advice, layer_losses, worst
from edgefer.optimize.tflite_tensors import carried
from edgefer.train.network import Network, Node, from_keras, replace_node, to_keras

SHIPPED = ["s1_conv", "s2_conv", "s3_conv", "s3r1_conv", "s3r1_add", "s4_conv", "s4r1_conv", "s4r1_add", "s4r2_conv",
           "s4r2_add", "s5_conv", "s5r1_conv", "s5r1_add", "pool", "logits"]  # fmt: skip
"""What the shipped network computes one by one."""


class World(NamedTuple):
    keras: Any
    network: Network
    pictures: np.ndarray
    float_model: bytes
    int8_model: bytes


@pytest.fixture(scope="module")
def world() -> World:
    """The network that ships, with its TFLite models; pictures that it knows, and as many of each emotion."""
    for package in ("tensorflow", "keras"):
        pytest.importorskip(package, reason="needs edgefer[train]")
    from edgefer.train.backend import load_keras
    from edgefer.train.distill import load_net

    keras, bundle = load_keras(), open_bundle(shipped())
    images, _ = cartoon.dataset(6, seed=3)
    pictures = np.stack([bundle.preprocess(image) for image in images])
    models = [bundle.read(bundle.artifact("tflite", precision).file) for precision in ("fp32", "int8")]
    return World(keras, from_keras(load_net(keras, bundle)), pictures, *models)


def changed(network: Network, name: str, change: Callable[[list[np.ndarray]], None]) -> Network:
    weights = [w.copy() for w in network[name].weights]
    change(weights)
    return replace_node(network, name, weights=tuple(weights))


def scaled(network: Network, norms: list[str], readers: list[str], channels: slice, factor: float) -> Network:
    """Multiply channels of layers and divide the weights that read them: the same function."""
    for name in norms:

        def times(weights: list[np.ndarray]) -> None:
            weights[0][channels] *= factor
            weights[1][channels] *= factor

        network = changed(network, name, times)
    for name in readers:

        def divided(weights: list[np.ndarray]) -> None:
            weights[0][..., channels, :] /= factor

        network = changed(network, name, divided)
    return network


def shifted(network: Network, name: str, channels: slice, by: float) -> Network:
    def add(weights: list[np.ndarray]) -> None:
        weights[1][channels] += by

    return changed(network, name, add)


def converted(world: World, network: Network, calibration: np.ndarray | None = None) -> tuple[bytes, bytes]:
    from edgefer.optimize.exporters import tflite

    net = to_keras(world.keras, network)
    faces = world.pictures if calibration is None else calibration
    return tflite.floating(net, takes_pixels=False), tflite.quantised(net, faces, takes_pixels=True)


def answers(model: bytes, pictures: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for picture in pictures[:, None]:
        value = picture if taken["dtype"] == np.uint8 else picture.astype(np.float32) / np.float32(255)
        interpreter.set_tensor(taken["index"], value)
        interpreter.invoke()
        found.append(interpreter.get_tensor(given["index"])[0].argmax())
    return np.array(found)


@pytest.mark.slow
def test_an_honest_model_has_no_layer_to_blame(world: World) -> None:
    losses = layer_losses(world.float_model, world.int8_model, world.pictures, world.network)
    assert [loss.name for loss in losses] == SHIPPED
    assert losses[0].layers == ("s1_conv", "s1_relu")
    assert losses[4].layers == ("s3r1_add", "s3r1_relu")
    for loss in losses:
        assert loss.noise > 15
        assert loss.lost < 0.01
        assert loss.step > 0
        assert loss.range[0] < loss.range[1]
    assert (losses[4].weights, losses[-1].weights is None) == (None, False)
    assert advice(losses) == []


@pytest.mark.slow
def test_a_model_compared_with_itself_loses_nothing(world: World) -> None:
    losses = layer_losses(world.float_model, world.float_model, world.pictures[:4], world.network)
    assert [loss.name for loss in losses] == SHIPPED
    assert {(loss.noise, loss.own, loss.lost, loss.clipped, loss.step) for loss in losses} == {(100, 0, 0, 0, 0)}


CASES = {
    "first convolution of a stage": ("s2_conv", lambda n: scaled(n, ["s2_bn"], ["s3_conv"], slice(7, 8), 1e4)),
    "first layer": ("s1_conv", lambda n: scaled(n, ["s1_bn"], ["s2_conv"], slice(3, 4), 1e3)),
    "all of a residual stage": (
        "s4_conv",
        lambda n: scaled(n, ["s4_bn", "s4r1_bn", "s4r2_bn"], ["s4r1_conv", "s4r2_conv", "s5_conv"], slice(9, 10), 1e3),
    ),
    "kernel": ("s3_conv", lambda n: scaled(n, ["s2_bn"], ["s3_conv"], slice(15, 16), 1e-4)),
    "residual convolution": ("s3r1_conv", lambda n: shifted(n, "s3r1_bn", slice(9, 10), -1e4)),
    "logits": ("logits", lambda n: shifted(n, "logits", slice(None), 3e3)),
}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_the_layer_that_breaks_is_named_first(world: World, case: str) -> None:
    culprit, sabotage = CASES[case]
    network = sabotage(world.network)
    float_model, int8_model = converted(world, network)
    truth = answers(float_model, world.pictures)
    assert (truth == answers(world.float_model, world.pictures)).mean() > 0.9
    assert (truth == answers(int8_model, world.pictures)).mean() < 0.7
    losses = layer_losses(float_model, int8_model, world.pictures, network)
    first = worst(losses)[0]
    assert first.name == culprit
    assert first.lost > 0.5
    assert first.own > 10
    for loss in losses[: SHIPPED.index(culprit)]:
        assert loss.noise > 15
    lines = advice(losses)
    assert lines[0].startswith(f"{culprit} loses ")
    assert "".join(f" --keep-float {name}" for name in first.layers) in lines[0]
    assert all("\n" not in line for line in lines)
    # Extreme weights are named; those of the other two cases are not extreme, their bias is.
    assert ("weights" in lines[0]) == (culprit not in ("s3r1_conv", "logits"))
    if case == "all of a residual stage":
        assert [loss.name for loss in worst(losses)] == ["s4_conv", "s4r1_conv", "s4r1_add"]
        assert lines[3] == "so do: s4r2_conv, s4r2_add"
    else:
        assert len(lines) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_channels_that_nobody_reads_are_not_missed(world: World) -> None:
    def faint(weights: list[np.ndarray]) -> None:
        for weight in weights[:2]:
            weight[:16] *= 1e-4  # below one step of the layer

    def deaf(weights: list[np.ndarray]) -> None:
        weights[0][:, :, :16] *= 1e-4

    network = changed(changed(world.network, "s2_bn", faint), "s3_conv", deaf)
    losses = layer_losses(*converted(world, network), world.pictures, network)
    assert losses[1].noise > 15
    assert advice(losses) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranges_of_other_pictures_cut_values_off(world: World) -> None:
    float_model, int8_model = converted(world, world.network, calibration=world.pictures // 8)
    losses = layer_losses(float_model, int8_model, world.pictures, world.network)
    assert max(loss.clipped for loss in losses) > 0.01
    lines = advice(losses)
    assert any("of its values are cut off: calibrate on more faces" in line for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_folded_network_and_either_kind_of_input_say_the_same(world: World) -> None:
    from edgefer.optimize.exporters import tflite
    from edgefer.optimize.fold import fold

    net = to_keras(world.keras, fold(world.network))
    found = []
    for pixels in (False, True):
        models = (tflite.floating(net, pixels), tflite.quantised(net, world.pictures, pixels))
        found.append(layer_losses(*models, world.pictures, fold(world.network)))
        # The float model of the network as trained, with the int8 one of the folded network.
        found.append(layer_losses(world.float_model, models[1], world.pictures, world.network))
    for losses in found:
        assert [loss.name for loss in losses] == SHIPPED
        for loss, other in zip(losses, found[0], strict=True):
            assert loss.noise == pytest.approx(other.noise, abs=0.3)


@pytest.mark.slow
def test_refusals(world: World) -> None:
    with pytest.raises(ExportError, match="two pictures or more, found 1"):
        layer_losses(world.float_model, world.int8_model, world.pictures[:1], world.network)
    with pytest.raises(ExportError, match=r"the float model takes pictures \(48, 48, 1\), found \(40, 48, 1\)"):
        layer_losses(world.float_model, world.int8_model, world.pictures[:, :40], world.network)
    with pytest.raises(ExportError, match="the int8 model cannot be opened"):
        layer_losses(world.float_model, b"no model", world.pictures, world.network)
    other = Network(
        "other", (world.network.nodes[0], replace(world.network.nodes[-1], name="another", inputs=("picture",)))
    )
    with pytest.raises(ExportError, match="no layer of other was found"):
        layer_losses(world.float_model, world.int8_model, world.pictures, other)


def plain(*names: str) -> Network:
    return Network("net", tuple(Node(name, "ReLU", {}, (), (1,)) for name in names))


@pytest.mark.parametrize(
    ("names", "tensors", "expected"),
    [
        # Keras 3 puts one more number behind everything, also behind a number.
        (
            ("conv2d", "conv2d_1", "re_lu"),
            ("net_1/conv2d_1/convolution", "net_1/re_lu_1/Relu;net_1/conv2d_1_1/add_1;net_1/conv2d_1_1/convolution1"),
            {0: ("conv2d",), 1: ("conv2d_1", "re_lu")},
        ),
        (
            ("conv2d", "conv2d_1"),
            ("net/conv2d/BiasAdd", "net/conv2d_1/BiasAdd"),
            {0: ("conv2d",), 1: ("conv2d_1",)},
        ),
        # Quantization-aware training, some layers kept float.
        (
            ("conv", "bn", "relu", "out"),
            ("net/quant_relu/Relu;net/quant_bn/FusedBatchNormV3;net/quant_conv/Conv2D1", "net/out/MatMul"),
            {0: ("conv", "bn", "relu"), 1: ("out",)},
        ),
        # Operations and networks that are called as a layer is.
        (("r", "add", "add_1"),
         ("net/quant_r/add", "net/add_1/add", "net/add/add"), {0: ("r",), 1: ("add_1",), 2: ("add",)}),
        (("conv", "net"), ("net/conv/Conv2D", "net/net/MatMul"), {0: ("conv",), 1: ("net",)}),
        # No part of a name is the name.
        (("conv", "s1"), ("net/s1_conv/Conv2D", "Identity", "net/preconv/convolution"), {}),
    ],
)  # fmt: skip
def test_tensors_are_found_by_their_layers(
    names: tuple[str, ...], tensors: tuple[str, ...], expected: dict[int, tuple[str, ...]]
) -> None:
    assert carried(dict(enumerate(tensors)), plain(*names)) == expected


def loss(name: str, lost: float, **changes: Any) -> LayerLoss:
    return replace(LayerLoss(name, (name,), 20.0, 1.0, lost, 0.0, (0.0, 1.0), 0.004, (), 1.5), **changes)


def test_worst_takes_the_first_of_equals() -> None:
    losses = [loss("a", 0.001), loss("b", 0.997), loss("c", 1.0), loss("d", 0.4)]
    assert [found.name for found in worst(losses)] == ["b", "c", "d"]
    assert [found.name for found in worst(losses, 9)] == ["b", "c", "d", "a"]


def test_advice_says_what_to_do() -> None:
    losses = [
        loss("fine", 0.02),
        loss("cut", 0.5, clipped=0.02),
        loss("wide", 0.9, weights=1234.5, step=0.0, readers=("next",)),
    ]
    wide, cut = advice(losses)
    assert wide == (
        "wide loses 90% of its signal: one channel's weights are 1,234 times the median's: look at how it was trained;"
        " keep it float with --keep-float wide --keep-float next, or train with --qat"
    )
    assert cut == (
        "cut loses 50% of its signal (values 0 to 1, steps of 0.004): 2.0% of its values are cut off: calibrate on more"
        " faces or by another method; keep it float with --keep-float cut, or train with --qat"
    )
