"""Conversion in a process of its own: `python -m edgefer.optimize.convert FOLDER`, and its parent's side.

A job goes in as files: the network as the bundle stores it, the tuned one and the one for int8 where there are such,
and faces to calibrate, to choose by and to compare on. `out/` comes out: the model files, what the networks that they
were made from say of the faces, and how the ways to calibrate compare.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError, TrainError
from edgefer.optimize import exporters, worker
from edgefer.train import network as networks
from edgefer.train import network_file
from edgefer.train.network import Network

Pictures = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]
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
class Stored:
    """A trained network as a bundle holds it."""

    architecture: str
    classes: int
    weights: bytes
    """A Keras `.weights.h5` file: weights only, no code."""
    layers: bytes | None = None
    """JSON of the layers where the architecture's name does not say them."""


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
    formats: tuple[str, ...]
    precisions: tuple[str, ...]
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
    try:
        with tempfile.TemporaryDirectory(prefix="edgefer-export-") as folder:
            _write(job, Path(folder))
            worker.run("convert", Path(folder), listener)
            return _read(job, Path(folder))
    except OSError as error:
        raise ExportError(
            f"the conversion cannot use the temporary directory {tempfile.gettempdir()}: {error.strerror or error};"
            " make room, or name another one in TMPDIR"
        ) from error


def write_stored(stored: Stored, folder: Path) -> None:
    """Write what `stored_net` reads; raises OSError."""
    (folder / "weights.weights.h5").write_bytes(stored.weights)
    if stored.layers is not None:
        (folder / "layers.json").write_bytes(stored.layers)
    (folder / "stored.json").write_text(json.dumps({"architecture": stored.architecture, "classes": stored.classes}))


def stored_net(keras: Any, folder: Path) -> Any:
    """Return the keras.Model that `write_stored` wrote; raises TrainError, ValueError or OSError."""
    from edgefer.train import architectures

    job = json.loads((folder / "stored.json").read_text())
    if (folder / "layers.json").exists():
        net = networks.to_keras(keras, network_file.from_json((folder / "layers.json").read_bytes(), "the network"))
    else:
        net = architectures.build(keras, job["architecture"], job["classes"])
    net.load_weights(folder / "weights.weights.h5")
    return net


def _write(job: Job, folder: Path) -> None:
    write_stored(job.stored, folder)
    for name in ("calibration", "choosing", "verification"):
        np.save(folder / f"{name}.npy", getattr(job, name))
    for name, network in (("tuned", job.tuned), ("int8", job.int8)):
        if network is not None:
            network_file.save(folder / f"{name}.npz", network)
    plain = ("name", "formats", "precisions", "methods", "ranges", "own", "keep_float", "opset", "batch")
    (folder / "job.json").write_text(json.dumps({n: getattr(job, n) for n in plain}), encoding="utf-8")


def _read(job: Job, folder: Path) -> Converted:
    out = folder / "out"
    files = {
        (format, precision): {name: (out / name).read_bytes() for name in file_names(job.name, format, precision)}
        for precision in job.precisions
        for format in job.formats
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


def main(arguments: Sequence[str]) -> None:
    """Do the job in the directory `arguments[0]`; every failure is an exception, which ends the process with 1."""
    with worker.refusals_told():
        worker.tell(say="loading TensorFlow")
        import keras

        from edgefer.optimize.making import Maker
        from edgefer.train.macs import count_macs

        folder = Path(arguments[0])
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        faces = {
            n: np.load(folder / f"{n}.npy", allow_pickle=False) for n in ("calibration", "choosing", "verification")
        }
        stored = stored_net(keras, folder)
        tuned = folder / "tuned.npz"
        net = networks.to_keras(keras, network_file.load(tuned)) if tuned.exists() else stored
        try:
            network = networks.from_keras(net)
        except TrainError as error:  # float, fp16 and the converter's own int8 work with any network
            network, why = None, str(error)
        else:
            why = ""
        int8 = network_file.load(folder / "int8.npz") if (folder / "int8.npz").exists() else None
        maker = Maker(net, network, why, int8, job, faces["calibration"], faces["choosing"])
        out = folder / "out"
        out.mkdir()
        for precision in job["precisions"]:
            for format in job["formats"]:
                worker.tell(say=f"converting to {format} {precision}")
                with tempfile.TemporaryDirectory(dir=folder) as scratch:
                    contents = maker.make(format, precision, Path(scratch))
                for name, data in zip(file_names(job["name"], format, precision), contents, strict=True):
                    (out / name).write_bytes(data)
        worker.tell(say="asking the trained network")
        verification = faces["verification"]
        np.save(out / "trained.npy", probabilities(stored, verification))
        np.save(out / "tuned.npy", probabilities(net, verification))
        np.save(out / "int8.npy", maker.int8_reference(verification))
        (out / "float.tflite").write_bytes(maker.float_core())
        net.save_weights(out / "weights.weights.h5")
        if network is not None:
            network_file.save(out / "network.npz", network)
        told = {
            "choices": [asdict(c) for c in maker.choices],
            "macs": count_macs(net),
            "parameters": net.count_params(),
        }
        (out / "told.json").write_text(json.dumps(told), encoding="utf-8")


def probabilities(net: Any, pictures: Pictures) -> Probabilities:
    """Return softmax of the logits, computed in float64, for pictures uint8 [n, s, s, 1]."""
    batches = [pictures[i : i + 256].astype(np.float32) / np.float32(255) for i in range(0, len(pictures), 256)]
    logits = np.concatenate([np.asarray(net(batch, training=False), np.float64) for batch in batches])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


if __name__ == "__main__":
    main(sys.argv[1:])
