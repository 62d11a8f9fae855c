"""The detectors' networks: what is said of them is so, and every part of edgefer can take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="needs edgefer[train]")

from edgefer.errors import TrainError
from edgefer.grid import CHANNELS, STRIDE
from edgefer.train import network as networks
from edgefer.train.backend import load_keras
from edgefer.train.detect import network
from edgefer.train.macs import count_macs

keras = load_keras()
SIZES = [(120, 160), (240, 320), (480, 640), (128, 160), (288, 352), (32, 32), (40, 104)]
REACH = 150
"""Pixels, rounded up: what is further than this from a cell's middle has no part in what the cell says."""


def build(name: str, height: int, width: int, of: Any = None) -> Any:
    return network.build(keras, name, height, width, of)


def shaken(model: Any, seed: int = 0) -> Any:
    """Return the model with weights and statistics of which none is what it starts with."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [np.asarray(w) + rng.uniform(0.02, 0.15, w.shape).astype(np.float32) for w in model.get_weights()]
    )
    return model


def pictures(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).random((2, height, width, 1), np.float32)


def answers(model: Any, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(model(inputs, training=False))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert expected.std(axis=(0, 1, 2)).min() > 0, "each channel says something of the picture"
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", network.VARIANTS)
def test_parameters_and_macs_are_those_of_the_facts(name: str) -> None:
    net, facts = build(name, 240, 320), network.VARIANTS[name]
    assert (net.name, net.count_params(), count_macs(net)) == (name, facts.parameters, facts.macs)
    assert tuple(net.get_layer(f"s{i}_conv").filters for i in range(1, 6)) == facts.channels
    assert net.get_layer("head_conv").filters == facts.head


@pytest.mark.parametrize("name", network.VARIANTS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_grid_covers_the_picture(name: str, height: int, width: int) -> None:
    net = build(name, height, width)
    rows, columns = (-(-side // 32) * 4 for side in (height, width))  # whole cells of stride 32
    assert (net.input.shape, net.input.dtype) == ((None, height, width, 1), "float32")
    assert (net.output.shape, net.output.dtype) == ((None, rows, columns, CHANNELS), "float32")
    assert rows * STRIDE >= height
    assert columns * STRIDE >= width


def test_an_untrained_network_expects_no_face_and_middling_ones() -> None:
    said = answers(build("det-xs", 96, 128), pictures(96, 128))
    score = 1 / (1 + np.exp(-said[..., 0]))
    assert 0.002 < score.mean() < 0.05
    assert score.max() < 0.2
    assert 20 < (STRIDE * 2 ** said[..., 3:5]).mean() < 50


@pytest.mark.parametrize("name", network.VARIANTS)
def test_a_network_of_another_size_shares_the_weights(name: str) -> None:
    small = build(name, 64, 96)
    large = build(name, 120, 160, of=small)
    assert len(large.weights) == len(small.weights)
    assert {id(w) for w in large.weights} == {id(w) for w in small.weights}
    before = answers(large, pictures(120, 160))
    shaken(small)
    after = answers(large, pictures(120, 160))
    assert np.abs(after - before).max() > 0.1
    alone = build(name, 120, 160)
    alone.set_weights(small.get_weights())
    close(answers(alone, pictures(120, 160)), after)


def test_the_size_does_not_change_what_is_said_of_the_same_pixels() -> None:
    """Far enough from the edges that only one of the two has, both networks say the same."""
    small, large = shaken(build("det-xs", 240, 320)), build("det-xs", 288, 352)
    large.set_weights(small.get_weights())
    scene = pictures(288, 352)
    rows, columns = ((side - REACH) // STRIDE for side in (240, 320))
    assert min(rows, columns) > 8
    expected = answers(large, scene)[:, :rows, :columns]
    close(answers(small, scene[:, :240, :320])[:, :rows, :columns], expected)


@pytest.mark.parametrize("built_with", ["keras", "tf_keras"])
@pytest.mark.parametrize("name", network.VARIANTS)
def test_it_comes_back_the_same_from_plain_data(name: str, built_with: str) -> None:
    module = pytest.importorskip(built_with, reason="needs edgefer[optimize]")
    net = shaken(build(name, 104, 128))  # with a row of padding
    plain = networks.from_keras(net)
    assert {node.kind for node in plain.nodes} <= set(networks.SETTINGS)
    assert (plain.parameters, plain.macs) == (net.count_params(), count_macs(net))
    close(answers(networks.to_keras(module, plain), pictures(104, 128)), answers(net, pictures(104, 128)))


@pytest.mark.parametrize("name", network.VARIANTS)
def test_the_old_keras_builds_the_same_network(name: str) -> None:
    tf_keras = pytest.importorskip("tf_keras", reason="needs edgefer[optimize]")
    net, old = shaken(build(name, 104, 128)), network.build(tf_keras, name, 104, 128)
    assert [layer.name for layer in old.layers if layer.weights] == [
        layer.name for layer in net.layers if layer.weights
    ]
    old.set_weights(net.get_weights())
    close(answers(old, pictures(104, 128)), answers(net, pictures(104, 128)))
    shared = network.build(tf_keras, name, 64, 96, of=old)
    close(answers(shared, pictures(64, 96)), answers(build(name, 64, 96, of=net), pictures(64, 96)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("det-xl", 240, 320), "no detector called 'det-xl'; choose one of: det-xs, det-s"),
        (("edge-s", 240, 320), "no detector called 'edge-s'"),
        (("det-s", 100, 320), "multiples of 8, from 32, found 320×100"),
        (("det-s", 240, 324), "found 324×240"),
        (("det-s", 24, 320), "found 320×24"),
        (("det-s", 0, -8), "found -8×0"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments: tuple[str, int, int], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        build(*arguments)
