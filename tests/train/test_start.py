"""Training that goes on from a trained bundle."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgefer import cartoon
from edgefer.bundle import open_bundle, shipped
from edgefer.commands.train import command
from edgefer.errors import TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.train.data import Dataset
from edgefer.train.recipe import Recipe

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.train import architectures, distill, make, start
from edgefer.train import fit as fitting
from edgefer.train.backend import load_keras

keras = load_keras()
FACES = cartoon.dataset(1, seed=3)[0][..., None].astype(np.float32) / 255


def begun(labels: tuple[str, ...], weights: str = "edge-xs", arch: str = "edge-xs") -> np.ndarray:
    """Return the logits of a new network that starts from `weights`."""
    net = architectures.build(keras, arch, len(labels))
    found = start.of_bundle(keras, Recipe(arch=arch, weights=weights), labels)
    assert found is not None
    found.apply(net)
    return np.asarray(net(FACES))


def shipped_logits() -> np.ndarray:
    return np.asarray(distill.load_net(keras, open_bundle("edge-xs"))(FACES))


def test_the_network_starts_as_the_one_of_the_bundle() -> None:
    np.testing.assert_allclose(begun(FER2013_LABELS), shipped_logits(), atol=1e-5)


def test_labels_in_another_order_keep_their_meaning() -> None:
    backwards = FER2013_LABELS[::-1]
    np.testing.assert_allclose(begun(backwards), shipped_logits()[:, ::-1], atol=1e-5)


def test_other_labels_begin_at_random_behind_the_trained_layers() -> None:
    net = architectures.build(keras, "edge-xs", 2)
    last = [np.asarray(w).copy() for w in net.layers[-1].weights]
    found = start.of_bundle(keras, Recipe(weights="edge-xs"), ("tired", "awake"))
    assert found is not None
    found.apply(net)
    for before, after in zip(last, net.layers[-1].weights, strict=True):
        np.testing.assert_array_equal(before, np.asarray(after))
    trained = distill.load_net(keras, open_bundle("edge-xs"))
    np.testing.assert_array_equal(np.asarray(net.layers[1].weights[0]), np.asarray(trained.layers[1].weights[0]))


@pytest.mark.parametrize("weights", ["none", "imagenet", "vgg.weights.h5"])
def test_what_is_no_bundle_is_left_to_the_architecture(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("none", "imagenet"):
        (tmp_path / name).mkdir()
    assert start.of_bundle(keras, Recipe(weights=weights), FER2013_LABELS) is None


def test_another_architecture_and_a_part_of_the_network_are_refused() -> None:
    with pytest.raises(TrainError, match=r"edge-s cannot start from .*edge-xs\.edgefer"):
        begun(FER2013_LABELS, arch="edge-s")
    with pytest.raises(TrainError, match="unfreeze is for pretrained parts"):
        start.of_bundle(keras, Recipe(weights="edge-xs", unfreeze=3), FER2013_LABELS)


def test_a_missing_bundle_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    np.savez(tmp_path / "faces.npz", **dict(zip(("images", "labels"), cartoon.dataset(4, seed=0), strict=True)))
    call = ["--data", str(tmp_path / "faces.npz"), "--arch", "edge-xs", "--epochs", "1", "--batch", "8", "--no-page"]
    out = tmp_path / "new.edgefer"
    result = CliRunner().invoke(command, [*call, "--weights", str(tmp_path / "gone.edgefer"), "--out", str(out)])
    assert result.exit_code != 0
    assert "gone.edgefer" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["faces.npz"]


def test_a_run_goes_on_from_a_bundle_and_is_better_at_once(tmp_path: Path) -> None:
    """One epoch at a tiny rate leaves what the shipped model knows of cartoons; from random weights it is chance."""
    np.savez(tmp_path / "faces.npz", **dict(zip(("images", "labels"), cartoon.dataset(12, seed=0), strict=True)))
    call = ["--data", str(tmp_path / "faces.npz"), "--arch", "edge-xs", "--epochs", "1", "--batch", "16", "--no-page"]
    call += ["--learning-rate", "1e-5", "--set", "recall_floor=0", "--json"]
    accuracy = {}
    for weights in ("none", "edge-xs"):
        out = tmp_path / f"{weights}.edgefer"
        result = CliRunner().invoke(command, [*call, "--weights", weights, "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert open_bundle(out).recipe["weights"] == weights
        accuracy[weights] = json.loads(result.stdout)["accuracy"]
    assert accuracy["edge-xs"] > accuracy["none"] + 0.2


class Killed(Exception):
    pass


def test_a_state_is_not_gone_on_with_from_other_weights(tmp_path: Path) -> None:
    """The path is the same, what lies there is not: the digest of the weights is part of the run."""
    faces = Dataset(*cartoon.dataset(4, seed=0), FER2013_LABELS)
    begun_from = tmp_path / "a.edgefer"
    recipe = Recipe(arch="edge-xs", epochs=2, batch=14, warmup_epochs=0)
    make.train_bundle(faces, faces, dataclasses.replace(recipe, epochs=1), tmp_path / "b.edgefer")
    shutil.copytree(shipped("edge-xs"), begun_from)
    recipe = dataclasses.replace(recipe, weights=str(begun_from))

    def kill(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        fitting.fit(faces, faces, recipe, tmp_path / "state.npz", on_epoch=kill)
    shutil.copy(tmp_path / "state.npz", tmp_path / "kept.npz")
    assert len(fitting.fit(faces, faces, recipe, tmp_path / "state.npz", resume=True).history) == 2
    shutil.rmtree(begun_from)
    shutil.copytree(tmp_path / "b.edgefer", begun_from)
    with pytest.raises(TrainError, match="state of another run"):
        fitting.fit(faces, faces, recipe, tmp_path / "kept.npz", resume=True)


def test_the_last_layer_is_the_last_that_has_weights() -> None:
    inputs = keras.Input((4,))
    net = keras.Model(inputs, keras.layers.ReLU()(keras.layers.Dense(3)(keras.layers.Dense(5)(inputs))))
    body, last = start._parts(net)
    assert [tuple(w.shape) for w in body] == [(4, 5), (5,)]
    assert [tuple(w.shape) for w in last] == [(5, 3), (3,)]
