"""What runs inside the emulated board: `python3 -m edgefer.bench.emulator.inside TASK.json`.

It has the aarch64 packages, edgefer's own code, and no OpenCV. Around each inference it makes a system call that the
plugin knows as a marker.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from edgefer.bench.opened import open_one
from edgefer.bundle import open_stored

MARKER = 0x7E0001
"""The offset to seek to that makes a marker; plugin.c has the same."""


def main() -> None:
    """Do the task of the file `sys.argv[1]` and write what it asks for beside that file, answer.json last."""
    path = Path(sys.argv[1])
    task = json.loads(path.read_text(encoding="utf-8"))
    bundle = open_stored(Path(task["bundle"]))
    size = None if task["size"] is None else tuple(task["size"])
    faces = np.frombuffer(Path(task["faces"]).read_bytes(), np.uint8).reshape(task["shape"])
    loaded = open_one(bundle, task["engine"], task["precision"], size)
    run, face = loaded.engine.run, faces[:1]
    for _ in range(task["warmups"]):
        run(face)
    anywhere = os.open(os.devnull, os.O_RDONLY)
    mark = os.lseek
    # Nothing between two markers first: what the bracket itself costs.
    mark(anywhere, MARKER, os.SEEK_SET)
    mark(anywhere, MARKER, os.SEEK_SET)
    for _ in range(task["inferences"]):
        mark(anywhere, MARKER, os.SEEK_SET)
        run(face)
        mark(anywhere, MARKER, os.SEEK_SET)
    if task["compare"]:
        answers = np.ascontiguousarray(run(faces), np.float32)
        (path.parent / "answers.f32").write_bytes(answers.tobytes())
    # The last one has what the whole process executed.
    mark(anywhere, MARKER, os.SEEK_SET)
    answer = {"version": loaded.engine.version, "provider": loaded.engine.provider}
    loaded.engine.close()
    (path.parent / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
