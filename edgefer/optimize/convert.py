"""Conversion in a process of its own, `convert_process`: what goes in and what comes out.

A job goes in as files: the network as the bundle stores it, the tuned one and the one for int8 where there are such,
and faces to calibrate, to choose by and to compare on. `out/` comes out: the model files, what the networks that they
were made from say of the faces, and how the ways to calibrate compare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgefer.optimize import exporters, worker
from edgefer.optimize.stored import Pictures, Probabilities, Stored, write_stored
from edgefer.train import network_file
from edgefer.train.network import Network

Ranges = Mapping[str, tuple[float, float]]

FORMATS = ("tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
METHODS = ("converter", "minmax", "percentile", "entropy")
"""How int8 ranges are taken from the calibration faces. `converter` leaves them to TensorFlow Lite, which takes every
network; the others are ours (`ranges`)."""

OWN_METHODS = {
    "tflite": ("converter",),
    "onnx": ("minmax", "percentile", "entropy"),
    "openvino": ("minmax", "percentile"),
}
"""What the quantiser of each format knows."""


@dataclass(frozen=True)
class Job:
    """What to convert."""

    name: str
    """What the files are called."""
    stored: Stored
    calibration: Pictures
    choosing: Pictures
    """Training faces, others than those for calibration, that decide between ways to calibrate."""
    verification: Pictures
    artifacts: tuple[tuple[str, str], ...]
    """(format, precision) each."""
    methods: tuple[str, ...] = METHODS
    """To choose from, for int8."""
    tuned: Network | None = None
    """What came of `narrow`, `prune` and `cluster`: artifacts are made from it instead of the stored network."""
    int8: Network | None = None
    """What came of quantization-aware training, with its `ranges`."""
    ranges: Ranges | None = None
    own: bool = False
    """int8 by each format's own quantiser."""
    keep_float: tuple[str, ...] = ()
    opset: int = 17
    batch: int | None = None


@dataclass(frozen=True)
class Choice:
    """How one way to calibrate did, against float, on the training faces to choose by."""

    format: str
    method: str
    divergence: float
    """Mean Kullback-Leibler divergence of the probabilities from those of float."""
    agreement: float
    """Percent of faces with the same most likely label."""
    chosen: bool


@dataclass(frozen=True)
class Converted:
    """What came of it."""

    files: dict[tuple[str, str], dict[str, bytes]]
    """(format, precision) → file name → contents, the main file first."""
    trained: Probabilities
    """What the stored network says of the verification faces, float32 [n, classes]."""
    tuned: Probabilities
    """What the network that float artifacts are made from says."""
    int8: Probabilities
    """What the network that int8 artifacts are made from says; with rounding where that was trained."""
    network: Network | None
    """That float artifacts are made from, if it can be taken apart."""
    float_core: bytes
    """TFLite model in float of the network that int8 artifacts are made from, to compare layer by layer."""
    weights: bytes
    """`.weights.h5` of a tuned network."""
    choices: tuple[Choice, ...]
    macs: int
    parameters: int


def file_names(name: str, format: str, precision: str) -> list[str]:
    """Return the names of an artifact's files, the main one first."""
    return [f"{name}.{precision}{suffix}" for suffix in exporters.load(format).SUFFIXES]


def convert(job: Job, listener: worker.Listener | None = None) -> Converted:
    """Convert in a fresh process; raises ExportError with its exit code and last words when it fails."""
    return worker.convert("convert_process", partial(_write, job), partial(_read, job), listener)


def _write(job: Job, folder: Path) -> None:
    write_stored(job.stored, folder)
    for name in ("calibration", "choosing", "verification"):
        np.save(folder / f"{name}.npy", getattr(job, name))
    for name, network in (("tuned", job.tuned), ("int8", job.int8)):
        if network is not None:
            network_file.save(folder / f"{name}.npz", network)
    plain = ("name", "artifacts", "methods", "ranges", "own", "keep_float", "opset", "batch")
    (folder / "job.json").write_text(json.dumps({n: getattr(job, n) for n in plain}), encoding="utf-8")


def _read(job: Job, folder: Path) -> Converted:
    out = folder / "out"
    files = {
        (format, precision): {name: (out / name).read_bytes() for name in file_names(job.name, format, precision)}
        for format, precision in job.artifacts
    }
    told = json.loads((out / "told.json").read_text(encoding="utf-8"))
    return Converted(
        files=files,
        trained=np.load(out / "trained.npy", allow_pickle=False),
        tuned=np.load(out / "tuned.npy", allow_pickle=False),
        int8=np.load(out / "int8.npy", allow_pickle=False),
        network=network_file.load(out / "network.npz") if (out / "network.npz").exists() else None,
        float_core=(out / "float.tflite").read_bytes(),
        weights=(out / "weights.weights.h5").read_bytes(),
        choices=tuple(Choice(**choice) for choice in told["choices"]),
        macs=told["macs"],
        parameters=told["parameters"],
    )
