"""Training speed of edgefer against plain Keras: `fit` over tf.data, and augmentation layers inside the model.

    python benchmarks/training.py [--arch edge-xs] [--quick] [--json benchmarks/records/training-HOST.json] > table.md

Each round runs every variant once, so that drift of the machine and other work on it touch all alike; a variant's run
is a short epoch of drawn faces, timed over its last steps. Ratios are taken within a round; where other work runs, the
processor time is the steadier figure. The peers are what Keras's guides show: the same network, batch, optimizer,
schedule, label smoothing and precision, and the same kinds and ranges of augmentation made of Keras's own layers. What
differs: each of their four warps interpolates anew, where edgefer composes them into one; an erased rectangle is noise
in Keras and one grey in edgefer; edgefer averages the weights (EMA) and reports loss and accuracy after each step.
Keras compiles with XLA what it can on a GPU, never on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import __version__, cartoon
from edgefer.labels import FER2013_LABELS
from edgefer.train import architectures, fit, step
from edgefer.train.backend import load_keras
from edgefer.train.data import Dataset
from edgefer.train.distribute import ALONE
from edgefer.train.recipe import Recipe, load_recipe
from edgefer.train.state import Progress

OURS, IN_DATA, IN_DATA_EMA, IN_MODEL, PLAIN, FLOOR = (
    "edgefer",
    "keras: tf.data",
    "keras: tf.data, EMA",
    "keras: in the model",
    "edgefer, no augmentation",
    "network alone",
)
MeanWhile = Callable[[int], None]
"""Called after each step with its number from 1."""
Variant = Callable[[MeanWhile], None]
"""Trains for one epoch."""


def faces(n: int) -> Dataset:
    """Return `n` pictures of drawn faces; a few hundred are drawn and then repeated."""
    images, labels = cartoon.dataset(40, 1)
    rows = np.random.default_rng(1).integers(0, len(images), n)
    return Dataset(images[rows], labels[rows], FER2013_LABELS)


def ours(keras: Any, recipe: Recipe, train: Dataset, steps: int, *, augmentation: bool = True) -> Variant:
    """Return edgefer's own leg of `steps` steps, as `edgefer train` runs it."""
    trainer = step.build_trainer(keras, recipe, len(train.names), steps, [], False)
    if not augmentation:
        trainer.model.get_layer("augment").call = lambda x, training=False: keras.ops.cast(x, "float32") / 255.0
    inputs: list[Any] = [train.images[..., None], step.targets_of(train, recipe)]
    rng = np.random.default_rng(recipe.seed)

    def run(after: MeanWhile) -> None:
        watch = fit._watch(keras, trainer, steps, lambda epoch, done, steps, loss, accuracy: after(done))
        watch.epoch, watch.before = 1, Progress()
        rows = rng.permutation(len(train))[: steps * recipe.batch]
        fit._run(trainer, [x[rows] for x in inputs], recipe.batch, watch, ALONE)

    return run


def augmentation_layers(keras: Any, recipe: Recipe) -> list[Any]:
    """Return Keras's layers for the recipe's augmentation; they take pixels 0 to 255 and give 0 to 1."""
    a, layers = recipe.augmentation, keras.layers
    fill = {"fill_mode": "nearest", "interpolation": "bilinear", "dtype": "float32"}
    light = {"value_range": (0.0, 1.0), "dtype": "float32"}
    return [
        layers.Rescaling(1.0 / 255.0, dtype="float32"),
        layers.RandomFlip("horizontal", dtype="float32"),
        layers.RandomRotation(a.rotation / 360.0, **fill),
        layers.RandomZoom(a.scale, **fill),
        layers.RandomTranslation(a.shift, a.shift, **fill),
        layers.RandomShear(x_factor=a.shear, **fill),
        layers.RandomBrightness(a.brightness, **light),
        layers.RandomContrast(a.contrast, **light),
        layers.RandomErasing((a.erase, a.erase), scale=(0.01, 0.16), **light),
    ]


def peer(
    keras: Any, recipe: Recipe, train: Dataset, steps: int, *, where: str = "nowhere", ema: bool = False
) -> Variant:
    """Return plain Keras training with the augmentation in tf.`data`, in the `model` or `nowhere`."""
    import tensorflow as tf

    classes, batch = len(train.names), recipe.batch
    net = architectures.build(keras, recipe.arch, classes)
    layers = augmentation_layers(keras, recipe)

    def augment(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    model = net
    if where == "model":
        pictures = keras.Input((48, 48, 1), dtype="uint8")
        model = keras.Model(pictures, net(augment(pictures)))
    warmup = round(recipe.warmup_epochs * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, recipe.epochs * steps - warmup, warmup_target=recipe.learning_rate, warmup_steps=warmup
    )
    averaging = {"use_ema": True, "ema_momentum": recipe.ema} if ema else {}
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **averaging),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    pictures, one_hot = train.images[..., None], np.eye(classes, dtype=np.float32)[train.labels]
    if where == "nowhere":
        pictures = pictures[: steps * batch].astype(np.float32) / 255.0
        one_hot = one_hot[: steps * batch]
    data = tf.data.Dataset.from_tensor_slices((pictures, one_hot))
    if where != "nowhere":
        data = data.shuffle(len(train))
    data = data.batch(batch, drop_remainder=True)
    if where == "data":
        data = data.map(lambda x, y: (augment(x), y), num_parallel_calls=tf.data.AUTOTUNE)
    data = data.take(steps).prefetch(tf.data.AUTOTUNE)

    def run(after: MeanWhile) -> None:
        class Clock(keras.callbacks.Callback):  # type: ignore[misc, name-defined, unused-ignore]
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                float(logs["loss"])  # waits for the accelerator
                after(batch + 1)

        model.fit(data, shuffle=False, verbose=0, callbacks=[Clock()])

    return run


