"""Fine-tuning for real, in its own process: every stage on a small network and drawn faces."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.errors import ExportError
from edgefer.optimize import fakequant, tune
from edgefer.optimize.fold import fold
from edgefer.optimize.tune import DEFAULTS, Faces, Tuned, Tuning
from edgefer.optimize.tune_stages import KERNELS, LEAST_WEIGHTS
from edgefer.train import network as networks
from edgefer.train.network import Network, Node
from edgefer.train.recipe import Augmentation

for package in ("tensorflow", "tensorflow_model_optimization", "tf_keras"):
    pytest.importorskip(package, reason="needs edgefer[optimize]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class World(NamedTuple):
    network: Network
    accuracy: float
    faces: Faces


@pytest.fixture(scope="module")
def world() -> World:
    """edge-xs0 as it was trained for a moment."""
    import keras

    from edgefer.train import architectures

    images, labels = cartoon.dataset(100, seed=1)
    validation, truth = cartoon.dataset(40, seed=2)
    keras.utils.set_random_seed(0)
    net = architectures.build(keras, "edge-xs0", 7)
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8
    net.fit(images[..., None].astype(np.float32) / 255, labels, batch_size=64, epochs=20, verbose=0)
    said = net.predict(validation[..., None].astype(np.float32) / 255, verbose=0).argmax(axis=1)
    targets = np.eye(7, dtype=np.float32)[labels] * 0.9 + 0.1 / 7
    faces = Faces(images[..., None], targets, images[:128, ..., None], validation[..., None], truth)
    return World(networks.from_keras(net), float((said == truth).mean()), faces)


def run(world: World, tuning: Tuning, folder: Path, start: Network | None = None, **options: Any) -> Tuned:
    plain = Augmentation(rotation=5, scale=0.05, shift=0.02, shear=0.0, erase=0.0)
    return tune.tune(tuning, start or world.network, world.network, world.faces, plain, folder, **options)


def kernels(network: Network) -> dict[str, Any]:
    """The kernels that are pruned and clustered."""
    found = {n.name: n.weights[0] for n in network.nodes[:-1] if n.kind in KERNELS}
    return {name: kernel for name, kernel in found.items() if kernel.size >= LEAST_WEIGHTS}


def int8_file(tuned: Tuned) -> tuple[Any, bytes]:
    """The network that rounds, and the TFLite file made of it."""
    import tf_keras

    model = fakequant.fake_quantised(tf_keras, tuned.network, tuned.ranges)
    return model, fakequant.to_tflite(model, takes_pixels=True)


def steps_apart(tuned: Tuned, faces: Faces) -> tuple[float, float]:
    """(share of the same labels, mean difference of probabilities) of the rounding network and its int8 file."""
    from edgefer.optimize.stored import probabilities
    from edgefer.runtime.engines.litert import Engine

    model, file = int8_file(tuned)
    engine = Engine([file], threads=1)
    found, wanted = engine.run(faces.validation), probabilities(model, faces.validation)
    engine.close()
    return float((found.argmax(1) == wanted.argmax(1)).mean()), float(np.abs(found - wanted).mean())


def test_the_network_can_tell_cartoons_apart(world: World) -> None:
    assert world.accuracy > 0.8


def test_narrowed_networks_are_smaller_and_recover(world: World, tmp_path: Path) -> None:
    said: list[Mapping[str, Any]] = []
    wanted = dataclasses.replace(DEFAULTS["narrow"], amount=0.4, epochs=6)
    tuned = run(world, wanted, tmp_path, listener=said.append)
    assert tuned.network.macs <= 0.6 * world.network.macs
    assert tuned.network.parameters < 0.8 * world.network.parameters
    assert [r.epoch for r in tuned.history] == [1, 2, 3, 4, 5, 6]
    assert max(r.validation_accuracy for r in tuned.history) > world.accuracy - 0.1
    assert any("MACs" in message.get("say", "") for message in said)
    assert sum("step" in message for message in said) >= 6
    # What is said is what the network that is given gives.
    import keras

    net = networks.to_keras(keras, tuned.network)
    found = net.predict(world.faces.validation.astype(np.float32) / 255, verbose=0).argmax(axis=1)
    assert (found == world.faces.labels).mean() == pytest.approx(max(r.validation_accuracy for r in tuned.history))


def test_pruned_and_clustered_weights_stay_so_through_qat(world: World, tmp_path: Path) -> None:
    quick = {"learning_rate": 2e-3, "batch": 32}
    pruned = run(world, dataclasses.replace(DEFAULTS["prune"], amount=0.5, epochs=6, **quick), tmp_path / "prune")
    for name, kernel in kernels(pruned.network).items():
        assert (kernel == 0).mean() == pytest.approx(0.5, abs=0.02), name
    clustered = run(
        world, dataclasses.replace(DEFAULTS["cluster"], epochs=2, **quick), tmp_path / "cluster", pruned.network
    )
    for name, kernel in kernels(clustered.network).items():
        assert len(np.unique(kernel)) <= 16, name
        assert (kernel == 0).mean() >= 0.48, name
    trained = run(world, dataclasses.replace(DEFAULTS["qat"], epochs=2, **quick), tmp_path / "qat", clustered.network)
    for name, kernel in kernels(trained.network).items():
        assert len(np.unique(kernel)) <= 16, name
        assert (kernel == 0).mean() >= 0.48, name
    reached = [max(r.validation_accuracy for r in t.history[t.first_usable :]) for t in (pruned, clustered, trained)]
    assert min(reached) > world.accuracy - 0.15, reached


@pytest.fixture(scope="module")
def qat(world: World, tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return run(world, dataclasses.replace(DEFAULTS["qat"], epochs=3), tmp_path_factory.mktemp("qat"))


def test_what_was_trained_with_rounding_is_what_int8_computes(world: World, qat: Tuned) -> None:
    same, away = steps_apart(qat, world.faces)
    assert same >= 0.98
    assert away < 0.01
    assert {n.kind for n in qat.network.nodes}.isdisjoint({"BatchNormalization"})
    assert set(qat.ranges) == set(fakequant.rounded(fold(world.network)))


def test_the_best_epoch_by_the_converted_model_is_kept(world: World, qat: Tuned) -> None:
    from edgefer.runtime.engines.litert import Engine

    engine = Engine([int8_file(qat)[1]], threads=1)
    found = (engine.run(world.faces.validation).argmax(axis=1) == world.faces.labels).mean()
    engine.close()
    assert found == pytest.approx(max(r.validation_accuracy for r in qat.history))
    assert found > world.accuracy - 0.05


def test_the_same_job_gives_the_same_bytes(world: World, qat: Tuned, tmp_path: Path) -> None:
    again = run(world, dataclasses.replace(DEFAULTS["qat"], epochs=3), tmp_path)
    assert int8_file(again)[1] == int8_file(qat)[1]


def test_a_killed_run_goes_on_to_the_same_network(world: World, qat: Tuned, tmp_path: Path) -> None:
    tuning = dataclasses.replace(DEFAULTS["qat"], epochs=3)
    seen: list[Mapping[str, Any]] = []

    def kill_after_an_epoch(message: Mapping[str, Any]) -> None:
        seen.append(message)
        if message.get("epoch") == 2:
            for child in Path("/proc/self/task").glob("*/children"):
                for process in child.read_text().split():
                    os.kill(int(process), signal.SIGKILL)

    with pytest.raises(ExportError, match=r"fine-tuning failed \(SIGKILL\)"):
        run(world, tuning, tmp_path, listener=kill_after_an_epoch)
    assert sum("report" in message for message in seen) == 1
    said: list[str] = []
    resumed = run(world, tuning, tmp_path, listener=lambda message: said.append(message.get("say", "")))
    assert "going on after epoch 1" in said
    assert [r.validation_accuracy for r in resumed.history] == [r.validation_accuracy for r in qat.history]
    for one, other in zip(resumed.network.nodes, qat.network.nodes, strict=True):
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)
    # What is finished is not done again.
    said.clear()
    run(world, tuning, tmp_path, listener=lambda message: said.append(message.get("say", "")))
    assert said == []


def test_the_state_of_another_job_is_refused(world: World, qat: Tuned, tmp_path: Path) -> None:
    run(world, dataclasses.replace(DEFAULTS["qat"], epochs=1), tmp_path)
    with pytest.raises(ExportError, match="state of another run"):
        run(world, dataclasses.replace(DEFAULTS["qat"], epochs=2, seed=5), tmp_path)


def test_layers_can_be_kept_float(world: World, tmp_path: Path) -> None:
    kept = ("s2_conv", "s2_relu")
    tuned = run(world, dataclasses.replace(DEFAULTS["qat"], epochs=1), tmp_path, keep_float=kept)
    assert "s2_relu" not in tuned.ranges


def after(network: Network, node: Node) -> Network:
    """The network with a layer of one kind put before its logits' pooling."""
    nodes = list(network.nodes)
    place = next(i for i, n in enumerate(nodes) if n.name == "pool")
    before = nodes[place].inputs[0]
    inputs = (before, before) if node.kind in ("Average", "Maximum", "Subtract") else (before,)
    new = dataclasses.replace(node, inputs=inputs, shape=nodes[place - 1].shape)
    nodes[place] = dataclasses.replace(nodes[place], inputs=(new.name,))
    return Network(network.name, (*nodes[:place], new, *nodes[place:]))


