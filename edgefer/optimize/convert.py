"""Conversion in a process of its own: `python -m edgefer.optimize.convert JOB`, and the parent's side of it.

A job is a directory: `job.json`, `weights.weights.h5`, `calibration.npy` and `verification.npy` go in; `out/` with
the model files and `reference.npy`, the probabilities that Keras gives for the verification pictures, come out.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgefer
from edgefer.errors import ExportError
from edgefer.optimize import exporters

Pictures = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """What to convert."""

    architecture: str
    classes: int
    weights: bytes
    """A Keras `.weights.h5` file: weights only, no code."""
    calibration: Pictures
    verification: Pictures
    formats: tuple[str, ...]
    precisions: tuple[str, ...]


@dataclass(frozen=True)
class Converted:
    """What came of it."""

    files: dict[tuple[str, str], dict[str, bytes]]
    """(format, precision) → file name → contents, the main file first."""
    reference: Probabilities
    """Keras's probabilities float32 [n, classes] for the verification pictures."""


def file_names(architecture: str, format: str, precision: str) -> list[str]:
    """Return the names of an artifact's files, the main one first."""
    return [f"{architecture}.{precision}{suffix}" for suffix in exporters.load(format).SUFFIXES]


def convert(job: Job) -> Converted:
    """Convert in a fresh process; raises ExportError with its exit code and last words when it fails."""
    try:
        with tempfile.TemporaryDirectory(prefix="edgefer-export-") as folder:
            _write(job, Path(folder))
            _run(Path(folder))
            return _read(job, Path(folder))
    except OSError as error:
        raise ExportError(
            f"the conversion cannot use the temporary directory {tempfile.gettempdir()}: {error.strerror or error};"
            " make room, or name another one in TMPDIR"
        ) from error


def _write(job: Job, folder: Path) -> None:
    (folder / "weights.weights.h5").write_bytes(job.weights)
    np.save(folder / "calibration.npy", job.calibration)
    np.save(folder / "verification.npy", job.verification)
    names = ("architecture", "classes", "formats", "precisions")
    (folder / "job.json").write_text(json.dumps({n: getattr(job, n) for n in names}), encoding="utf-8")


def _run(folder: Path) -> None:
    root = str(Path(edgefer.__file__).parent.parent)
    environment = os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",  # the reference must not depend on a graphics card's arithmetic
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "edgefer.optimize.convert", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit {done.returncode}"
        raise ExportError(f"the conversion failed ({how}): {lines[-1].strip()[:300] if lines else 'it said nothing'}")


def _read(job: Job, folder: Path) -> Converted:
    files = {
        (format, precision): {
            name: (folder / "out" / name).read_bytes() for name in file_names(job.architecture, format, precision)
        }
        for format in job.formats
        for precision in job.precisions
    }
    return Converted(files, np.load(folder / "reference.npy", allow_pickle=False))


def main(arguments: Sequence[str]) -> None:
    """Do the job in the directory `arguments[0]`; every failure is an exception, which ends the process with 1."""
    import keras

    from edgefer.optimize.exporters import Source, tflite
    from edgefer.train import architectures

    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    net = architectures.build(keras, job["architecture"], job["classes"])
    net.load_weights(folder / "weights.weights.h5")
    calibration = np.load(folder / "calibration.npy", allow_pickle=False)
    (folder / "out").mkdir()
    for precision in job["precisions"]:
        if precision == "int8":
            core = tflite.quantised(net, calibration, takes_pixels=False)
        else:
            core = tflite.floating(net, takes_pixels=False)
        for format in job["formats"]:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                contents = exporters.load(format).export(Source(net, precision, calibration, core, Path(scratch)))
            for name, data in zip(file_names(job["architecture"], format, precision), contents, strict=True):
                (folder / "out" / name).write_bytes(data)
    np.save(folder / "reference.npy", _probabilities(net, np.load(folder / "verification.npy", allow_pickle=False)))


def _probabilities(net: Any, pictures: Pictures) -> Probabilities:
    """Return softmax of the logits, computed in float64, for pictures uint8 [n, 48, 48, 1]."""
    batches = [pictures[i : i + 256].astype(np.float32) / np.float32(255) for i in range(0, len(pictures), 256)]
    logits = np.concatenate([np.asarray(net(batch, training=False), np.float64) for batch in batches])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


if __name__ == "__main__":
    main(sys.argv[1:])
