"""One round of a benchmark, in a process of its own: load, the first run, warm-up, timed runs, memory.

`python -c "…; child.main()" TASK` reads a JSON object, writes the times to a file that it names, and answers with a
line of JSON on standard output. What it is asked is in rounds.py. It has imported NumPy and edgefer, but no runtime,
when its clock starts; the files have just been read by the process that asks, so what a slow SD card adds is not in it.

Scope `pipeline` is a frame through detector, tracker, preprocessing, model and smoothing to a line of JSON, that of
`edgefer run --json`. Capture is not in it: a camera has its own pace, and drawn frames lie ready in memory.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import cartoon
from edgefer.bench.latency import Nanoseconds, Plan, time_for, time_runs
from edgefer.bench.subjects import Pixels, Subject
from edgefer.bundle import Bundle, open_bundle
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.engines import LoadedEngine, open_engine, passed_over
from edgefer.runtime.frames import Frame
from edgefer.runtime.pipeline import STAGES, Pipeline
from edgefer.runtime.sinks.jsonl import JsonLines
from edgefer.runtime.tracker import Tracker

EMIT = "emit"


def main() -> None:
    """Do what `sys.argv[1]` asks for and answer."""
    task = json.loads(sys.argv[1])
    subject = Subject(**{**task["subject"], "providers": tuple(task["subject"]["providers"])})
    bundle = open_bundle(Path(task["bundle"]))
    pictures = np.load(task["pictures"])
    base = memory_mib("VmRSS")
    start = time.perf_counter_ns()
    loaded = open_engine(bundle, subject.engine, subject.precision, subject.threads, subject.providers, probe=False)
    call: Callable[[], object]
    if subject.scope == "pipeline":
        call = frames = _Frames(loaded, bundle, subject.detector or "haar", pictures)
    else:
        call, frames = _faces(loaded, pictures), None
    ready = time.perf_counter_ns()
    call()
    first = time.perf_counter_ns()
    times, seconds = _times(call, task)
    np.save(task["times"], times)
    answer: dict[str, Any] = {
        "engine_version": loaded.engine.version,
        "provider": loaded.engine.provider,
        "provider_wanted": subject.providers[0] if passed_over(loaded, subject.providers) else None,
        "artifact": loaded.artifact.path,
        "bytes": loaded.artifact.bytes,
        "load_ms": (ready - start) / 1e6,
        "first_ms": (first - ready) / 1e6,
        "base_mib": base,
        "peak_mib": memory_mib("VmHWM"),
        "seconds": seconds,
    }
    if frames is not None:
        frames.save(Path(task["stages"]), len(times))
        answer["faces_found"] = frames.found(len(times))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


def memory_mib(field: str) -> float | None:
    """Return this process's memory as the kernel tells it, such as `VmHWM`, its peak; None where it does not.

    Not getrusage's: there a process inherits the peak of the one that started it.
    """
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def _times(call: Callable[[], object], task: dict[str, Any]) -> tuple[Nanoseconds, float]:
    if task["sustained"] is not None:
        return time_for(call, 2, task["sustained"])
    return time_runs(call, Plan(**task["plan"]))


def _faces(loaded: LoadedEngine, faces: Pixels) -> Callable[[], object]:
    """Return a call that takes one face crop after the other through the engine."""
    run = loaded.engine.run
    following = itertools.cycle([faces[i : i + 1] for i in range(len(faces))]).__next__
    return lambda: run(following())


class _Frames:
    """One call = one frame, with what each stage took and how many faces were found kept for every call."""

    def __init__(self, loaded: LoadedEngine, bundle: Bundle, detector: str, images: Pixels) -> None:
        self._pipeline = Pipeline(
            loaded.engine, bundle.labels, bundle.preprocess, open_detector(detector, continuous=True), Tracker()
        )
        self._frames = _endless(images)
        self._lines = JsonLines(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        self._stages: list[dict[str, float]] = []
        self._found: list[int] = []

    def __call__(self) -> None:
        frame = next(self._frames)
        result = self._pipeline.process(frame)
        start = time.perf_counter_ns()
        self._lines.write(frame, result)
        emit = (time.perf_counter_ns() - start) / 1e6
        self._stages.append({**result.stage_ms, EMIT: emit})
        self._found.append(len(result.faces))

    def save(self, path: Path, runs: int) -> None:
        """Write the stages of the last `runs` frames, float64 [n, stages] in milliseconds."""
        np.save(path, np.array([[times[s] for s in (*STAGES, EMIT)] for times in self._stages[-runs:]]))

    def found(self, runs: int) -> float:
        """Return the mean number of faces in the last `runs` frames."""
        return float(np.mean(self._found[-runs:]))


def _endless(images: Pixels) -> Iterator[Frame]:
    for index in itertools.count():
        yield Frame(index, index / cartoon.FPS, images[index % len(images)])
