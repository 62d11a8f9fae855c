"""Small networks of several shapes under the instruction budget of a Pi 4 and a Pi 5, not under MACs alone.

    python benchmarks/architectures.py --json benchmarks/records/architectures.json > benchmarks/architectures-table.md

    --only edge-s,s-excite   these candidates only
    --no-emulator            without the boards, for a machine without qemu and mmdebstrap

Each candidate is built with random weights, trained for a few steps on drawn faces to see how fast that goes, converted
to int8 TFLite by the project's own converter (`edgefer export` without its gate: an untrained network has nothing to
lose) and run in litert on the emulated boards. The number of instructions hardly depends on the weights: trained,
edge-s0 takes 14 fewer, of 2.5 million, and edge-m 1.3 % (Pi 4) and 4 % (Pi 5) more. Of accuracy nothing is said
here. MACs and parameters are counted as everywhere in edgefer. Pictures per second are those
of a training step in float32, without augmentation, on one thread, from the processor time it takes, so that other work
on the machine matters less.

A candidate's figures are written as soon as they are there, and one that stands in the file with the same shape is not
measured again: a stopped run goes on with the same command. The table has all that the file has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import cartoon, files, plugins
from edgefer.bench.emulator.run import Task, emulate, emulator
from edgefer.bundle import Bundle, write_bundle
from edgefer.devices import board
from edgefer.errors import EdgeferError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize.convert import Job, Settings, convert
from edgefer.optimize.stored import Stored, artifacts_of
from edgefer.preprocess import Preprocess
from edgefer.quiet import native_chatter_silenced
from edgefer.train import architectures, network_file
from edgefer.train.architectures import edge
from edgefer.train.macs import count_macs
from edgefer.train.network import from_keras, to_keras

BOARDS = ("rpi4", "rpi5")
FACES, CALIBRATION = 2, 10
"""Drawn faces of each emotion: that run on the boards and are compared with this machine; for the int8 ranges."""
METHOD = "minmax"
"""How the ranges are taken; all ways give the same operations."""
BATCH, WARM, STEPS = 64, 3, 7
"""Of training: pictures in a step, steps that are not timed, and steps that are."""
SQUEEZE = 4
"""Squeeze-excite has that many times fewer channels in its middle."""
PACKAGES = ("edgefer", "numpy", "ai-edge-litert", "keras", "tensorflow", "tensorflow-model-optimization", "tf-keras")

Stages = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Candidate:
    """A shape to look at."""

    name: str
    family: str
    """`plain`, `depthwise` (each convolution after the stem is a depthwise 3×3 and a 1×1 one), `inverted` (residuals
    that widen inside) or `squeeze-excite` (plain, with channels weighed after the later stages)."""
    stages: Stages
    """(channels, stride, residual convolutions after it), as in edge.py; `inverted`: (channels, expansion, stride)."""
    stem: int = 0
    """`inverted` only: channels of the first convolution, which has stride 1; the others' is their first stage."""
    head: int = 0
    """Channels of a 1×1 convolution at the end; 0 = none."""
    excited: int = 0
    """`squeeze-excite` only: how many of the last stages end with it."""

    @property
    def shape(self) -> str:
        """All that decides what is built, in few characters: channels, ×expansion, /stride, +residuals, → head."""
        if self.family == "inverted":
            parts = [str(self.stem), *(f"{c}×{e}{_stride(s)}" for c, e, s in self.stages)]
        else:
            parts = [f"{c}{_stride(s)}" + (f"+{r}" if r else "") for c, s, r in self.stages]
        parts += [f"→ {self.head}"] if self.head else []
        parts += [f"(last {self.excited} excited)"] if self.excited else []
        return f"{self.family}: {' '.join(parts)}"


def _stride(stride: int) -> str:
    return f"/{stride}" if stride > 1 else ""


XS_BLOCKS = ((16, 2, 2), (24, 4, 2), (24, 4, 1), (40, 4, 2), (56, 4, 2))
"""Fewer than the others have: the file of a network of many layers is much larger than its weights."""


