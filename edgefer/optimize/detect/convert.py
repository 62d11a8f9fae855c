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
from edgefer.optimize.convert import Settings, read_files, write_job
from edgefer.optimize.detect import finds, scenes
from edgefer.optimize.detect.judge import DetectChoice
from edgefer.train.scenes import Scene

Made = tuple[str, str, Size]
"""What an artifact is known by: format, precision, and height and width of the picture."""


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
    settings: Settings = Settings()  # noqa: RUF009 - frozen


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
    write_job(folder, job.name, job.artifacts, job.settings)


def _read(job: DetectJob, folder: Path) -> DetectConverted:
    out = folder / "out"
    told = json.loads((out / "told.json").read_text(encoding="utf-8"))
    wanted = sizes(job.artifacts)
    return DetectConverted(
        files=read_files(out, job.name, job.artifacts),
        trained={size: finds.read(out / f"{size_name(size)}.npz") for size in wanted},
        choices=tuple(DetectChoice(**{**c, "size": (c["size"][0], c["size"][1])}) for c in told["choices"]),
        macs=dict(zip(wanted, told["macs"], strict=True)),
        parameters=told["parameters"],
    )
