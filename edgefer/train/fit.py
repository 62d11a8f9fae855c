"""The training loop: Keras 3 on any backend, with a state on disk that a killed run goes on from exactly.

An epoch is cut into legs of `LEG` steps. Between legs everything that the next step depends on stands in variables,
so the state can be kept there, and the learning rate of the schedules that follow the validation loss is set there.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import TrainError
from edgefer.train import distill, start, state
from edgefer.train.backend import load_keras
from edgefer.train.data import Dataset
from edgefer.train.distribute import Workers, join
from edgefer.train.recipe import Recipe
from edgefer.train.state import Arrays, EpochReport, Progress
from edgefer.train.step import Trainer, build_trainer, targets_of
from edgefer.train.weights import copies, refresh

LEG = 500
"""Steps between two chances to keep the state."""
SAVE_EVERY = 60.0
"""Seconds between two states within an epoch; each epoch's end is kept in any case."""
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FitResult:
    """The best averaged weights by validation accuracy, and how the run went."""

    model: Any
    """A keras.Model, float32 [n, 48, 48, 1] in [0, 1] → logits, holding the best weights."""
    best_epoch: int
    history: tuple[EpochReport, ...]
    backend: str
    seconds: float
    workers: Workers
    """Who trained it; the first of several processes writes the bundle."""


StepProgress = Callable[[int, int, int, float, float], None]
"""Called after each step as `progress(epoch, step, steps, loss, accuracy)`."""
EpochProgress = Callable[[EpochReport, bool], None]
"""Called after each epoch with its report and whether it is the best so far."""
TeacherProgress = Callable[[int, int], None]
"""Called as `progress(done, total)` while cached teachers are asked."""


def fit(
    train: Dataset,
    validation: Dataset,
    recipe: Recipe,
    state_file: Path,
    *,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_epoch: EpochProgress | None = None,
    on_teachers: TeacherProgress | None = None,
) -> FitResult:
    """Train `recipe.arch` and return its best weights; the state of the run is kept in `state_file`.

    Raises TrainError when `state_file` exists and `resume` is false, when it is of another run, when `recipe.weights`
    do not fit, or when the loss is no longer finite.
    """
    keras = load_keras()
    if state_file.exists() and not resume:
        raise TrainError(f"{state_file} holds an unfinished run; go on with --resume, or remove it")
    workers = join(keras)
    if min(recipe.batch, len(train)) % workers.replicas:
        raise TrainError(f"batch {recipe.batch} cannot be dealt out to {workers.replicas} devices; choose a multiple")
    _set_precision(keras, recipe)
    keras.utils.set_random_seed(recipe.seed)
    teachers = distill.load_teachers(keras, recipe.distill.teachers, train.names)
    begin = start.of_bundle(keras, recipe, train.names)
    others = [*(t.sha256 for t in teachers), *([begin.sha256] if begin else [])]
    run = state.fingerprint(
        [recipe.as_dict(), train.names, others],
        (train.images, train.labels, train.targets, validation.images, validation.labels),
    )
    cached = recipe.distill.votes or (bool(teachers) and recipe.distill.views > 0)
    inputs: list[npt.NDArray[Any]] = [train.images[..., None], targets_of(train, recipe)]
    if cached:
        inputs.append(distill.answers(teachers, train, recipe, on_teachers))
    batch = min(recipe.batch, len(train))
    steps = len(train) // batch
    trainer = build_trainer(keras, recipe, len(train.names), steps, teachers, cached, workers, begin)
    best, progress = copies(trainer.net), Progress()
    if resume and state_file.exists():
        best, progress = state.restore(state_file, run, trainer.variables)
    workers.agree(repr((run, progress.step, [r.epoch for r in progress.history])))
    workers.part_random(trainer.variables)
    watch = _watch(keras, trainer, steps, on_step)
    saved = time.monotonic()
    while not _finished(recipe, progress.history):
        epoch = len(progress.history) + 1
        rows = _rows(train, recipe, epoch, steps * batch)
        for variable in trainer.strange:
            variable.assign(float(epoch <= recipe.epochs - recipe.augmentation.off_epochs))
        while progress.step < steps:
            began = time.perf_counter()
            leg = min(LEG, steps - progress.step)
            if recipe.schedule != "cosine":
                trainer.model.optimizer.learning_rate = _rate(recipe, progress, leg, steps)
            watch.epoch, watch.before = epoch, progress
            part = rows[progress.step * batch : (progress.step + leg) * batch]
            loss, accuracy = _run(trainer, [x[part] for x in inputs], batch, watch, workers)
            if not math.isfinite(loss):
                raise TrainError(f"the loss became {loss} in epoch {epoch}; lower learning_rate and start again")
            progress = dataclasses.replace(
                progress,
                step=progress.step + leg,
                loss=progress.loss + loss * leg,
                accuracy=progress.accuracy + accuracy * leg,
                seconds=progress.seconds + time.perf_counter() - began,
            )
            if workers.task.chief and progress.step < steps and time.monotonic() - saved > SAVE_EVERY:
                state.save(state_file, run, trainer.variables, best, progress)
                saved = time.monotonic()
        began = time.perf_counter()
        rate = float(np.asarray(trainer.model.optimizer.learning_rate))
        raw = copies(trainer.net)
        judged, figures = best, [0.0, 0.0]
        if workers.task.chief:
            pictures = train.images[rows[: 16 * batch]]
            judged, *figures = _validate(trainer, watch.averaged, pictures, batch, validation)
        loss, accuracy = workers.from_chief(figures)
        trainer.net.set_weights(raw)
        seconds = progress.seconds + time.perf_counter() - began
        report = EpochReport(epoch, progress.loss / steps, progress.accuracy / steps, loss, accuracy, rate, seconds)
        is_best = accuracy > max((r.validation_accuracy for r in progress.history), default=-1.0)
        best = judged if is_best else best
        progress = Progress((*progress.history, report))
        if workers.task.chief:
            state.save(state_file, run, trainer.variables, best, progress)
        saved = time.monotonic()
        if on_epoch:
            on_epoch(report, is_best)
    history = progress.history
    trainer.plain.set_weights(best)
    best_epoch = max(history, key=lambda r: r.validation_accuracy).epoch
    return FitResult(
        trainer.plain, best_epoch, history, keras.backend.backend(), sum(r.seconds for r in history), workers
    )