def _candidates() -> tuple[Candidate, ...]:
    """Return what is compared: the edge family, and what differs from its small, middle and large network in one way.

    `xs-`, `s-` and `m-` are about as large, or take about as many MACs, as edge-xs, edge-s and edge-m.
    """
    shipped = edge.STAGES
    return (
        *(Candidate(name, "plain", stages) for name, stages in shipped.items()),
        # The first convolution strides: nothing is computed at 48×48.
        Candidate("xs-stem2", "plain", ((16, 2, 1), (32, 2, 1), (48, 2, 1), (56, 2, 0))),
        Candidate("s-stem2", "plain", ((24, 2, 1), (48, 2, 2), (80, 2, 1), (112, 2, 1))),
        Candidate("m-stem2", "plain", ((32, 2, 1), (64, 2, 2), (128, 2, 2), (168, 2, 1))),
        # It ends at 6×6: without the stage of 3×3.
        Candidate("s-6x6", "plain", ((16, 1, 0), (24, 2, 1), (48, 2, 2), (96, 2, 3))),
        Candidate("m-6x6", "plain", ((16, 1, 0), (32, 2, 0), (64, 2, 2), (160, 2, 3))),
        # More is computed at the higher resolutions.
        Candidate("m-late", "plain", ((16, 1, 1), (32, 2, 2), (64, 2, 2), (120, 2, 1), (168, 2, 1))),
        # Wider and shallower; narrower and deeper.
        Candidate("s-wide", "plain", ((16, 1, 0), (40, 2, 0), (80, 2, 0), (128, 2, 0), (184, 2, 0))),
        Candidate("m-wide", "plain", ((24, 1, 0), (48, 2, 0), (96, 2, 0), (176, 2, 1), (240, 2, 0))),
        Candidate("s-deep", "plain", ((16, 1, 0), (24, 2, 1), (40, 2, 3), (64, 2, 3), (88, 2, 2))),
        Candidate("m-deep", "plain", ((16, 1, 0), (24, 2, 2), (48, 2, 4), (96, 2, 4), (136, 2, 2))),
        Candidate("xs-depthwise", "depthwise", ((16, 1, 0), (32, 2, 1), (56, 2, 1), (96, 2, 1), (128, 2, 1))),
        Candidate("s-depthwise", "depthwise", ((16, 1, 0), (48, 2, 1), (104, 2, 2), (208, 2, 2), (336, 2, 1))),
        Candidate("m-depthwise", "depthwise", ((16, 1, 0), (64, 2, 1), (144, 2, 2), (288, 2, 4), (512, 2, 1))),
        Candidate("m-depthwise-stem2", "depthwise", ((32, 2, 1), (64, 1, 1), (160, 2, 3), (320, 2, 4), (448, 2, 1))),
        Candidate("xs-inverted", "inverted", XS_BLOCKS, stem=8, head=128),
        Candidate("s-inverted", "inverted", _blocks(16, 40, 80, 120), stem=16, head=240),
        Candidate("m-inverted", "inverted", _blocks(24, 56, 112, 176), stem=16, head=320),
        Candidate("xs-excite", "squeeze-excite", shipped["edge-xs"], excited=2),
        Candidate("s-excite", "squeeze-excite", shipped["edge-s"], excited=2),
        Candidate("s-excite-all", "squeeze-excite", shipped["edge-s"], excited=4),
        Candidate("m-excite", "squeeze-excite", shipped["edge-m"], excited=2),
    )


def _blocks(a: int, b: int, c: int, d: int) -> Stages:
    """Return inverted residuals of these channels at 24×24, 12×12, 6×6 and 3×3."""
    return ((a, 2, 2), (a, 4, 1), (b, 4, 2), (b, 4, 1), (c, 4, 2), (c, 4, 1), (c, 4, 1), (d, 4, 2), (d, 4, 1))


CANDIDATES = _candidates()


def build(keras: Any, candidate: Candidate, classes: int) -> Any:
    """Return the candidate as a new keras.Model: float32 [n, 48, 48, 1] in [0, 1] → float32 logits [n, classes]."""
    inputs = keras.Input(architectures.INPUT_SHAPE, name="picture")
    x = (_inverted if candidate.family == "inverted" else _stages)(keras, inputs, candidate)
    if candidate.head:
        x = keras.layers.ReLU(name="head_relu")(_conv(keras, x, candidate.head, 1, 1, "head"))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(x), name=candidate.name)


def _stages(keras: Any, x: Any, candidate: Candidate) -> Any:
    """Return the stages of every family but the inverted one."""
    layers = keras.layers
    for i, (channels, stride, residuals) in enumerate(candidate.stages, start=1):
        conv = _separable if candidate.family == "depthwise" and i > 1 else _plain
        x = layers.ReLU(name=f"s{i}_relu")(conv(keras, x, channels, stride, f"s{i}"))
        for j in range(1, residuals + 1):
            label = f"s{i}r{j}"
            y = (_separable if candidate.family == "depthwise" else _plain)(keras, x, channels, 1, label)
            x = layers.ReLU(name=f"{label}_relu")(layers.Add(name=f"{label}_add")([x, y]))
        if candidate.family == "squeeze-excite" and i > len(candidate.stages) - candidate.excited:
            x = _excited(keras, x, channels, f"s{i}e")
    return x


