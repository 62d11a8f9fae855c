"""`python -m edgefer.optimize.importers._process FOLDER`: reads a stranger's model where a crash harms nobody.

`job.json`, the model file and `faces.npy` lie in the folder; `result.json`, `answers.npz` and `out/` come out.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgefer.errors import ExportError
from edgefer.optimize import importers, worker
from edgefer.optimize.importers import Built, Choice, Found, Scaling
from edgefer.preprocess import Preprocess

TRIED = 512
"""Faces on which other scalings are tried."""


def main(arguments: Sequence[str]) -> None:
    """Do the job in the folder `arguments[0]`; an EdgeferError goes to the parent as its message."""
    folder = Path(arguments[0])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with worker.refusals_told():
        path = folder / job["file"]
        module = importers.for_file(path)
        opened = module.open_model(path)
        found: Found = opened.found
        worker.tell(say=str(found))
        scaling = _scaling(found, job["preprocess"], job["classes"])
        preprocess = Preprocess(size=found.size)
        faces = np.stack([preprocess(face) for face in np.load(folder / "faces.npy", allow_pickle=False)])
        values = opened.values(faces, scaling)
        output, warning = importers.decide_output(values[: job["probes"]], job["output"])
        worker.tell(say=f"its output is taken as {output}")
        (folder / "scratch").mkdir()
        built: Built = module.build(opened, Choice(scaling, output, job["name"]), folder / "scratch")
        answers = {"": values}
        # The model's own quantisation says what it takes: nothing to try.
        labelled = faces[job["probes"] :][:TRIED]
        if scaling is not None and len(labelled):
            others = [s for s in importers.NAMED.values() if (s.mean, s.std) != (scaling.mean, scaling.std)]
            answers |= {s.name: opened.values(labelled, s) for s in others}
    if output == "logits":
        answers = {name: importers.softmax(given) for name, given in answers.items()}
    np.savez(folder / "answers.npz", **answers)  # type: ignore[arg-type, unused-ignore]
    (folder / "out").mkdir()
    for files in built.files.values():
        for name, data in files.items():
            (folder / "out" / name).write_bytes(data)
    result = {
        "found": dataclasses.asdict(found),
        "output": output,
        "warning": warning,
        "notes": built.notes,
        "files": [[format, precision, list(files)] for (format, precision), files in built.files.items()],
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _scaling(found: Found, text: str | None, classes: int) -> Scaling | None:
    """Return how pixels become the model's input; raises ExportError when that, or the labels, do not fit the file."""
    if found.classes != classes:
        raise ExportError(
            f"the model gives {found.classes} values, but --labels names {classes}; name one label for each, in the"
            " order of the outputs"
        )
    pixels = found.dtype == "uint8"
    if text is None:
        if pixels:
            return None
        raise ExportError(
            f"the model takes {found.dtype}: say how it wants its pixels, --preprocess unit (0–1), signed (-1–1), raw"
            " (0–255) or MEAN,STD; the code that trained it knows"
        )
    scaling = importers.parse_scaling(text)
    if len(scaling.mean) > 1 and found.channels == 1:
        raise ExportError(f"--preprocess {text} is for three channels, but the model takes one")
    if pixels and found.taken is None:
        if scaling.name != "raw":
            raise ExportError(f"the model takes uint8, pixels as they are: leave --preprocess {text} out")
        return None
    return scaling


if __name__ == "__main__":
    main(sys.argv[1:])
