"""edgefer against the PyPI package fer, on the same videos, one after the other in rounds.

    python3 -m venv /tmp/fer && /tmp/fer/bin/pip install -r benchmarks/peers/requirements-fer.txt
    python benchmarks/peers/fer.py --python /tmp/fer/bin/python CLIP.mp4 ... [--rounds 5] [--json RECORD.json]

Every measurement is a fresh process that writes a line a frame, and both are watched in the same way: from the start of
the process to its first line, the rate of the lines after the first 20 frames, the lines with a face, and the peak of
its resident memory. edgefer is `edgefer run --source CLIP --json` as it stands; fer is `FER().detect_emotions(frame)`
on what cv2.VideoCapture gives, the loop of its own documentation. The ratio of each round is taken within the round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

WARM_UP = 20
GOALS = {"frames_per_second": 12.0, "peak_mb": 4.0, "first_answer_s": 4.0}
"""How many times better edgefer is meant to be."""

THEIRS = """
import json, sys
import cv2
from fer.fer import FER
detector, video = FER(), cv2.VideoCapture(sys.argv[1])
while True:
    good, frame = video.read()
    if not good:
        break
    print(json.dumps({"faces": detector.detect_emotions(frame)}, default=lambda value: value.tolist()), flush=True)
"""
VERSIONS = """
import importlib.metadata as m, json, platform
names = ("fer", "tensorflow", "opencv-contrib-python", "opencv-python-headless", "numpy", "edgefer", "ai-edge-litert")
found = {d.metadata["Name"]: d.version for d in m.distributions()}
print(json.dumps({"python": platform.python_version()} | {n: found[n] for n in names if n in found}))
"""


@dataclass(frozen=True)
class Run:
    """What one process did with one video."""

    frames: int
    frames_with_a_face: int
    first_answer_s: float
    frames_per_second: float
    peak_mb: float


def watch(command: Sequence[str]) -> Run:
    """Run a program that writes a line of JSON a frame; raises SystemExit when it fails or writes too few."""
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        # Not in this folder: `import fer` would find this file.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=tempfile.gettempdir())
        assert process.stdout is not None
        lines = [(time.monotonic(), line) for line in process.stdout]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        if process.returncode or len(lines) < 2 * WARM_UP:
            message = errors.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(command)[:200]}: exit {process.returncode}, {len(lines)} frames\n{message}")
    return Run(
        frames=len(lines),
        frames_with_a_face=sum(bool(json.loads(line)["faces"]) for _, line in lines),
        first_answer_s=lines[0][0] - start,
        frames_per_second=(len(lines) - WARM_UP) / (lines[-1][0] - lines[WARM_UP - 1][0]),
        peak_mb=usage.ru_maxrss / 1024,
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most, rounded."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def compare(clip: Path, python: str, options: Sequence[str], rounds: int) -> dict[str, object]:
    """Measure both on one video, edgefer first in even rounds and last in odd ones."""
    commands = {
        "edgefer": [sys.executable, "-m", "edgefer", "run", "--source", str(clip), "--json", *options],
        "fer": [python, "-c", THEIRS, str(clip)],
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + 1):  # the first fills the caches of the disk and is not counted
        for name in sorted(commands, reverse=bool(number % 2)):
            run = watch(commands[name])
            print(f"  {clip.name} round {number} {name}: {run}", file=sys.stderr, flush=True)
            if number:
                runs[name].append(run)
    pairs = list(zip(runs["edgefer"], runs["fer"], strict=True))
    ratios = {
        "frames_per_second": spread([a.frames_per_second / b.frames_per_second for a, b in pairs]),
        "peak_mb": spread([b.peak_mb / a.peak_mb for a, b in pairs]),
        "first_answer_s": spread([b.first_answer_s / a.first_answer_s for a, b in pairs]),
    }
    found = {name: min(run.frames_with_a_face for run in done) for name, done in runs.items()}
    return {
        "clip": clip.name,
        "frames": runs["edgefer"][0].frames,
        "frames_with_a_face": found,
        "measured": {
            name: {field: spread([getattr(run, field) for run in done]) for field in GOALS}
            for name, done in runs.items()
        },
        "times_better": ratios,
        "goals_met": {field: ratios[field]["median"] >= goal for field, goal in GOALS.items()}
        | {"frames_with_a_face": found["edgefer"] >= found["fer"]},
        "runs": {name: [asdict(run) for run in done] for name, done in runs.items()},
    }


def table(results: Sequence[dict[str, object]]) -> str:
    """Return the figures as a Markdown table: median (least–most)."""

    def cell(value: dict[str, float]) -> str:
        return f"{value['median']:.3g} ({value['min']:.3g}–{value['max']:.3g})"

    rows = ["| video | | edgefer | fer | times better | goal |", "|---|---|---|---|---|---|"]
    for result in results:
        mine, theirs = result["measured"]["edgefer"], result["measured"]["fer"]  # type: ignore[index]
        for field, goal in GOALS.items():
            ratio = cell(result["times_better"][field])  # type: ignore[index]
            name = field.replace("_", " ")
            rows.append(
                f"| {result['clip']} | {name} | {cell(mine[field])} | {cell(theirs[field])} | {ratio} | {goal:g} |"
            )
        found = result["frames_with_a_face"]
        counts = [f"{found[name]} of {result['frames']}" for name in ("edgefer", "fer")]  # type: ignore[index]
        rows.append(f"| {result['clip']} | frames with a face | {counts[0]} | {counts[1]} | | not fewer |")
    return "\n".join(rows)


def versions(python: str) -> dict[str, str]:
    """Return the versions of what matters in a Python's environment."""
    done = subprocess.run([python, "-c", VERSIONS], capture_output=True, check=True, cwd=tempfile.gettempdir())
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, print the table, and write the record when asked; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--python", required=True, help="the Python of an environment that has fer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--options", default="", help="more for `edgefer run`, in one word, such as '--detector yunet'")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    results = [
        compare(clip.resolve(), arguments.python, arguments.options.split(), arguments.rounds)
        for clip in arguments.clips
    ]
    print(table(results))
    record = {
        "command": " ".join(["python", *sys.argv]),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "rounds": arguments.rounds,
        "versions": {"edgefer": versions(sys.executable), "fer": versions(arguments.python)},
        "goals": GOALS,
        "results": results,
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")
    missed = [(r["clip"], name) for r in results for name, met in r["goals_met"].items() if not met]  # type: ignore[attr-defined]
    if missed:
        raise SystemExit(f"missed: {missed}")


if __name__ == "__main__":
    main()