def _inverted(keras: Any, x: Any, candidate: Candidate) -> Any:
    layers = keras.layers
    x = layers.ReLU(name="stem_relu")(_conv(keras, x, candidate.stem, 3, 1, "stem"))
    for i, (channels, expansion, stride) in enumerate(candidate.stages, start=1):
        wide = _conv(keras, x, x.shape[-1] * expansion, 1, 1, f"b{i}_wide")
        y = _separable(keras, layers.ReLU(name=f"b{i}_wide_relu")(wide), channels, stride, f"b{i}")
        x = layers.Add(name=f"b{i}_add")([x, y]) if stride == 1 and x.shape[-1] == channels else y
    return x


def _conv(keras: Any, x: Any, channels: int, size: int, stride: int, label: str) -> Any:
    x = keras.layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False, name=f"{label}_conv")(x)
    return keras.layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{label}_bn")(x)


def _plain(keras: Any, x: Any, channels: int, stride: int, label: str) -> Any:
    return _conv(keras, x, channels, 3, stride, label)


def _separable(keras: Any, x: Any, channels: int, stride: int, label: str) -> Any:
    layers = keras.layers
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False, name=f"{label}_depthwise")(x)
    x = layers.BatchNormalization(momentum=0.97, epsilon=1e-3, name=f"{label}_depthwise_bn")(x)
    return _conv(keras, layers.ReLU(name=f"{label}_depthwise_relu")(x), channels, 1, 1, label)


