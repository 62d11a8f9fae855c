"""One round of a benchmark, in a process of its own: load, the first run, warm-up, timed runs, memory.

`python -c "…; child.main()" TASK` reads a JSON object, and writes times and answer to files that it names. What it is
asked is in rounds.py. It has imported NumPy, OpenCV and edgefer, but no runtime, when its clock starts; the files have
just been read by the process that asks, so what a slow SD card adds is not in it. It ends when its standard input does:
then nobody waits for it any more.

Scope `pipeline` is a frame through detector, tracker, preprocessing, model and smoothing to a line of JSON, that of
`edgefer run --json`. Capture is not in it: a camera has its own pace, and drawn frames lie ready in memory.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import cartoon
from edgefer.bench.latency import Plan, time_runs
from edgefer.bench.steady import run_steadily
from edgefer.bench.subjects import Pixels, Subject
from edgefer.bundle import Bundle, open_bundle
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.engines import LoadedEngine, open_engine, passed_over
from edgefer.runtime.frames import Frame
from edgefer.runtime.pipeline import STAGES, Pipeline
from edgefer.runtime.sinks.jsonl import JsonLines
from edgefer.runtime.tracker import Tracker


def main() -> None:
    """Do what `sys.argv[1]` asks for and answer."""
    threading.Thread(target=_end_with_the_input, daemon=True).start()
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
    measured = _sustained(call, task) if task["plan"] is None else _timed(call, task, frames)
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
        **measured,
    }
    Path(task["answer"]).write_text(json.dumps(answer))


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


def _end_with_the_input() -> None:
    """Wait, at no cost, for the end of the process that asked: even one that was killed closes its pipe."""
    os.read(0, 1)
    os._exit(1)


def _timed(call: Callable[[], object], task: dict[str, Any], frames: _Frames | None) -> dict[str, Any]:
    times, seconds = time_runs(call, Plan(**task["plan"]))
    end = time.monotonic()  # the clock of the process that asks, too
    np.save(task["times"], times)
    found: dict[str, Any] = {"seconds": seconds, "begin": end - seconds, "end": end}
    if frames is not None:
        np.save(task["stages"], frames.stages(len(times)))
        found["faces_found"] = frames.found(len(times))
    return found


def _sustained(call: Callable[[], object], task: dict[str, Any]) -> dict[str, Any]:
    return {"steady": asdict(run_steadily(call, task["sustained"]))}


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
        # Flat arrays: dictionaries of a minute's frames would be some megabytes of the memory that is measured.
        self._stages = array("d")
        self._found = array("q")

    def __call__(self) -> None:
        frame = next(self._frames)
        result = self._pipeline.process(frame)
        start = time.perf_counter_ns()
        self._lines.write(frame, result)
        emit = (time.perf_counter_ns() - start) / 1e6
        self._stages.extend([*(result.stage_ms[name] for name in STAGES), emit])
        self._found.append(len(result.faces))

    def stages(self, runs: int) -> npt.NDArray[np.float64]:
        """Return the stages of the last `runs` frames and then `emit`, float64 [n, stages] in milliseconds."""
        return np.frombuffer(self._stages).reshape(-1, len(STAGES) + 1)[-runs:]

    def found(self, runs: int) -> float:
        """Return the mean number of faces in the last `runs` frames."""
        return float(np.mean(self._found[-runs:]))


def _endless(images: Pixels) -> Iterator[Frame]:
    for index in itertools.count():
        yield Frame(index, index / cartoon.FPS, images[index % len(images)])
