"""What one training step computes: augmentation, network, teachers and loss as one compiled Keras model.

The targets go in beside the pictures, because mixup and cutmix blend both; so the model's output is everything that
the loss needs, side by side, and the loss takes it apart. Class weights and label smoothing are in the targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.train import architectures, floor
from edgefer.train.data import Dataset
from edgefer.train.distill import Teacher, answer_layer
from edgefer.train.distribute import ALONE, Workers, model_class, synchronise
from edgefer.train.optimizer import make_optimizer
from edgefer.train.recipe import Recipe
from edgefer.train.start import Start

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trainer:
    """The network and what trains it."""

    net: Any
    """keras.Model, float32 [n, 48, 48, 1] in [0, 1] → logits [n, classes]."""
    model: Any
    """Compiled; takes pictures uint8 [n, 48, 48, 1], targets [n, classes] and, with cached teachers, their answers."""
    strange: tuple[Any, ...]
    """Variables: 1 while pictures may be erased, noisy and mixed."""
    averaging: bool
    plain: Any
    """The same network outside tf.distribute, to validate and keep: `net` itself when one device trains."""

    @property
    def variables(self) -> list[Any]:
        """Everything that the next step depends on: weights, random state, optimizer moments and averages."""
        return [*self.model.variables, *self.model.optimizer.variables]


def build_trainer(
    keras: Any,
    recipe: Recipe,
    classes: int,
    steps: int,
    teachers: Sequence[Teacher],
    cached: bool,
    workers: Workers = ALONE,
    begin: Start | None = None,
) -> Trainer:
    """Return the network of the recipe, compiled to train for `recipe.epochs` of `steps` steps.

    `cached`: the teachers' answers are given with the pictures instead of being computed in the step.
    `begin`: the weights of a trained bundle, instead of `recipe.weights`.
    """
    from edgefer.train.augment import Augment, Mix

    with workers.scope():
        weights = "none" if begin else recipe.weights
        net = architectures.build(keras, recipe.arch, classes, weights=weights, unfreeze=recipe.unfreeze)
        if begin:
            begin.apply(net)
        if recipe.recall_floor:
            floor.last_bias(net)  # better refused now than after hours
        if workers.strategy:
            synchronise(keras, net)
        settings = recipe.augmentation
        augment = Augment(settings, recipe.seed)
        pictures = keras.Input((48, 48, 1), dtype="uint8", name="pictures")
        targets = keras.Input((classes,), dtype="float32", name="targets")
        inputs, beside = [pictures, targets], [targets]
        if cached:
            taught = keras.Input((classes,), dtype="float32", name="answers")
            inputs.append(taught)
            beside.append(taught)
        x, strange = augment(pictures), [augment.strange]
        if settings.mixup or settings.cutmix:
            mix = Mix(settings, recipe.seed + 1)
            mix.name = "mix"
            x, *beside = mix([x, *beside])
            strange.append(mix.strange)
        if teachers and not cached:
            beside.append(answer_layer(teachers, recipe.distill.temperature)(x))
        packed = keras.layers.Concatenate(name="packed", dtype="float32")([net(x), *beside])
        model = model_class(keras, workers)(inputs, packed)
        optimizer = make_optimizer(
            keras,
            steps=recipe.epochs * steps,
            warmup_steps=round(recipe.warmup_epochs * steps),
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            gradient_clip=recipe.gradient_clip,
            ema=recipe.ema,
            kind=recipe.optimizer,
            schedule=recipe.schedule,
        )
        model.compile(
            optimizer,
            _loss(keras, recipe, classes),
            metrics=[_accuracy(keras, classes)],
            # XLA has no kernel for TensorFlow's affine warp; JAX always compiles.
            jit_compile=keras.backend.backend() == "jax",
        )
        optimizer.build(model.trainable_variables)

    plain = net if not workers.strategy else architectures.build(keras, recipe.arch, classes)
    return Trainer(net, model, tuple(strange), bool(optimizer.use_ema), plain)


def targets_of(data: Dataset, recipe: Recipe) -> Floats:
    """Return what the network is trained towards, float32 [n, classes]: smoothed, times the weight of the class.

    Where the data has distributions of its own (FER+ votes), they stand in for the labels.
    """
    k = len(data.names)
    exact = np.eye(k, dtype=np.float32)[data.labels] if data.targets is None else data.targets
    smooth = exact * (1.0 - recipe.label_smoothing) + recipe.label_smoothing / k
    counts = np.maximum(np.bincount(data.labels, minlength=k), 1)
    weights = ((counts.max() / counts) ** recipe.class_weight_power)[data.labels]
    return np.asarray(smooth * (weights / weights.mean())[:, None], np.float32)


def _loss(keras: Any, recipe: Recipe, classes: int) -> Any:
    ops = keras.ops
    weight, temperature = recipe.distill.weight, recipe.distill.temperature

    def loss(_: Any, packed: Any) -> Any:
        logits, targets = packed[:, :classes], packed[:, classes : 2 * classes]
        hard = -ops.sum(targets * ops.log_softmax(logits), axis=-1)
        if not recipe.distill.on:
            return hard
        taught = packed[:, 2 * classes :]
        away = ops.log(taught + 1e-8) - ops.log_softmax(logits / temperature)
        soft = ops.sum(taught * away, axis=-1) * temperature**2 * ops.sum(targets, axis=-1)
        return (1.0 - weight) * hard + weight * soft

    return loss


def _accuracy(keras: Any, classes: int) -> Any:
    ops = keras.ops

    def accuracy(_: Any, packed: Any) -> Any:
        said, label = ops.argmax(packed[:, :classes], axis=-1), ops.argmax(packed[:, classes : 2 * classes], axis=-1)
        return ops.cast(ops.equal(said, label), "float32")

    return accuracy
