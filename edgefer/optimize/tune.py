"""Fine-tuning after training: four stages, each from a `Network` to a better-suited one.

`narrow` takes whole channels away, `prune` makes weights zero, `cluster` lets weights share few values, and `qat`
trains with the rounding of int8. A stage runs in a process of its own (`tune_process`), which reads its job from a
folder and keeps its state there.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.optimize import fakequant, worker
from edgefer.optimize.fold import fold
from edgefer.train import network_file
from edgefer.train.network import Network
from edgefer.train.recipe import Augmentation
from edgefer.train.state import EpochReport

STAGES = ("narrow", "prune", "cluster", "qat")
"""In the order in which they are done: what comes later keeps what came before."""


@dataclass(frozen=True)
class Tuning:
    """One stage of fine-tuning."""

    stage: str
    amount: float = 0.0
    """`narrow`: part of the MACs to take away; `prune`: part of the weights to be zero; `cluster`: values a layer."""
    epochs: int = 6
    learning_rate: float = 1e-4
    """Highest; it falls to 0 as a cosine."""
    batch: int = 128
    distill: float = 0.7
    """Of the teacher in the loss; the labels have the rest."""
    temperature: float = 3.0
    seed: int = 1

    def __post_init__(self) -> None:
        least, most = {"narrow": (0.05, 0.95), "prune": (0.05, 0.99), "cluster": (2, 256), "qat": (0, 0)}[self.stage]
        checks = {
            "amount": (self.amount, least <= self.amount <= most, f"{least:g} to {most:g}"),
            "epochs": (self.epochs, 1 <= self.epochs <= 10_000, "1 to 10,000"),
            "batch": (self.batch, 1 <= self.batch <= 1_000_000, "1 to 1,000,000"),
            "temperature": (self.temperature, 0.1 <= self.temperature <= 100, "0.1 to 100"),
            "seed": (self.seed, self.seed >= 0, "at least 0"),
            "learning_rate": (self.learning_rate, 0 < self.learning_rate < 1, "above 0 and below 1"),
            "distill": (self.distill, 0 <= self.distill <= 1, "0 to 1"),
        }
        for name, (value, fine, allowed) in checks.items():
            if not fine:
                raise ExportError(f"{self.stage}: {name} = {value} is out of range: {allowed}")


DEFAULTS = {
    "narrow": Tuning("narrow", 0.4, epochs=10, learning_rate=1e-3),
    "prune": Tuning("prune", 0.5, epochs=6, learning_rate=5e-4),
    "cluster": Tuning("cluster", 16, epochs=3, learning_rate=1e-4),
    "qat": Tuning("qat", epochs=5, learning_rate=1e-4),
}


@dataclass(frozen=True)
class Tuned:
    """What a stage made."""

    network: Network
    """Batch normalisation is folded after every stage but `narrow`."""
    ranges: Mapping[str, tuple[float, float]]
    """Of the layers' outputs for int8; empty but after `qat`."""
    history: tuple[EpochReport, ...]
    first_usable: int = 0
    """Epochs before this one do not count: their network is not sparse enough yet."""


@dataclass(frozen=True)
class Faces:
    """The data of a job."""

    images: npt.NDArray[np.uint8]
    """Training pictures [n, s, s, 1]."""
    targets: npt.NDArray[np.float32]
    """[n, classes]."""
    calibration: npt.NDArray[np.uint8]
    validation: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    """Of the validation pictures."""


def tune(
    tuning: Tuning,
    start: Network,
    teacher: Network,
    faces: Faces,
    augmentation: Augmentation,
    folder: Path,
    keep_float: Sequence[str] = (),
    listener: worker.Listener | None = None,
) -> Tuned:
    """Do a stage in a process of its own; what an earlier process left of the same job in `folder` is gone on with.

    Raises ExportError when the network cannot be tuned like this or the process fails; what is done stays in `folder`.
    """
    if tuning.stage == "qat":
        fakequant.check(fold(start), keep_float)
    folder.mkdir(parents=True, exist_ok=True)
    job: dict[str, Any] = {"tuning": dataclasses.asdict(tuning), "augmentation": dataclasses.asdict(augmentation)}
    job["keep_float"] = list(keep_float)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    network_file.save(folder / "start.npz", start)
    network_file.save(folder / "teacher.npz", teacher)
    np.savez(folder / "data.npz", **vars(faces))
    result = folder / "result.json"
    if not result.exists() or json.loads(result.read_text(encoding="utf-8"))["run"] != fingerprint(folder):
        worker.run("tune_process", folder, listener)
    return _read_result(folder)


def _read_result(folder: Path) -> Tuned:
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    history = tuple(EpochReport(**report) for report in found["history"])
    ends = {name: (float(low), float(high)) for name, (low, high) in found["ranges"].items()}
    return Tuned(network_file.load(folder / "result.npz"), ends, history, found["first_usable"])


def fingerprint(folder: Path) -> str:
    """Return a digest of the whole job."""
    digest = hashlib.sha256()
    for name in ("job.json", "start.npz", "teacher.npz", "data.npz"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