@pytest.mark.parametrize(
    ("kind", "settings", "advice"),
    [
        ("PReLU", {"shared_axes": [1, 2]}, "use ReLU"),
        ("ELU", {"alpha": 1.0}, "use ReLU or swish"),
        ("LeakyReLU", {"negative_slope": 0.1}, "use ReLU"),
        ("Average", {}, "Add"),
        ("Maximum", {}, "Add"),
        ("Subtract", {}, "Add"),
        ("LayerNormalization", {"axis": -1, "epsilon": 1e-3, "center": True, "scale": True}, "batch normalisation"),
        ("Resizing", {"height": 6, "width": 6, "interpolation": "bilinear"}, "size"),
        ("Softmax", {"axis": -1}, "logits"),
    ],
)
def test_refused_layers_are_named_before_any_training(
    world: World, tmp_path: Path, kind: str, settings: dict[str, Any], advice: str
) -> None:
    shape = world.network["pool"].inputs
    weights = (np.zeros((1, 1, world.network[shape[0]].shape[-1]), np.float32),) if kind == "PReLU" else ()
    strange = after(world.network, Node("odd one", kind, settings, (), (1,), weights))
    with pytest.raises(ExportError, match=rf"'odd one' is a {kind}.*{advice}.*--keep-float"):
        run(world, DEFAULTS["qat"], tmp_path / "x", strange)
    assert not (tmp_path / "x").exists()


