"""The training loop: Keras 3 on any backend, one epoch a step, every epoch kept on disk.

The state after each epoch (weights, optimizer, average, best weights so far, history) is one file, replaced
atomically, so a run that was killed goes on from its last epoch and gives what it would have given.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import files
from edgefer.errors import TrainError
from edgefer.train import architectures
from edgefer.train.backend import load_keras
from edgefer.train.data import Dataset
from edgefer.train.recipe import Recipe

Arrays = list[npt.NDArray[Any]]


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave; the history is a list of these."""

    epoch: int
    loss: float
    train_accuracy: float
    """Of the augmented pictures, while the weights changed."""
    validation_loss: float
    validation_accuracy: float
    """Of the averaged weights."""
    seconds: float


@dataclass(frozen=True)
class FitResult:
    """The best averaged weights by validation accuracy, and how the run went."""

    model: Any
    """A keras.Model, float32 [n, 48, 48, 1] in [0, 1] → logits, holding the best weights."""
    best_epoch: int
    history: tuple[EpochReport, ...]
    backend: str
    seconds: float


StepProgress = Callable[[int, int, int, float, float], None]
"""Called after each step as `progress(epoch, step, steps, loss, accuracy)`."""
EpochProgress = Callable[[EpochReport, bool], None]
"""Called after each epoch with its report and whether it is the best so far."""


def fit(
    train: Dataset,
    validation: Dataset,
    recipe: Recipe,
    state_file: Path,
    *,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_epoch: EpochProgress | None = None,
) -> FitResult:
    """Train `recipe.arch` and return its best weights; the state of the run is kept in `state_file`.

    Raises TrainError when `state_file` exists and `resume` is false, when it is of another run, or when the loss
    is no longer finite.
    """
    keras = load_keras()
    fingerprint = _fingerprint(train, validation, recipe)
    if state_file.exists() and not resume:
        raise TrainError(f"{state_file} holds an unfinished run; go on with --resume, or remove it")
    _set_precision(keras, recipe)
    keras.utils.set_random_seed(recipe.seed)
    batch = min(recipe.batch, len(train))
    steps = len(train) // batch
    net, model = _compile(keras, recipe, len(train.names), steps)
    best = _copies(net)
    history: list[EpochReport] = []
    if resume and state_file.exists():
        best, history = _restore(state_file, fingerprint, model)
    best_accuracy = max((r.validation_accuracy for r in history), default=-1.0)

    targets = np.eye(len(train.names), dtype=np.float32)[train.labels]
    weights = _class_weights(train, recipe.class_weight_power)[train.labels]
    watch = _watch(keras, net, steps, on_step)
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        start = time.perf_counter()
        # Shuffled by epoch number, so that a resumed run sees what an unbroken one would have seen.
        rows = np.random.default_rng([recipe.seed, epoch]).permutation(len(train))[: steps * batch]
        logs = model.fit(
            train.images[rows, :, :, None],
            targets[rows],
            sample_weight=weights[rows],
            batch_size=batch,
            shuffle=False,
            initial_epoch=epoch - 1,
            epochs=epoch,
            verbose=0,
            callbacks=[watch],
        ).history
        if not math.isfinite(logs["loss"][0]):
            raise TrainError(f"the loss became {logs['loss'][0]} in epoch {epoch}; lower learning_rate and start again")
        # Keras leaves the averaged weights in the model when `fit` ends; `watch` kept the raw ones to go on with.
        averaged, loss, accuracy = _validate(keras, model, net, train.images[rows[: 16 * batch]], batch, validation)
        net.set_weights(watch.raw)
        report = EpochReport(epoch, logs["loss"][0], logs["accuracy"][0], loss, accuracy, time.perf_counter() - start)
        history.append(report)
        is_best = accuracy > best_accuracy
        if is_best:
            best, best_accuracy = averaged, accuracy
        _save(state_file, fingerprint, model, best, history)
        if on_epoch:
            on_epoch(report, is_best)
    net.set_weights(best)
    best_epoch = max(history, key=lambda r: r.validation_accuracy).epoch
    return FitResult(net, best_epoch, tuple(history), keras.backend.backend(), sum(r.seconds for r in history))


def _compile(keras: Any, recipe: Recipe, classes: int, steps: int) -> tuple[Any, Any]:
    """Return (the network, the compiled model around it that takes uint8 pictures)."""
    from edgefer.train.augment import Augment

    net = architectures.build(keras, recipe.arch, classes)
    pictures = keras.Input((48, 48, 1), dtype="uint8")
    model = keras.Model(pictures, net(Augment(recipe.augmentation, recipe.seed)(pictures)))
    total = recipe.epochs * steps
    warmup = min(round(recipe.warmup_epochs * steps), total // 2)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    # The average looks back over a tenth of the run at most: a short run would else average its first steps.
    momentum = min(recipe.ema, max(0.0, 1.0 - 10.0 / total))
    options: dict[str, Any] = {"weight_decay": recipe.weight_decay or None}
    if momentum > 0:
        options |= {"use_ema": True, "ema_momentum": momentum}
    if recipe.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(schedule, **options)
    else:
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        # XLA has no kernel for TensorFlow's affine warp; JAX always compiles.
        jit_compile=keras.backend.backend() == "jax",
    )
    optimizer.build(model.trainable_variables)
    return net, model


