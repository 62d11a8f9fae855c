"""The parent's side of `_process`: a job in a folder, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.optimize import worker
from edgefer.optimize.importers import Found, Quantisation

MAX_MODEL_BYTES = 500_000_000
Progress = Callable[[str], None]
"""Called with one line on what is done or was found."""


@dataclass(frozen=True)
class Result:
    """What the process left."""

    found: Found
    output: str
    notes: list[str]
    warnings: list[str]
    files: dict[tuple[str, str], dict[str, bytes]]
    answers: dict[str, npt.NDArray[np.float32]]
    """Name of a scaling → probabilities of the first labelled faces; empty name → as chosen, drawn faces first."""


def contents(path: Path) -> bytes:
    """Return the file, read once; raises ExportError when it is none, empty or beyond all measure."""
    if not path.is_file():
        what = "a directory, not a model file" if path.is_dir() else "not there"
        raise ExportError(f"{path} is {what}")
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise ExportError(f"{path} is empty; get the file again")
    if len(data) > MAX_MODEL_BYTES:
        raise ExportError(f"{path} is larger than {MAX_MODEL_BYTES:,} bytes; such a model is not for a small board")
    return data


def ask(
    path: Path,
    model: bytes,
    labels: Sequence[str],
    preprocess: str | None,
    output: str,
    faces: npt.NDArray[np.uint8],
    probes: int,
    folder: Path,
    say: Progress,
) -> Result:
    """Run the process, in `folder`, on a copy of the `model` that `path` held, and on `faces` uint8 [n, 48, 48].

    The first `probes` faces have no labels. Raises ExportError with the process's message, or how it ended.
    """
    file = f"model{path.suffix.lower()}"
    job = {"file": file, "classes": len(labels), "preprocess": preprocess, "output": output, "probes": probes}
    (folder / file).write_bytes(model)
    (folder / "job.json").write_text(json.dumps(job | {"name": "imported"}), encoding="utf-8")
    np.save(folder / "faces.npy", faces)
    say(f"reading {path}")
    try:
        worker.run("importers._process", folder, lambda message: say(message["say"]) if "say" in message else None)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    found = told["found"]
    for key in ("taken", "given"):
        found[key] = found[key] and Quantisation(**found[key])
    with np.load(folder / "answers.npz", allow_pickle=False) as archive:
        answers = {name: archive[name] for name in archive.files}
    files = {
        (format, precision): {name: (folder / "out" / name).read_bytes() for name in names}
        for format, precision, names in told["files"]
    }
    warnings = [told["warning"]] if told["warning"] else []
    return Result(Found(**found), told["output"], list(told["notes"]), warnings, files, answers)
