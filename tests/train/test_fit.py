"""The training loop: it learns, it is repeatable, and it survives a kill."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bundle import open_bundle, shipped
from edgefer.errors import TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.train import architectures
from edgefer.train.data import Dataset
from edgefer.train.recipe import Augmentation, DataSettings, Distillation, Recipe
from edgefer.train.state import EpochReport, Progress

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.train import fit as fitting
from edgefer.train import make
from edgefer.train.backend import load_keras
from edgefer.train.distill import load_teachers
from edgefer.train.unfinished import state_file


@pytest.fixture(scope="module")
def faces() -> Dataset:
    return Dataset(*cartoon.dataset(24, seed=3), FER2013_LABELS)


RECIPE = Recipe(arch="edge-xs", epochs=3, batch=28, learning_rate=3e-3, warmup_epochs=0.5)


def final(result: fitting.FitResult) -> list[np.ndarray]:
    return [np.asarray(w) for w in result.model.get_weights()]


class Killed(Exception):
    pass


MIXED = dataclasses.replace(RECIPE, augmentation=Augmentation(mixup=0.2, cutmix=0.5, off_epochs=1), batch=14)


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_random_steps_and_resumed_gives_what_an_unbroken_one_gives(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(fitting, "LEG", 4)
    monkeypatch.setattr(fitting, "SAVE_EVERY", 0.0)
    rng = np.random.default_rng(seed)
    whole = fitting.fit(faces, faces, MIXED, tmp_path / "whole.npz")
    kills, resumed = 0, None
    while resumed is None:
        steps_left = int(rng.integers(3, 20))

        def kill(*_: object) -> None:
            nonlocal steps_left
            steps_left -= 1
            if steps_left == 0:
                raise Killed

        try:
            resumed = fitting.fit(faces, faces, MIXED, tmp_path / "broken.npz", resume=True, on_step=kill)
        except Killed:
            kills += 1
    assert kills >= 2
    same = ("epoch", "validation_accuracy", "learning_rate")
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
    for one, other in zip(final(whole), final(resumed), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_early_stopping_ends_the_run(faces: Dataset, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=30, learning_rate=1e-9, schedule="constant", early_stopping=2, ema=0.0)
    history = fitting.fit(faces, faces, recipe, tmp_path / "state.npz").history
    best = max(history, key=lambda r: r.validation_accuracy).epoch
    assert len(history) == best + 2
    assert len(history) < 30


def report(epoch: int, loss: float) -> EpochReport:
    return EpochReport(epoch, 1.0, 0.5, loss, 0.5, 1e-3, 1.0)


def test_the_rate_falls_on_a_plateau() -> None:
    recipe = Recipe(schedule="plateau", plateau_patience=2, plateau_factor=0.5, learning_rate=1.0, warmup_epochs=0)
    losses = [3.0, 2.0, 2.5, 2.1, 1.0, 1.1, 1.2, 1.3, 1.4]
    history = [report(i + 1, loss) for i, loss in enumerate(losses)]
    rates = [fitting._rate(recipe, Progress(tuple(history[:n])), 10, 10) for n in range(len(history) + 1)]
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_the_rate_warms_up_and_decays() -> None:
    recipe = Recipe(schedule="constant", learning_rate=1.0, warmup_epochs=2, learning_rate_decay=0.01)
    first, second = (fitting._rate(recipe, Progress(step=step), 10, 20) for step in (0, 10))
    assert 0 < first < second < 1
    later = fitting._rate(recipe, Progress((report(1, 1.0),) * 5), 10, 20)
    assert later == pytest.approx(1 / (1 + 0.01 * 100))


def test_rows_of_an_epoch(faces: Dataset) -> None:
    uneven = faces.take(np.flatnonzero((faces.labels != 1) | (np.arange(len(faces)) % 5 == 0)))
    n = len(uneven)
    once = fitting._rows(uneven, RECIPE, 1, n)
    assert sorted(once) == list(range(n))
    assert list(once) != list(fitting._rows(uneven, RECIPE, 2, n))
    assert list(once) == list(fitting._rows(uneven, RECIPE, 1, n))
    sampling = dataclasses.replace(RECIPE, data=DataSettings(balance="sampling"))
    counts = np.bincount(uneven.labels[fitting._rows(uneven, sampling, 1, 700)], minlength=7)
    assert counts.tolist() == [100] * 7


def test_a_student_learns_from_a_teacher_in_the_step_or_from_its_cached_answers(
    faces: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path / "cache"))
    teacher = str(shipped())
    few = faces.take(np.arange(56)).ordered(FER2013_LABELS[::-1])  # labels in another order than the teacher's
    for views in (0, 2):
        distill = Distillation((teacher,), weight=1.0, temperature=2.0, views=views)
        recipe = Recipe(arch="edge-xs", epochs=6, batch=28, warmup_epochs=0, ema=0.0, distill=distill)
        history = fitting.fit(few, few, recipe, tmp_path / f"{views}.npz").history
        assert history[-1].loss < history[0].loss
    (kept,) = (tmp_path / "cache").glob("soft-labels-*.npz")
    answers = np.load(kept)["answers"]
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    keras = load_keras()
    (loaded,) = load_teachers(keras, [teacher], few.names)
    logits = np.asarray(loaded.net(few.images[..., None] / np.float32(255)))[:, loaded.order]
    assert (logits.argmax(axis=1) == answers.argmax(axis=1)).mean() > 0.7  # views differ a little from the picture


def test_a_teacher_of_other_labels_is_refused(faces: Dataset, tmp_path: Path) -> None:
    merged = Dataset(faces.images, np.minimum(faces.labels, 2), ("angry", "disgust", "other"))
    recipe = Recipe(arch="edge-xs", epochs=1, distill=Distillation((str(shipped()),)))
    with pytest.raises(TrainError, match="knows the labels"):
        fitting.fit(merged, merged, recipe, tmp_path / "state.npz")


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
    bundle, _ = make.train_bundle(train, held_out, recipe, tmp_path / "x.edgefer")
    assert bundle.metrics["edge-xs.weights.h5"]["accuracy"] > 0.5  # chance is 0.14
    assert bundle.recipe["epochs"] == 8
    assert bundle.labels == FER2013_LABELS
    assert not state_file(tmp_path / "x.edgefer").parent.exists()
    bundle.verify()


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
    state = state_file(out)
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


def test_resume_without_a_run(faces: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nothing to resume"):
        make.train_bundle(faces, faces, RECIPE, tmp_path / "no.edgefer", resume=True)


def test_full_circle_of_weights(faces: Dataset, tmp_path: Path) -> None:
    """The weights in the bundle give the accuracy that the manifest claims."""
    bundle, _ = make.train_bundle(faces, faces, Recipe(arch="edge-xs", epochs=1, batch=28), tmp_path / "x.edgefer")
    opened = open_bundle(tmp_path / "x.edgefer")
    path = tmp_path / "again.weights.h5"
    path.write_bytes(opened.read(opened.artifacts[0].file))
    net = architectures.build(load_keras(), "edge-xs", 7)
    net.load_weights(path)
    logits = np.asarray(net(faces.images[..., None].astype(np.float32) / 255.0))
    accuracy = float((logits.argmax(axis=1) == faces.labels).mean())
    assert accuracy == pytest.approx(bundle.metrics["edge-xs.weights.h5"]["accuracy"], abs=0.011)
