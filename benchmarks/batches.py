"""Several faces in a frame: what each engine takes for 1, 3, 8 and 20 of them, given at once and one by one.

    python benchmarks/batches.py [BUNDLE] [--rounds 20] [--json benchmarks/records/batches-HOST.json]

One thread, int8, drawn faces. In each round every engine has every number of faces in turn, so that drift of the
machine and other work on it touch all alike; a round's figure is the median of its calls. Prints the median of the
rounds, and the least and the most: milliseconds, and how many times litert's of the same round and way that is, which
is the steadier figure where other work runs. An engine may run faces singly although it gets them at once: see
edgefer/runtime/engines/_batches.py. onnxruntime does so on a CPU; `onnxruntime batched` is what it would take
otherwise.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import cartoon, plugins
from edgefer.bundle import Bundle, open_bundle
from edgefer.devices import board
from edgefer.runtime.engines import Engine, Pictures, installed_engines, load, open_engine
from edgefer.runtime.engines._batches import Batches

SIZES = (1, 3, 8, 20)
CALLS, WARM = 40, 5
"""Of each case in a round; timed, and before them."""
PACKAGES = ("edgefer", "numpy", "ai-edge-litert", "tflite-runtime", "onnxruntime", "openvino")
Case = tuple[str, str, int]
"""Engine, way, number of faces."""
Results = dict[str, dict[str, dict[str, dict[str, float]]]]


def at_once(engine: Engine, faces: Pictures) -> None:
    engine.run(faces)


def one_by_one(engine: Engine, faces: Pictures) -> None:
    for i in range(len(faces)):
        engine.run(faces[i : i + 1])


WAYS: dict[str, Callable[[Engine, Pictures], None]] = {"at once": at_once, "one by one": one_by_one}


def cases(bundle: Bundle) -> dict[Case, Callable[[], None]]:
    """Return what is to be timed, for every installed engine that the bundle has an int8 model for.

    What is compared stands side by side, so that it is timed in the same moment.
    """
    images, _ = cartoon.dataset(per_class=3, seed=0)
    faces = np.stack([bundle.preprocess(image) for image in images])[: max(SIZES)]
    formats = {artifact.format for artifact in bundle.artifacts if artifact.precision == "int8"}
    names = [name for name in installed_engines() if load(name).FORMAT in formats]
    engines = {name: open_engine(bundle, name, "int8", threads=1).engine for name in names}
    if "onnxruntime" in names:
        engines["onnxruntime batched"] = batched(open_engine(bundle, "onnxruntime", "int8", threads=1).engine)
    return {
        (name, way, size): functools.partial(WAYS[way], engine, faces[:size])
        for size, way, (name, engine) in itertools.product(SIZES, WAYS, engines.items())
    }


def batched(engine: Any) -> Any:
    """Return an engine of onnxruntime that gives the session all faces at once, whatever becomes of their last bits."""
    engine._batches = Batches(engine._call, max(SIZES))
    return engine


def milliseconds(call: Callable[[], None]) -> float:
    """Return the median of some calls, after some that are not timed."""
    for _ in range(WARM):
        call()
    took = []
    for _ in range(CALLS):
        start = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - start) / 1e6)
    return statistics.median(took)


def summary(values: list[float]) -> dict[str, float]:
    """Return median, least and most, rounded."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def nested(times: dict[Case, list[float]]) -> Results:
    """Return the summaries by engine, way and number of faces."""
    results: Results = {}
    for (engine, way, size), values in times.items():
        results.setdefault(engine, {}).setdefault(way, {})[str(size)] = summary(values)
    return results


def table(title: str, results: Results) -> str:
    """Return the figures as a Markdown table."""
    lines = [f"| {title} | | " + " | ".join(f"{size} faces" if size > 1 else "1 face" for size in SIZES) + " |"]
    lines.append("|---|---|" + "---|" * len(SIZES))
    for engine, ways in results.items():
        for way, sizes in ways.items():
            cells = [f"{s['median']:.2f} ({s['min']:.2f}–{s['max']:.2f})" for s in sizes.values()]
            lines.append(f"| {engine} | {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, help="[default: the one that ships]")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    before = os.getloadavg()[0]
    todo = cases(bundle)
    times: dict[Case, list[float]] = {case: [] for case in todo}
    for _ in range(arguments.rounds):
        for case, call in todo.items():
            times[case].append(milliseconds(call))
    ratios = {
        (engine, way, size): [ours / litert for ours, litert in zip(values, times["litert", way, size], strict=True)]
        for (engine, way, size), values in times.items()
        if engine != "litert"
    }
    print(table("ms", nested(times)), table("times litert's", nested(ratios)), sep="\n\n")
    record = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "bundle": bundle.path.name,
        "precision": "int8",
        "threads": 1,
        "machine": platform.machine(),
        "cpu": board.cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": plugins.versions(PACKAGES),
        "load_average": [round(before, 2), round(os.getloadavg()[0], 2)],
        "nice": os.nice(0),
        "rounds": arguments.rounds,
        "calls": CALLS,
        "ms": nested(times),
        "times_litert": nested(ratios),
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