def timed(variant: Variant, warm: int, steps: int, batch: int) -> dict[str, float]:
    """Return the speed over the last `steps` steps, and the seconds that an epoch takes beside its steps."""
    marks: dict[int, tuple[float, float]] = {}

    def after(done: int) -> None:
        if done in (warm, warm + steps):
            marks[done] = time.perf_counter(), time.process_time()

    start = time.perf_counter()
    variant(after)
    whole = time.perf_counter() - start
    wall, cpu = (b - a for a, b in zip(marks[warm], marks[warm + steps], strict=True))
    return {
        "pictures_per_s": steps * batch / wall,
        "cpu_ms_per_picture": 1000 * cpu / (steps * batch),
        "beside_the_steps_s": whole - wall * (warm + steps) / steps,
    }


def compare(keras: Any, arch: str, rounds: int, warm: int, steps: int, n: int) -> dict[str, Any]:
    """Return the figures of every variant for `arch`."""
    recipe = load_recipe(arch)
    fit._set_precision(keras, recipe)
    keras.utils.set_random_seed(recipe.seed)
    train, epoch = faces(n), warm + steps
    variants = {
        OURS: ours(keras, recipe, train, epoch),
        IN_DATA: peer(keras, recipe, train, epoch, where="data"),
        IN_DATA_EMA: peer(keras, recipe, train, epoch, where="data", ema=True),
        IN_MODEL: peer(keras, recipe, train, epoch, where="model"),
        PLAIN: ours(keras, recipe, train, epoch, augmentation=False),
        FLOOR: peer(keras, recipe, train, epoch),
    }
    for name, variant in variants.items():
        print(f"{arch}: compiling {name}", file=sys.stderr, flush=True)
        variant(lambda done: None)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for k in range(rounds):
        print(f"{arch}: round {k + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, variant in variants.items():
            measured[name].append(timed(variant, warm, steps, recipe.batch))
    figures = {}
    for name, runs in measured.items():
        figures[name] = {key: summary([r[key] for r in runs]) for key in runs[0]}
        figures[name]["edgefer_over_this"] = summary(
            [a["pictures_per_s"] / b["pictures_per_s"] for a, b in zip(measured[OURS], runs, strict=True)]
        )
    return {"batch": recipe.batch, "precision": keras.config.dtype_policy().name, "variants": figures}


def summary(values: list[float]) -> dict[str, float]:
    """Return median, least and most to four digits."""
    return {
        name: float(f"{value:.4g}")
        for name, value in (("median", statistics.median(values)), ("min", min(values)), ("max", max(values)))
    }


def device(backend: str) -> str:
    """Return the name of the GPU that `backend` trains on, or of the processor."""
    if fit._has_gpu(backend):
        if backend == "tensorflow":
            import tensorflow as tf

            details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
            return str(details["device_name"])
        if backend == "jax":
            import jax

            return str(jax.devices()[0].device_kind)
        import torch

        return str(torch.cuda.get_device_name())
    info = Path("/proc/cpuinfo")
    names = [x.split(":")[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def table(record: dict[str, Any]) -> str:
    """Return the record as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    before, after = record["load_average"]
    lines = [
        f"    {record['command']}",
        "",
        f"{record['device']}; {versions}; backend {record['backend']}. Load average {before:.1f} at the start,"
        f" {after:.1f} at the end (other work included). Median of {record['rounds']} rounds of {record['steps']} steps"
        " each (least–most); the ratio is taken within each round.",
    ]
    for arch, result in record["architectures"].items():
        lines += [
            "",
            f"**{arch}**, batch {result['batch']}, {result['precision']}",
            "",
            "| | pictures/s | edgefer ÷ this | processor ms/picture | s per epoch beside the steps |",
            "|---|---|---|---|---|",
        ]
        for name, v in result["variants"].items():
            speed, ratio = v["pictures_per_s"], v["edgefer_over_this"]
            cells = [f"{speed['median']:,.0f} ({speed['min']:,.0f}–{speed['max']:,.0f})"]
            cells.append("" if name == OURS else f"×{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})")
            cells += [f"{v['cpu_ms_per_picture']['median']:.3f}", f"{v['beside_the_steps_s']['median']:.2f}"]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", action="append", choices=["edge-xs", "edge-s", "edge-m"], help="repeatable")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="timed, in each round; else 8, or 190 on a GPU")
    parser.add_argument("--warm", type=int, help="steps before them, in each round; else 2, or 30 on a GPU")
    parser.add_argument("--pictures", type=int, default=28_709, help="in the training data (FER2013: 28,709)")
    parser.add_argument("--quick", action="store_true", help="one round of three steps, to see that it runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keras = load_keras()
    import tensorflow as tf

    backend = keras.backend.backend()
    warm, steps = (30, 190) if fit._has_gpu(backend) else (2, 8)  # 220 steps of 128 are an epoch of FER2013
    rounds, warm, steps = arguments.rounds, arguments.warm or warm, arguments.steps or steps
    pictures = arguments.pictures
    if arguments.quick:
        rounds, warm, steps, pictures = 1, 1, 3, 1024
    pictures = max(pictures, (warm + steps) * 128)
    before = os.getloadavg()[0]
    results = {
        arch: compare(keras, arch, rounds, warm, steps, pictures) for arch in arguments.arch or ["edge-xs", "edge-s"]
    }
    record = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "device": device(backend),
        "backend": backend,
        "versions": {
            "edgefer": __version__,
            "Python": platform.python_version(),
            "Keras": keras.__version__,
            "TensorFlow": tf.__version__,
        },
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
        "rounds": rounds,
        "steps": steps,
        "warm": warm,
        "pictures": pictures,
        "architectures": results,
    }
    print(table(record))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