def _finished(recipe: Recipe, history: tuple[EpochReport, ...]) -> bool:
    if len(history) >= recipe.epochs:
        return True
    if not recipe.early_stopping or not history:
        return False
    best = max(history, key=lambda r: r.validation_accuracy).epoch
    return len(history) - best >= recipe.early_stopping


def _rows(train: Dataset, recipe: Recipe, epoch: int, n: int) -> Rows:
    """Return the rows of the epoch, decided by its number, so that a resumed run sees what an unbroken one sees."""
    rng = np.random.default_rng([recipe.seed, epoch])
    if recipe.data.balance != "sampling":
        return rng.permutation(len(train))[:n]
    classes = [np.flatnonzero(train.labels == label) for label in np.unique(train.labels)]
    share = -(-n // len(classes))
    # Each class in whole shuffled rounds, so that no picture comes twice before each has come once.
    drawn = [np.concatenate([rng.permutation(rows) for _ in range(-(-share // len(rows)))])[:share] for rows in classes]
    return rng.permutation(np.concatenate(drawn))[:n]


def _rate(recipe: Recipe, progress: Progress, leg: int, steps: int) -> float:
    """Return the learning rate of the next leg for the schedules `constant` and `plateau`; warm-up rises in stairs."""
    done = len(progress.history) * steps + progress.step
    rate = recipe.learning_rate / (1.0 + recipe.learning_rate_decay * done)
    warmup = recipe.warmup_epochs * steps
    if done < warmup:
        return rate * min(1.0, (done + leg / 2.0) / warmup)
    if recipe.schedule == "plateau":
        lowest, waited = math.inf, 0
        for report in progress.history:
            waited += 1
            if report.validation_loss < lowest:
                lowest, waited = report.validation_loss, 0
            elif waited >= recipe.plateau_patience:
                rate, waited = rate * recipe.plateau_factor, 0
    return rate


def _run(trainer: Trainer, inputs: list[Any], batch: int, watch: Any, workers: Workers) -> tuple[float, float]:
    """Train on one leg; return its mean loss and accuracy."""
    with workers.errors():
        logs = trainer.model.fit(
            inputs, np.zeros(len(inputs[0])), batch_size=batch, shuffle=False, verbose=0, callbacks=[watch]
        ).history
    if trainer.averaging:
        # Keras leaves the averaged weights in the model when `fit` ends; go on with the raw ones.
        watch.averaged = copies(trainer.net)
        trainer.net.set_weights(watch.raw)
    return float(logs["loss"][0]), float(logs["accuracy"][0])


def _validate(
    trainer: Trainer, averaged: Arrays | None, pictures: npt.NDArray[np.uint8], batch: int, validation: Dataset
) -> tuple[Arrays, float, float]:
    """Return (weights of the network, loss, accuracy on `validation`).

    Averaged weights get the batch normalisation refreshed on `pictures`, training pictures in random order.
    """
    net = trainer.plain
    # Copies: under JAX, `predict` would consume arrays that the optimizer still holds.
    net.set_weights(averaged if averaged is not None else copies(trainer.net))
    if averaged is not None:
        whole = range(0, len(pictures) - batch + 1, batch)
        refresh(net, (pictures[i : i + batch, :, :, None].astype(np.float32) / 255.0 for i in whole))
    logits = logits_of(net, validation.images)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = -float(log_p[np.arange(len(validation)), validation.labels].mean())
    return copies(net), loss, float((logits.argmax(axis=1) == validation.labels).mean())


def logits_of(net: Any, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the network's logits float64 [n, classes] for grey pictures uint8 [n, 48, 48]; their maximum is 0."""
    logits = np.concatenate(
        [
            np.asarray(net.predict(part[..., None].astype(np.float32) / 255.0, batch_size=256, verbose=0), np.float64)
            for part in np.array_split(images, -(-len(images) // 8192))
        ]
    )
    return np.asarray(logits - logits.max(axis=1, keepdims=True))


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


def _watch(keras: Any, trainer: Trainer, steps: int, report: StepProgress | None) -> Any:
    """Return a callback that reports steps and keeps the weights of the leg's end as `raw`."""

    class Watch(keras.callbacks.Callback):  # type: ignore[misc, name-defined, unused-ignore]
        epoch = 0
        before = Progress()
        raw: Arrays
        averaged: Arrays | None = None

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if report:
                leg, done = batch + 1, self.before.step + batch + 1
                loss = (self.before.loss + float(logs["loss"]) * leg) / done
                accuracy = (self.before.accuracy + float(logs["accuracy"]) * leg) / done
                report(self.epoch, done, steps, loss, accuracy)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if trainer.averaging:
                self.raw = copies(trainer.net)

    return Watch()
