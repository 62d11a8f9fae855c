"""What happens to a batch inside the compiled step: warps, mixing, targets, loss."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.labels import FER2013_LABELS
from edgefer.train.data import Dataset
from edgefer.train.recipe import Augmentation, Distillation, Recipe

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.train import augment, step
from edgefer.train.backend import load_keras

keras = load_keras()
Augment, Mix = augment.Augment, augment.Mix

OFF = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
FACES = Dataset(*cartoon.dataset(4, seed=3), FER2013_LABELS)
PICTURES = FACES.images[..., None]


def augmented(seed: int = 1, **settings: float) -> np.ndarray:
    layer = Augment(dataclasses.replace(OFF, **settings), seed)
    return np.asarray(layer(PICTURES, training=True))


def test_nothing_switched_on_changes_nothing() -> None:
    np.testing.assert_allclose(augmented(), PICTURES / np.float32(255), atol=1e-6)


def test_a_mirror_is_a_mirror() -> None:
    np.testing.assert_allclose(augmented(flip=1), PICTURES[:, :, ::-1] / np.float32(255), atol=1e-5)


@pytest.mark.parametrize("name", ["rotation", "scale", "crop", "shift", "shear", "brightness", "contrast", "erase"])
def test_each_part_changes_pictures_and_stays_in_range(name: str) -> None:
    found = augmented(**{name: {"rotation": 20.0, "erase": 1.0}.get(name, 0.3)})
    assert found.shape == PICTURES.shape
    assert found.min() >= 0
    assert found.max() <= 1
    changed = np.abs(found - PICTURES / 255).mean(axis=(1, 2, 3)) > 1e-3
    assert changed.mean() > 0.8


def test_a_crop_shows_a_part_of_the_picture_and_nothing_beyond_its_edge() -> None:
    ramp = np.broadcast_to(np.arange(48, dtype=np.uint8)[None, None, :, None], (64, 48, 48, 1))
    found = np.asarray(Augment(dataclasses.replace(OFF, crop=0.5), 1)(ramp, training=True))[..., 0] * 255
    slope = np.diff(found, axis=2)
    assert slope.min() > 0.45  # a repeated edge would have slope 0
    assert slope.max() < 1.01
    assert np.ptp(found[:, 0, 0]) > 5  # and not always the same part


def test_half_of_the_pictures_are_noisy_by_up_to_so_much() -> None:
    grey = np.full((600, 48, 48, 1), 128, np.uint8)
    found = np.asarray(Augment(dataclasses.replace(OFF, noise=0.1), 1)(grey, training=True)) - 128 / 255
    deviation = found.std(axis=(1, 2, 3))
    assert (deviation == 0).mean() == pytest.approx(0.5, abs=0.07)
    noisy = deviation[deviation > 0]
    layer = Augment(dataclasses.replace(OFF, noise=0.1), 1)
    layer.strange.assign(0.0)  # as in the last epochs
    np.testing.assert_allclose(np.asarray(layer(grey, training=True)), 128 / 255, atol=1e-6)
    assert noisy.max() == pytest.approx(0.1, abs=0.01)
    assert noisy.mean() == pytest.approx(0.05, abs=0.01)
    one = found[deviation.argmax(), :, :, 0]
    assert abs(np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1]) < 0.1  # another for each pixel


def test_not_training_is_the_picture() -> None:
    layer = Augment(Augmentation(), 1)
    np.testing.assert_allclose(np.asarray(layer(PICTURES)), PICTURES / np.float32(255))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_targets_are_mixed_as_the_pictures_are(mixup: float, cutmix: float) -> None:
    n = 256
    black_and_white = (np.arange(n) % 2).astype(np.float32)  # each one's neighbour in the batch is the other kind
    pictures = np.broadcast_to(black_and_white[:, None, None, None], (n, 48, 48, 1))
    layer = Mix(dataclasses.replace(OFF, mixup=mixup, cutmix=cutmix), 7)
    mixed, targets = layer([pictures, np.stack([1 - black_and_white, black_and_white], axis=1)], training=True)
    mixed, targets = np.asarray(mixed), np.asarray(targets)
    np.testing.assert_allclose(mixed.mean(axis=(1, 2, 3)), targets[:, 1], atol=1e-4)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert (np.abs(targets[:, 1] - black_and_white) > 0.01).mean() > 0.5
    whole = np.isin(mixed, (0.0, 1.0)).all(axis=(1, 2, 3))  # cutmix pastes, mixup blends
    assert whole.all() == (mixup == 0)
    layer.strange.assign(0.0)
    same, _ = layer([pictures, targets], training=True)
    np.testing.assert_allclose(np.asarray(same), pictures)


def test_targets_carry_smoothing_and_class_weights() -> None:
    few = FACES.take(np.concatenate([np.flatnonzero(FACES.labels == 0)[:1], np.flatnonzero(FACES.labels == 1)]))
    plain = step.targets_of(few, Recipe(label_smoothing=0.0))
    np.testing.assert_array_equal(plain, np.eye(7, dtype=np.float32)[few.labels])
    smooth = step.targets_of(few, Recipe(label_smoothing=0.07))
    np.testing.assert_allclose(smooth.max(axis=1), 0.94, atol=1e-6)
    weighted = step.targets_of(few, Recipe(label_smoothing=0.0, class_weight_power=1.0)).sum(axis=1)
    assert weighted[0] == pytest.approx(4 * weighted[1])
    assert weighted.mean() == pytest.approx(1)
    soft = np.full((len(few), 7), 1 / 7, np.float32)
    voted = step.targets_of(dataclasses.replace(few, targets=soft), Recipe(label_smoothing=0.0))
    np.testing.assert_allclose(voted, soft)


def test_the_loss_is_cross_entropy_and_the_teachers_divergence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 3)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0]]

    def log_p(t: float) -> np.ndarray:
        z = logits / t
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    hard = -(targets * log_p(1)).sum(axis=1)
    plain = step._loss(keras, Recipe(), 3)(None, np.concatenate([logits, targets], axis=1))
    np.testing.assert_allclose(np.asarray(plain), hard, rtol=1e-5)
    taught = np.exp(log_p(2.0))[::-1]
    divergence = (taught * (np.log(taught) - log_p(2.0))).sum(axis=1) * 4
    recipe = Recipe(distill=Distillation(("x",), weight=0.25, temperature=2.0))
    found = step._loss(keras, recipe, 3)(None, np.concatenate([logits, targets, taught], axis=1))
    np.testing.assert_allclose(np.asarray(found), 0.75 * hard + 0.25 * divergence, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_optimizer_takes_a_step_and_spares_norms_from_decay(optimizer: str, decay: float) -> None:
    recipe = Recipe(arch="edge-xs", epochs=1, optimizer=optimizer, weight_decay=decay, gradient_clip=1.0)
    trainer = step.build_trainer(keras, recipe, 7, 10, (), False)
    spared = [v.path for v in trainer.net.trainable_variables if not trainer.model.optimizer._use_weight_decay(v)]
    assert all("conv" in v.path or v.path in spared or "kernel" in v.path for v in trainer.net.trainable_variables)
    assert any("gamma" in path for path in spared)
    assert not any("kernel" in path for path in spared)
    logs = trainer.model.fit([PICTURES, step.targets_of(FACES, recipe)], np.zeros(len(FACES)), verbose=0).history
    assert np.isfinite(logs["loss"][0])
