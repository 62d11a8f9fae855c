"""Instructions of one `detect` on an emulated board: edgefer's own detector, the Haar cascade and YuNet, as a record.

    python benchmarks/detector_instructions.py --model yunet.onnx [--board rpi4] [--bundle det-s] [--json RECORD.json]

Each detector, as `edgefer run` opens it for videos, is shown one drawn picture of 320×240 with a face again and again;
the cascade also as for pictures, where it always searches the whole. All run in one thread, with OpenCV's aarch64 wheel
under QEMU, in the versions that are installed here. Counted is all of `detect`: scaling, network or cascade, decoding.
Instructions are no time: see docs/bench.md, "Emulated Arm".
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgefer.bench.emulator import counts, inside
from edgefer.bench.emulator.boards import BOARDS
from edgefer.bench.emulator.root import Machine, prepare, with_packages
from edgefer.bench.emulator.run import emulator, run_python
from edgefer.bundle import open_detector_bundle
from edgefer.cartoon.clip import clip
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.detectors.haar import RESCAN

SIZE = (320, 240)
OPENCV = "opencv-python-headless"
WARMUPS = 3
MARKED = 3
"""Parts of a process that are counted; the middle one is taken."""
PROCESSES = 2
DETECTORS = (("edge", True), ("yunet", True), ("haar", False), ("haar", True))
"""Name, and whether pictures follow one another as in a video."""


def main() -> None:
    """Count, print a table, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a YuNet model [default: what edgefer models pull fetched]")
    parser.add_argument("--bundle", type=Path, help="of edgefer's own detector [default: the one that ships]")
    parser.add_argument("--board", action="append", choices=list(BOARDS), help="[default: all]")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        run_inside(arguments.inside)
        return

    boards = []
    bundle = open_detector_bundle(arguments.bundle)
    models = {"edge": bundle.path.resolve(), "yunet": arguments.model and arguments.model.resolve()}
    for name in arguments.board or BOARDS:
        machine = with_packages(prepare(BOARDS[name], "litert", say=tell), (OPENCV, "numpy"), say=tell)
        rows = [row(machine, detector, video, models.get(detector)) for detector, video in DETECTORS]
        boards.append({"board": name, **asdict(emulator(name)), "rows": rows})
        for one in rows:
            total = one["instructions"]["total"]
            print(f"{name}  {one['detector']:<14}  {total / 1e6:10.2f} M  {one['faces']} found, here {one['here']}")
    record = {
        "schema": 1,
        "command": shlex.join(["python", *sys.argv]),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "bundle": {"name": bundle.name, "digest": bundle.digest()},
        "opencv": cv2.__version__,
        "picture": f"drawn, one face, {SIZE[0]}x{SIZE[1]}",
        "boards": boards,
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def tell(line: str) -> None:
    """Say what is going on."""
    print(line, file=sys.stderr)


def row(machine: Machine, detector: str, video: bool, model: Path | None) -> dict[str, Any]:
    """Return what one detector costs and finds on the board, and finds here."""
    what = f"{detector}{' in video' if video and detector == 'haar' else ''}"
    picture = next(iter(clip(1, SIZE, faces=1)))[0]
    # Of a video, the cascade searches the whole only now and then: a whole turn of it.
    calls = RESCAN if video and detector == "haar" else 1
    task = {"detector": detector, "video": video, "model": model and str(model), "calls": calls, "shape": picture.shape}
    counted = []
    answer: dict[str, Any] = {}
    for number in range(PROCESSES):
        tell(f"{machine.board.name}: {what}, process {number + 1} of {PROCESSES}")
        with tempfile.TemporaryDirectory(prefix="edgefer-") as name:
            folder = Path(name)
            (folder / "picture.u8").write_bytes(picture.tobytes())
            (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
            run_python(machine, [str(Path(__file__).resolve()), "--inside", str(folder / "task.json")], folder, what)
            answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
            marks = counts.read(folder / "counts.txt").marks
            pairs = zip(marks[0::2], marks[1::2], strict=True)
            counted.append(counts.middle([counts.between(before, after) for before, after in pairs]))
    instructions = {name: round(n / calls) for name, n in asdict(counts.middle(counted)).items()}
    here = open_detector(detector, model, continuous=video)
    found = [len(here.detect(picture)) for _ in range(WARMUPS * calls)][-1]
    repeats = [round(one.total / calls) for one in counted]
    return {"detector": what, "faces": answer["faces"], "here": found, "instructions": instructions, "repeats": repeats}


def run_inside(path: Path) -> None:
    """On the emulated board: do the task and mark what is to be counted."""
    task = json.loads(path.read_text(encoding="utf-8"))
    cv2.setNumThreads(1)
    picture = np.frombuffer((path.parent / "picture.u8").read_bytes(), np.uint8).reshape(task["shape"])
    model = None if task["model"] is None else Path(task["model"])
    detector = open_detector(task["detector"], model, continuous=task["video"])
    anywhere = os.open(os.devnull, os.O_RDONLY)
    found = 0
    for _ in range(WARMUPS * task["calls"]):
        found = len(detector.detect(picture))
    for _ in range(MARKED):
        os.lseek(anywhere, inside.MARKER, os.SEEK_SET)
        for _ in range(task["calls"]):
            detector.detect(picture)
        os.lseek(anywhere, inside.MARKER, os.SEEK_SET)
    (path.parent / "answer.json").write_text(json.dumps({"faces": found}), encoding="utf-8")


if __name__ == "__main__":
    main()