def _excited(keras: Any, x: Any, channels: int, label: str) -> Any:
    """Return `x` with its channels weighed by what is in all of the picture.

    The dense layers are 1×1 convolutions of a 1×1 picture: the same sums, and XNNPACK keeps the network in one piece,
    which a reshaping between would cut.
    """
    layers = keras.layers
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{label}_pool")(x)
    y = layers.ReLU(name=f"{label}_relu")(layers.Conv2D(channels // SQUEEZE, 1, name=f"{label}_squeeze")(y))
    y = layers.Activation("sigmoid", name=f"{label}_sigmoid")(layers.Conv2D(channels, 1, name=f"{label}_excite")(y))
    return layers.Multiply(name=f"{label}_multiply")([x, y])


@dataclass(frozen=True)
class Made:
    """A candidate as it was built, and what there is to say of it without converting it."""

    stored: Stored
    parameters: int
    macs: int
    step_cpu_s: float
    """Processor time of a training step, the median."""
    step_s: float
    """The same by the clock."""


def make(candidate: Candidate) -> Made:
    """Build and train the candidate for a few steps; for a process of its own, as TensorFlow asks for threads once."""
    os.environ.update(KERAS_BACKEND="tensorflow", CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3")
    with native_chatter_silenced():
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        keras.utils.set_random_seed(0)
        model = build(keras, candidate, len(FER2013_LABELS))
        cpu, clock = _steps(keras, model)
        network = from_keras(model)
        with tempfile.TemporaryDirectory(prefix="edgefer-") as folder:
            path = Path(folder) / "model.weights.h5"
            to_keras(keras, network).save_weights(path)  # its layers are in the order in which the file is read
            stored = Stored(candidate.name, len(FER2013_LABELS), path.read_bytes(), network_file.as_json(network))
        return Made(stored, model.count_params(), count_macs(model), cpu, clock)


def _steps(keras: Any, model: Any) -> tuple[float, float]:
    """Return the median of a few training steps' processor time and of their time by the clock, in seconds."""
    images, labels = cartoon.dataset(-(-BATCH // len(FER2013_LABELS)), seed=1)
    pictures = images[:BATCH, ..., None].astype(np.float32) / np.float32(255)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss, jit_compile=False)  # nor does edgefer compile on a processor
    took = []
    for _ in range(WARM + STEPS):
        start = time.process_time(), time.perf_counter()
        model.train_on_batch(pictures, labels[:BATCH])
        took.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    cpu, clock = zip(*took[WARM:], strict=True)
    return statistics.median(cpu), statistics.median(clock)


def measure(candidate: Candidate, boards: Sequence[str]) -> dict[str, Any]:
    """Return the candidate's figures; raises EdgeferError, or BrokenProcessPool when TensorFlow ended the process."""
    before = os.getloadavg()[0]
    say(f"{candidate.name}: building and training for {WARM + STEPS} steps")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        made = process.submit(make, candidate).result()
    say(f"{candidate.name}: converting")
    faces = drawn(FACES)
    job = Job(
        name=candidate.name,
        stored=made.stored,
        calibration=drawn(CALIBRATION),
        choosing=faces,  # there is nothing to choose between
        verification=faces,
        artifacts=(("tflite", "int8"),),
        settings=Settings(methods=(METHOD,)),
    )
    converted = convert(job)
    artifacts, contents = artifacts_of(converted.files)
    [model] = contents.values()
    with tempfile.TemporaryDirectory(prefix="edgefer-") as folder:
        bundle = write_bundle(
            Bundle(Path(folder) / candidate.name, candidate.name, FER2013_LABELS, Preprocess(), artifacts, {}), contents
        )
        instructions = {}
        for name in boards:
            [found] = emulate(bundle, name, [Task("litert", "int8")], faces, repeats=1, say=say)
            instructions[name] = asdict(found.instructions) | {
                "engine_version": found.engine_version,
                "bit_identical": found.bit_identical,
            }
    return {
        "shape": candidate.shape,
        "parameters": made.parameters,
        "macs": made.macs,
        "bytes": len(model),
        **partitions(model),
        "training_pictures_per_cpu_s": round(BATCH / made.step_cpu_s, 1),
        "training_pictures_per_s": round(BATCH / made.step_s, 1),
        "instructions": instructions,
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
    }


def drawn(per_class: int) -> Any:
    """Return drawn faces as the networks take them: uint8 [n, 48, 48, 1]."""
    images, _ = cartoon.dataset(per_class, seed=0)
    return np.stack([Preprocess()(image) for image in images])


def partitions(model: bytes) -> dict[str, Any]:
    """Return in how many pieces XNNPACK runs the model, and whether all before the softmax is int8."""
    with native_chatter_silenced():
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        names = [operation["op_name"] for operation in interpreter._get_ops_details()]
    return {"partitions": names.count("DELEGATE"), "int8": names.index("DEQUANTIZE") == names.index("SOFTMAX") - 1}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as a Markdown table, in the order of the candidates."""
    head = ["candidate", "shape", "parameters", "MMACs", "int8 kB", "XNNPACK pieces"]
    for name in BOARDS:
        head += [f"{name}: M instructions", "for a MAC", "dot product"]
    head.append("training, pictures/s")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name in (candidate.name for candidate in CANDIDATES if candidate.name in rows):
        row = rows[name]
        cells = [f"`{name}`", row["shape"], f"{row['parameters']:,}", f"{row['macs'] / 1e6:.2f}"]
        cells += [f"{row['bytes'] / 1e3:.1f}", f"{row['partitions']}, {'int8' if row['int8'] else 'partly float'}"]
        for where in BOARDS:
            found = row["instructions"].get(where)
            if found is None:
                cells += ["–"] * 3
                continue
            total = found["total"]
            cells += [f"{total / 1e6:.3f}", f"{total / row['macs']:.3f}", f"{found['dot'] / total:.0%}"]
        cells.append(f"{row['training_pictures_per_cpu_s']:,.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def kept(path: Path | None) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the rows of an earlier run that are of candidates as they are now, and its emulators."""
    if path is None or not path.exists():
        return {}, {}
    record = json.loads(path.read_text(encoding="utf-8"))
    rows: dict[str, dict[str, Any]] = record["candidates"]
    shapes = {candidate.name: candidate.shape for candidate in CANDIDATES}
    for name in [name for name, row in rows.items() if shapes.get(name) != row["shape"]]:
        say(f"{name}: leaving out what {path} has of it, its shape is another one now")
        del rows[name]
    return rows, record["emulators"]


def write(path: Path, rows: Mapping[str, Mapping[str, Any]], emulators: Mapping[str, Any]) -> None:
    """Write the record, wholly or not at all."""
    record = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "engine": "litert",
        "precision": "int8",
        "emulators": emulators,
        "machine": platform.machine(),
        "cpu": board.cpu_name(),
        "python": platform.python_version(),
        "packages": plugins.versions(PACKAGES),
        "training": {"batch": BATCH, "warm": WARM, "steps": STEPS, "threads": 1, "precision": "float32"},
        "candidates": rows,
    }
    files.write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure what is not there yet, print the table, and keep the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,…", help="[default: all]")
    parser.add_argument("--no-emulator", action="store_true", help="without the boards")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = [candidate.name for candidate in CANDIDATES]
    wanted = arguments.only.split(",") if arguments.only else names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no candidate {', '.join(unknown)}; there are: {', '.join(names)}")
    boards = () if arguments.no_emulator else BOARDS
    rows, emulators = kept(arguments.json)
    emulators |= {name: asdict(emulator(name, say=say)) for name in boards}
    failed = []
    todo = [candidate for candidate in CANDIDATES if candidate.name in wanted]
    for number, candidate in enumerate(todo, start=1):
        if candidate.name in rows and set(boards) <= set(rows[candidate.name]["instructions"]):
            say(f"[{number}/{len(todo)}] {candidate.name} is there already")
            continue
        start = time.monotonic()
        try:
            rows[candidate.name] = measure(candidate, boards)
        except (EdgeferError, BrokenProcessPool) as error:
            say(f"[{number}/{len(todo)}] {candidate.name} failed: {error}")
            failed.append(candidate.name)
            continue
        say(f"[{number}/{len(todo)}] {candidate.name}: {time.monotonic() - start:.0f} s")
        if arguments.json:
            write(arguments.json, rows, emulators)
    print(table(rows))
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
