"""Conversion of a detector in a process of its own, `detect.process`: what goes in and what comes out.

A job goes in as files: the trained weights, and lists of scenes to calibrate, to choose by and to compare on. `out/`
comes out: the model files, and what the trained network finds in the scenes to compare on, at each size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgefer.bundle import Size, size_name
from edgefer.grid import Found
from edgefer.optimize import worker
from edgefer.optimize.convert import METHODS
from edgefer.optimize.detect import finds, scenes
from edgefer.optimize.detect.files import Made, file_names
from edgefer.optimize.detect.judge import DetectChoice
from edgefer.train.scenes import Scene


@dataclass(frozen=True)
class DetectJob:
    """What to convert."""

    name: str
    """The architecture; files are called after it."""
    weights: bytes
    """A Keras `.weights.h5` file: weights only, no code."""
    calibration: Sequence[Scene]
    choosing: Sequence[Scene]
    """Training scenes, others than those for calibration, that decide between ways to calibrate."""
    verification: Sequence[Scene]
    artifacts: tuple[Made, ...]
    methods: tuple[str, ...] = METHODS
    own: bool = False
    keep_float: tuple[str, ...] = ()
    opset: int = 17
    batch: int | None = None


@dataclass(frozen=True)
class DetectConverted:
    """What came of it."""

    files: dict[Made, dict[str, bytes]]
    """File name → contents, the main file first."""
    trained: Mapping[Size, list[Found]]
    """What the trained network finds in the verification scenes, in pixels of its picture."""
    choices: tuple[DetectChoice, ...]
    macs: Mapping[Size, int]
    parameters: int


def sizes(artifacts: Sequence[Made]) -> list[Size]:
    """Return the sizes that there are artifacts of, in order."""
    return list(dict.fromkeys(size for _, _, size in artifacts))


def convert(job: DetectJob, listener: worker.Listener | None = None) -> DetectConverted:
    """Convert in a fresh process; raises ExportError with its exit code and last words when it fails."""
    return worker.convert("detect.process", partial(_write, job), partial(_read, job), listener)


def _write(job: DetectJob, folder: Path) -> None:
    (folder / "weights.weights.h5").write_bytes(job.weights)
    for name in ("calibration", "choosing", "verification"):
        scenes.write(folder / f"{name}.json", getattr(job, name))
    plain = ("name", "artifacts", "methods", "own", "keep_float", "opset", "batch")
    (folder / "job.json").write_text(json.dumps({n: getattr(job, n) for n in plain}), encoding="utf-8")


def _read(job: DetectJob, folder: Path) -> DetectConverted:
    out = folder / "out"
    told = json.loads((out / "told.json").read_text(encoding="utf-8"))
    wanted = sizes(job.artifacts)
    return DetectConverted(
        files={
            made: {name: (out / name).read_bytes() for name in file_names(job.name, made)} for made in job.artifacts
        },
        trained={size: finds.read(out / f"{size_name(size)}.npz") for size in wanted},
        choices=tuple(DetectChoice(**{**c, "size": (c["size"][0], c["size"][1])}) for c in told["choices"]),
        macs=dict(zip(wanted, told["macs"], strict=True)),
        parameters=told["parameters"],
    )
