"""The training loop: it learns, it is repeatable, and it survives a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bundle import open_bundle
from edgefer.errors import TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.train import architectures
from edgefer.train.data import Dataset
from edgefer.train.recipe import Recipe

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.train import fit as fitting
from edgefer.train import make
from edgefer.train.backend import load_keras


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return Dataset(*cartoon.dataset(24, seed=3), FER2013_LABELS)


RECIPE = Recipe(arch="edge-xs", epochs=3, batch=28, learning_rate=3e-3, warmup_epochs=0.5)


def final(result: fitting.FitResult) -> list[np.ndarray]:
    return [np.asarray(w) for w in result.model.get_weights()]


def test_a_run_broken_after_any_epoch_and_resumed_gives_what_an_unbroken_one_gives(
    faces: Dataset, tmp_path: Path
) -> None:
    whole = fitting.fit(faces, faces, RECIPE, tmp_path / "whole.npz")

    class Killed(Exception):
        pass

    def kill(report: fitting.EpochReport, is_best: bool) -> None:
        raise Killed

    for _ in range(RECIPE.epochs):
        with pytest.raises(Killed):
            fitting.fit(faces, faces, RECIPE, tmp_path / "broken.npz", resume=True, on_epoch=kill)
    resumed = fitting.fit(faces, faces, RECIPE, tmp_path / "broken.npz", resume=True)
    assert [r.validation_accuracy for r in resumed.history] == [r.validation_accuracy for r in whole.history]
    for one, other in zip(final(whole), final(resumed), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_state_is_not_overwritten_nor_mixed_with_another_run(faces: Dataset, tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    fitting.fit(faces, faces, Recipe(arch="edge-xs", epochs=1, batch=56), state)
    with pytest.raises(TrainError, match="--resume"):
        fitting.fit(faces, faces, Recipe(arch="edge-xs", epochs=1, batch=56), state)
    with pytest.raises(TrainError, match="another run"):
        fitting.fit(faces, faces, Recipe(arch="edge-xs", epochs=2, batch=56), state, resume=True)
    state.write_bytes(b"PK cut short")
    with pytest.raises(TrainError, match="not a readable"):
        fitting.fit(faces, faces, Recipe(arch="edge-xs", epochs=1, batch=56), state, resume=True)


def test_a_loss_that_is_not_finite_ends_the_run(faces: Dataset, tmp_path: Path) -> None:
    recipe = Recipe(arch="edge-xs", epochs=1, batch=28, optimizer="sgd", learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(TrainError, match="the loss became"):
        fitting.fit(faces, faces, recipe, tmp_path / "state.npz")


def test_a_network_learns_the_cartoons(tmp_path: Path) -> None:
    train = Dataset(*cartoon.dataset(100, seed=1), FER2013_LABELS)
    held_out = Dataset(*cartoon.dataset(20, seed=2), FER2013_LABELS)
    recipe = Recipe(arch="edge-xs", epochs=8, batch=32, learning_rate=4e-3, warmup_epochs=1)
    bundle = make.train_bundle(train, held_out, recipe, tmp_path / "x.edgefer")
    assert bundle.metrics["edge-xs.weights.h5"]["accuracy"] > 0.5  # chance is 0.14
    assert bundle.recipe["epochs"] == 8
    assert bundle.labels == FER2013_LABELS
    assert not make.state_file(tmp_path / "x.edgefer").parent.exists()
    bundle.verify()


@pytest.mark.parametrize("name", architectures.architecture_names())
def test_architectures_keep_their_contract(name: str) -> None:
    keras = load_keras()
    net = architectures.build(keras, name, 5)
    assert net.input_shape == (None, 48, 48, 1)
    assert net.output_shape == (None, 5)
    assert net.name == name
    taken = {"InputLayer", "Conv2D", "BatchNormalization", "ReLU", "Add", "GlobalAveragePooling2D", "Dropout", "Dense"}
    assert {type(layer).__name__ for layer in net.layers} <= taken  # what quantization-aware training accepts


@pytest.mark.parametrize(("name", "parameters"), [("edge-xs", 71_663), ("edge-s", 431_831)])
def test_parameter_counts(name: str, parameters: int) -> None:
    assert architectures.build(load_keras(), name, 7).count_params() == parameters


def test_unknown_architecture() -> None:
    with pytest.raises(TrainError, match="edge-s"):
        architectures.build(load_keras(), "no-such", 7)


def test_kill_minus_nine_then_resume(tmp_path: Path) -> None:
    images, labels = cartoon.dataset(20, seed=0)
    np.savez(tmp_path / "train.npz", images=images, labels=labels)
    np.savez(tmp_path / "validation.npz", images=images[:40], labels=labels[:40])
    out = tmp_path / "killed.edgefer"
    command = [sys.executable, "-m", "edgefer", "train", "--data", str(tmp_path), "--arch", "edge-xs"]
    command += ["--epochs", "400", "--batch", "70", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    state = make.state_file(out)
    deadline = time.monotonic() + 120
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert state.exists()
    assert not out.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "--resume" in again.stderr
    resumed = subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True)
    assert resumed.stderr is not None
    first = next(line for line in resumed.stderr if line.startswith("epoch"))
    assert int(first.split()[1].split("/")[0]) >= 2
    resumed.send_signal(signal.SIGINT)
    _, rest = resumed.communicate(timeout=60)
    assert resumed.returncode == 130
    assert rest.strip().endswith("interrupted")
    assert state.exists()


def test_resume_without_a_run_and_out_that_exists(faces: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nothing to resume"):
        make.train_bundle(faces, faces, RECIPE, tmp_path / "no.edgefer", resume=True)
    (tmp_path / "there").mkdir()
    with pytest.raises(TrainError, match="not a bundle"):
        make.train_bundle(faces, faces, RECIPE, tmp_path / "there")
    with pytest.raises(TrainError, match="cannot write"):
        make.train_bundle(faces, faces, RECIPE, Path("/proc/no/x.edgefer"))


def test_full_circle_of_weights(faces: Dataset, tmp_path: Path) -> None:
    """The weights in the bundle give the accuracy that the manifest claims."""
    bundle = make.train_bundle(faces, faces, Recipe(arch="edge-xs", epochs=1, batch=28), tmp_path / "x.edgefer")
    opened = open_bundle(tmp_path / "x.edgefer")
    path = tmp_path / "again.weights.h5"
    path.write_bytes(opened.read(opened.artifacts[0].file))
    net = architectures.build(load_keras(), "edge-xs", 7)
    net.load_weights(path)
    logits = np.asarray(net(faces.images[..., None].astype(np.float32) / 255.0))
    accuracy = float((logits.argmax(axis=1) == faces.labels).mean())
    assert accuracy == pytest.approx(bundle.metrics["edge-xs.weights.h5"]["accuracy"], abs=0.011)
