"""One round of a benchmark, in a process of its own: load, the first run, warm-up, timed runs, memory.

`python -c "…; child.main()" TASK` reads a JSON object, and writes times and answer to files that it names. What it is
asked is in rounds.py. It has imported NumPy, OpenCV and edgefer, but no runtime, when its clock starts; the files have
just been read by the process that asks, so what a slow SD card adds is not in it. It ends when its standard input does:
then nobody waits for it any more.

Scope `pipeline` is a frame through detector, tracker, preprocessing, model and smoothing to a line of JSON, that of
`edgefer run --json`; scope `detect` is a frame through a detector: letterbox, network, decoding, at the smaller size
too where it looks twice. Capture is not in it: a camera has its own pace, and drawn frames lie ready in memory.
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

from edgefer.bench.latency import Plan, time_runs
from edgefer.bench.opened import open_one
from edgefer.bench.steady import run_steadily
from edgefer.bench.subjects import Pixels, Subject
from edgefer.bundle import Bundle, DetectorBundle, Size, open_stored
from edgefer.cartoon.clip import FPS
from edgefer.runtime.detectors import DEFAULT, open_detector
from edgefer.runtime.detectors.edge import Edge, open_edge
from edgefer.runtime.engines import LoadedEngine, load, passed_over
from edgefer.runtime.frames import Frame
from edgefer.runtime.pipeline import STAGES, Pipeline
from edgefer.runtime.sinks.jsonl import JsonLines
from edgefer.runtime.tracker import Tracker


def main() -> None:
    """Do what `sys.argv[1]` asks for and answer."""
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    task = json.loads(sys.argv[1])
    subject = _subject(task["subject"])
    bundle = open_stored(Path(task["bundle"]))
    pictures = np.load(task["pictures"])
    base = memory_mib("VmRSS")
    start = time.perf_counter_ns()
    loaded, call = _opened(bundle, subject, pictures)
    ready = time.perf_counter_ns()
    call()
    first = time.perf_counter_ns()
    measured = _sustained(call, task) if task["plan"] is None else _timed(call, task)
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


def _subject(data: dict[str, Any]) -> Subject:
    size = None if data["size"] is None else tuple(data["size"])
    return Subject(**{**data, "providers": tuple(data["providers"]), "size": size})


def _opened(
    bundle: Bundle | DetectorBundle, subject: Subject, pictures: Pixels
) -> tuple[LoadedEngine, Callable[[], object]]:
    """Return what the subject runs in, and a call that is one run of it."""
    if subject.scope == "detect" and isinstance(bundle, DetectorBundle) and subject.size is not None:
        return _detector(bundle, subject, subject.size, pictures)
    loaded = open_one(
        bundle, subject.engine, subject.precision, subject.size, subject.threads, subject.providers, probe=False
    )
    if subject.scope == "pipeline" and isinstance(bundle, Bundle):
        return loaded, _Frames(loaded, bundle, subject.detector or DEFAULT, pictures)
    return loaded, _one_by_one(loaded, pictures)


def _detector(
    bundle: DetectorBundle, subject: Subject, size: Size, frames: Pixels
) -> tuple[LoadedEngine, Callable[[], object]]:
    detector = open_edge(bundle, size[1], subject.engine, subject.precision)
    artifact = bundle.sized(load(subject.engine).FORMAT, subject.precision, size)
    return LoadedEngine(detector.engine, subject.engine, artifact), _Detections(detector, frames)


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


def _timed(call: Callable[[], object], task: dict[str, Any]) -> dict[str, Any]:
    times, seconds = time_runs(call, Plan(**task["plan"]))
    end = time.monotonic()  # the clock of the process that asks, too
    np.save(task["times"], times)
    found: dict[str, Any] = {"seconds": seconds, "begin": end - seconds, "end": end}
    if isinstance(call, _Frames):
        np.save(task["stages"], call.stages(len(times)))
    if isinstance(call, (_Frames, _Detections)):
        found["faces_found"] = call.found(len(times))
    return found


def _sustained(call: Callable[[], object], task: dict[str, Any]) -> dict[str, Any]:
    return {"steady": asdict(run_steadily(call, task["sustained"]))}


def _one_by_one(loaded: LoadedEngine, pictures: Pixels) -> Callable[[], object]:
    """Return a call that takes one face crop, or one picture of a detector's, after the other through the engine."""
    run = loaded.engine.run
    following = itertools.cycle([pictures[i : i + 1] for i in range(len(pictures))]).__next__
    return lambda: run(following())


class _Detections:
    """One call = one frame through a detector, with how many faces were found kept for every call."""

    def __init__(self, detector: Edge, images: Pixels) -> None:
        self._detect = detector.detect
        self._following = itertools.cycle(list(images)).__next__
        self._found = array("q")

    def __call__(self) -> None:
        self._found.append(len(self._detect(self._following())))

    def found(self, runs: int) -> float:
        """Return the mean number of faces in the last `runs` frames."""
        return float(np.mean(self._found[-runs:]))


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
        yield Frame(index, index / FPS, images[index % len(images)])
