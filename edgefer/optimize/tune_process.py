"""The process that fine-tunes: `python -m edgefer.optimize.tune_process FOLDER`.

The folder holds `job.json`, `start.npz`, `teacher.npz` and `data.npz` (see `tune`); `result.npz` and `result.json` come
out. The state is kept at the end of each epoch, and a process that finds one goes on from it to the same result.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import files
from edgefer.errors import ExportError
from edgefer.optimize import worker
from edgefer.optimize.tune import Faces, Tuned, Tuning, fingerprint
from edgefer.optimize.tune_stages import Stage, prepare, steps_of
from edgefer.train import network as networks
from edgefer.train import network_file, state
from edgefer.train.network import Network
from edgefer.train.recipe import Augmentation
from edgefer.train.state import EpochReport, Progress

TELL_EVERY = 5
"""Steps between two messages."""


def main(arguments: Sequence[str]) -> None:
    """Do the job in the directory `arguments[0]`."""
    folder = Path(arguments[0])
    with worker.refusals_told():
        worker.tell(say="loading TensorFlow")
        import tensorflow as tf
        import tf_keras

        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        tuning = Tuning(**job["tuning"])
        with np.load(folder / "data.npz", allow_pickle=False) as archive:
            faces = Faces(**{name: archive[name] for name in archive.files})
        start, teacher = network_file.load(folder / "start.npz"), network_file.load(folder / "teacher.npz")
        tf_keras.utils.set_random_seed(tuning.seed)
        tf.config.experimental.enable_op_determinism()
        stage = prepare(tf_keras, tuning, start, faces, job["keep_float"])
        tuned = _loop(tf_keras, stage, teacher, faces, Augmentation(**job["augmentation"]), tuning, folder)
    network_file.save(folder / "result.npz", tuned.network)
    told = {
        "run": fingerprint(folder),
        "history": [dataclasses.asdict(r) for r in tuned.history],
        "first_usable": tuned.first_usable,
        "ranges": tuned.ranges,
    }
    files.write_text(folder / "result.json", json.dumps(told))


def _loop(
    keras: Any, stage: Stage, teacher: Network, faces: Faces, augmentation: Augmentation, tuning: Tuning, folder: Path
) -> Tuned:
    """Train for the stage's epochs and return the best network; the state is kept at the end of each epoch."""
    import tensorflow as tf

    from edgefer.train.augment import Augment

    augment = Augment(augmentation, tuning.seed)
    augment.build((None, *faces.images.shape[1:]))
    taught = networks.to_keras(keras, teacher)
    optimizer = keras.optimizers.Adam(0.0)
    optimizer.build(stage.model.trainable_variables)
    variables = [*stage.model.variables, *optimizer.variables, augment.generator.state.value]
    weight, temperature = tuning.distill, tuning.temperature

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def step(pictures: Any, targets: Any) -> Any:
        seen = augment(pictures, training=True)
        soft = tf.nn.softmax(taught(seen, training=False) / temperature)
        with tf.GradientTape() as tape:
            logits = stage.model(seen, training=True)
            hard = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            # Cross-entropy with the teacher less the teacher's own entropy: 0 when both agree.
            kl = tf.nn.softmax_cross_entropy_with_logits(soft, logits / temperature)
            kl += tf.reduce_sum(soft * tf.math.log(soft + 1e-9), axis=1)
            loss = tf.reduce_mean((1.0 - weight) * hard + weight * temperature**2 * kl)
        slopes = tape.gradient(loss, stage.model.trainable_variables)
        optimizer.apply_gradients(zip(slopes, stage.model.trainable_variables))  # noqa: B905
        stage.after()
        right = tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == tf.argmax(targets, 1), tf.float32))
        return loss, right

    steps, batch = steps_of(tuning, faces), min(tuning.batch, len(faces.images))
    run, kept = fingerprint(folder), folder / "state.npz"
    best, progress = [np.array(w) for w in stage.model.get_weights()], Progress()
    if kept.exists():
        best, progress = state.restore(kept, run, variables)
        worker.tell(say=f"going on after epoch {len(progress.history)}")
    history = list(progress.history)
    while len(history) < tuning.epochs:
        epoch, start = len(history) + 1, time.perf_counter()
        rows = np.random.default_rng((tuning.seed, epoch)).permutation(len(faces.images))
        totals = np.zeros(2)
        for k in range(steps):
            done = (epoch - 1) * steps + k
            rate = tuning.learning_rate * 0.5 * (1 + math.cos(math.pi * done / (steps * tuning.epochs)))
            optimizer.learning_rate.assign(rate)
            part = np.sort(rows[k * batch : (k + 1) * batch])
            totals += [float(v) for v in step(faces.images[part], faces.targets[part])]
            if (k + 1) % TELL_EVERY == 0 or k + 1 == steps:
                worker.tell(
                    step=k + 1, steps=steps, epoch=epoch, loss=totals[0] / (k + 1), accuracy=totals[1] / (k + 1)
                )
        if not math.isfinite(totals[0]):
            raise ExportError(f"{tuning.stage}: the loss is no longer finite in epoch {epoch}; lower the learning rate")
        accuracy = stage.accuracy(stage.result())
        usable = [r.validation_accuracy for r in history[stage.first_usable :]]
        is_best = epoch > stage.first_usable and accuracy > max(usable, default=-1.0)
        if is_best:
            best = [np.array(w) for w in stage.model.get_weights()]
        seconds = time.perf_counter() - start
        history.append(EpochReport(epoch, totals[0] / steps, totals[1] / steps, 0.0, accuracy, rate, seconds))
        state.save(kept, run, variables, best, Progress(tuple(history)))
        worker.tell(report=dataclasses.asdict(history[-1]), best=is_best)
    stage.model.set_weights(best)
    return dataclasses.replace(stage.result(), history=tuple(history), first_usable=stage.first_usable)


if __name__ == "__main__":
    main(sys.argv[1:])