def test_unknown_layers_to_keep_float_are_named(world: World) -> None:
    with pytest.raises(ExportError, match=r"no layer called 'nowhere'.*s1_conv"):
        fakequant.check(fold(world.network), ["nowhere"])


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("narrow", {"amount": 0.99}),
        ("prune", {"amount": 0.0}),
        ("cluster", {"amount": 1}),
        ("qat", {"epochs": 0}),
        ("qat", {"learning_rate": 0.0}),
        ("qat", {"learning_rate": float("nan")}),
        ("qat", {"distill": 1.5}),
        ("qat", {"batch": 0}),
        ("qat", {"temperature": 0.0}),
        ("qat", {"seed": -1}),
    ],
)
def test_settings_out_of_range_are_refused(stage: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ExportError, match=f"{stage}: .* is out of range"):
        dataclasses.replace(DEFAULTS[stage], **changes)


def test_a_job_is_plain_data(world: World, tmp_path: Path) -> None:
    run(world, dataclasses.replace(DEFAULTS["qat"], epochs=1), tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".json", ".npz"}
    json.loads((tmp_path / "result.json").read_text())
    assert list(itertools.chain(tmp_path.glob("*.tmp"))) == []


def test_every_layer_that_makes_channels_has_an_importance() -> None:
    import keras
    import tf_keras

    from edgefer.optimize import channels
    from edgefer.optimize.narrow import narrow
    from edgefer.optimize.tune_stages import importances

    layers = keras.layers
    keras.utils.set_random_seed(0)
    picture = keras.Input((12, 12, 1), name="picture")
    x = layers.BatchNormalization(name="bn")(layers.SeparableConv2D(16, 3, use_bias=False, name="apart")(picture))
    x = layers.DepthwiseConv2D(3, name="deep")(layers.ReLU(name="relu")(x))
    x = layers.Dense(24, activation="relu", name="dense")(layers.Flatten(name="flat")(x))
    network = networks.from_keras(keras.Model(picture, layers.Dense(7, name="logits")(x), name="mixed"))
    images, labels = cartoon.dataset(10, seed=1)
    small = images[:, ::4, ::4, None]
    faces = Faces(small, np.eye(7, dtype=np.float32)[labels], small, small, labels)
    scores = importances(tf_keras, fold(network), faces)
    for group in channels.groups(network):
        for name in group.layers:
            assert scores[name].shape[0] >= group.channels
            assert (scores[name] >= 0).all()
            assert scores[name].max() > 0
    assert narrow(network, scores, round(0.7 * network.macs)).macs <= 0.7 * network.macs
