"""Conversion in a process of its own, `convert_process`: what goes in and what comes out.

A job goes in as files: the network as the bundle stores it, the tuned one and the one for int8 where there are such,
and faces to calibrate, to choose by and to compare on. `out/` comes out: the model files, what the networks that they
were made from say of the faces, and how the ways to calibrate compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgefer.bundle import size_name
from edgefer.optimize import exporters, worker
from edgefer.optimize.stored import Pictures, Probabilities, Stored, write_stored
from edgefer.train import network_file
from edgefer.train.network import Network

Key = TypeVar("Key", bound="tuple[Any, ...]")
"""What an artifact is known by: (format, precision), of a detector (format, precision, size)."""
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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a network of either kind is converted."""

    methods: tuple[str, ...] = METHODS
    """Ways to calibrate int8 after training, to choose from."""
    own: bool = False
    """int8 by each format's own quantiser instead of one for all."""
    keep_float: tuple[str, ...] = ()
    """Layers that int8 leaves in float."""
    opset: int = 17
    batch: int | None = None
    """Pictures in a batch for ONNX and OpenVINO; None = any number."""


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
    settings: Settings = Settings()
    tuned: Network | None = None
    """What came of `narrow`, `prune` and `cluster`: artifacts are made from it instead of the stored network."""
    int8: Network | None = None
    """What came of quantization-aware training, with its `ranges`."""
    ranges: Ranges | None = None


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


def file_names(name: str, made: tuple[Any, ...]) -> list[str]:
    """Return the names of an artifact's files, the main one first; `made` is what it is known by."""
    format, precision, *sizes = made
    stem = ".".join([name, *map(size_name, sizes), precision])
    return [f"{stem}{suffix}" for suffix in exporters.load(format).SUFFIXES]


def write_job(folder: Path, name: str, artifacts: Sequence[Key], settings: Settings, **more: Any) -> None:
    """Write `job.json`, which the process of either kind reads; raises OSError."""
    plain = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    job = {"name": name, "artifacts": artifacts, **plain, **more}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")


def read_files(out: Path, name: str, artifacts: Iterable[Key]) -> dict[Key, dict[str, bytes]]:
    """Return what a process made: artifact → file name → contents, the main file first; raises OSError."""
    return {made: {file: (out / file).read_bytes() for file in file_names(name, made)} for made in artifacts}


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
    write_job(folder, job.name, job.artifacts, job.settings, ranges=job.ranges)


def _read(job: Job, folder: Path) -> Converted:
    out = folder / "out"
    told = json.loads((out / "told.json").read_text(encoding="utf-8"))
    return Converted(
        files=read_files(out, job.name, job.artifacts),
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