def _validate(
    keras: Any, model: Any, net: Any, pictures: npt.NDArray[np.uint8], batch: int, validation: Dataset
) -> tuple[Arrays, float, float]:
    """Return (weights of `net`, loss, accuracy on `validation`) after refreshing its batch normalisation.

    That is done on `pictures`, training pictures in random order: the statistics were gathered under
    the raw weights and do not fit averaged ones (Izmailov et al., 2018, §3.2).
    """
    # Under JAX the weights and the optimizer's averages are one array now, which `predict` would consume: part them.
    net.set_weights(_copies(net))
    layers = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    usual = [layer.momentum for layer in layers]
    for k in range(1, len(pictures) // batch + 1):
        for layer in layers:
            layer.momentum = 1.0 - 1.0 / k  # the plain mean of the first k batches
        net(pictures[(k - 1) * batch : k * batch, :, :, None].astype(np.float32) / 255.0, training=True)
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum
    logits = np.asarray(model.predict(validation.images[..., None], batch_size=256, verbose=0), np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = -float(log_p[np.arange(len(validation)), validation.labels].mean())
    accuracy = float((logits.argmax(axis=1) == validation.labels).mean())
    return _copies(net), loss, accuracy


def _copies(net: Any) -> Arrays:
    """Return the weights of `net` in memory of their own."""
    return [np.array(w) for w in net.get_weights()]


def _class_weights(data: Dataset, power: float) -> npt.NDArray[np.float32]:
    counts = np.maximum(np.bincount(data.labels, minlength=len(data.names)), 1)
    weights = (counts.max() / counts) ** power
    return np.asarray(weights * len(data) / (weights * counts).sum(), np.float32)


def _set_precision(keras: Any, recipe: Recipe) -> None:
    on = recipe.mixed_precision == "on" or (recipe.mixed_precision == "auto" and _has_gpu(keras.backend.backend()))
    keras.config.set_dtype_policy("mixed_bfloat16" if on else "float32")


def _has_gpu(backend: str) -> bool:
    if backend == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return any(d.platform == "gpu" for d in jax.devices())
    import torch

    return bool(torch.cuda.is_available())


def _watch(keras: Any, net: Any, steps: int, report: StepProgress | None) -> Any:
    """Return a callback that reports steps and keeps the weights of the epoch's end as `raw`."""

    class Watch(keras.callbacks.Callback):  # type: ignore[misc, name-defined, unused-ignore]
        epoch = 0
        raw: Arrays

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch + 1

        def on_train_batch_end(self, step: int, logs: Any = None) -> None:
            if report:
                report(self.epoch, step + 1, steps, float(logs["loss"]), float(logs["accuracy"]))

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.raw = _copies(net)

    return Watch()


def _fingerprint(train: Dataset, validation: Dataset, recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps([recipe.as_dict(), train.names]).encode())
    for array in (train.images, train.labels, validation.images, validation.labels):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _save(path: Path, fingerprint: str, model: Any, best: Arrays, history: list[EpochReport]) -> None:
    meta = {"fingerprint": fingerprint, "history": [vars(r) for r in history]}
    arrays = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    for key, values in (("model", _variables(model)), ("best", best)):
        arrays |= {f"{key}/{i:04d}": np.asarray(v) for i, v in enumerate(values)}
    with files.atomic(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _restore(path: Path, fingerprint: str, model: Any) -> tuple[Arrays, list[EpochReport]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {k: archive[k] for k in sorted(archive.files)}
        meta = json.loads(arrays.pop("meta").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise TrainError(f"{path} is not a readable training state: {error}; remove it and start again") from error
    if meta["fingerprint"] != fingerprint:
        raise TrainError(f"{path} is the state of another run (other data or recipe); remove it, or use another --out")
    for variable, value in zip(
        _variables(model), [v for k, v in arrays.items() if k.startswith("model/")], strict=True
    ):
        variable.assign(value)
    best = [v for k, v in arrays.items() if k.startswith("best/")]
    return best, [EpochReport(**r) for r in meta["history"]]


def _variables(model: Any) -> list[Any]:
    """Everything that the next epoch depends on: weights, random state, optimizer moments and averages."""
    return [*model.variables, *model.optimizer.variables]
