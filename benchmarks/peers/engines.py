"""One face through the same model: edgefer's engines, the loops that an expert would write by hand, and other tools.

    python benchmarks/peers/engines.py [BUNDLE] [--rounds 15] [--json RECORD.json]

One thread, one process; each round gives every contender a turn of half a second on the same drawn faces, and the
ratio to the runtime's own loop is taken within the round. "By hand" is the shortest code that gives probabilities as
float32: set the input, run, take the output and undo its quantisation, with nothing checked. OpenCV runs the float
ONNX model. The runtimes' own tools (`litert-benchmark`, `benchmark_app`) are processes of their own with made-up
input, run once after each fifth round. Exit code 1 when edgefer's engine costs more than 5 % and 20 microseconds over
the loop by hand.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import plugins
from edgefer.bench.subjects import drawn_faces
from edgefer.bundle import Bundle, open_bundle
from edgefer.runtime.engines import open_engine

SECONDS = 0.5
TOOL_ROUNDS = 5
MAX_SHARE, MAX_US = 0.05, 20.0
PACKAGES = ("ai-edge-litert", "onnxruntime", "openvino", "opencv-python-headless", "numpy")

Call = Callable[[Any], Any]


def contenders(bundle: Bundle) -> dict[str, dict[str, Call]]:
    """Return, by engine and precision, who takes a face uint8 [1, h, w, 1] to probabilities float32 [1, k]."""
    found: dict[str, dict[str, Call]] = {}
    for engine, by_hand in (("litert", litert), ("onnxruntime", onnxruntime), ("openvino", openvino)):
        for precision in ("int8", "fp32"):
            loaded = open_engine(bundle, engine, precision)
            contents = [bundle.read(f) for f in (loaded.artifact.file, *loaded.artifact.companions)]
            found[f"{engine} {precision}"] = {
                "edgefer": loaded.engine.run,
                "by hand": by_hand(contents),
            }
    for precision in ("int8", "fp32"):
        try:
            found[f"onnxruntime {precision}"]["OpenCV dnn"] = opencv(
                bundle.read(bundle.artifact("onnx", precision).file)
            )
        except Exception as error:  # OpenCV tells what it cannot run in exceptions of its own
            print(f"OpenCV dnn cannot run the {precision} ONNX: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
    return found


def litert(contents: Sequence[bytes]) -> Call:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=contents[0], num_threads=1)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero = wanted["quantization"]

    def run(face: Any) -> Any:
        interpreter.set_tensor(given["index"], face)
        interpreter.invoke()
        answer = interpreter.get_tensor(wanted["index"])
        return (answer.astype(np.float32) - zero) * scale if scale else answer

    return run


def onnxruntime(contents: Sequence[bytes]) -> Call:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(contents[0], options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda face: session.run(None, {name: face})[0]


def openvino(contents: Sequence[bytes]) -> Call:
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    model = core.read_model(model=contents[0], weights=contents[1])
    model.reshape([1, *[d.get_length() for d in list(model.input().partial_shape)[1:]]])
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(face: Any) -> Any:
        request.infer([face])
        return request.get_output_tensor().data.copy()

    return run


def opencv(content: bytes) -> Call:
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))

    def run(face: Any) -> Any:
        net.setInput(face)
        return net.forward()

    run(np.zeros((1, 48, 48, 1), np.uint8))
    return run


def turn(call: Call, faces: Any) -> float:
    """Return the median microseconds of a call over `SECONDS`."""
    following = itertools.cycle([faces[i : i + 1] for i in range(len(faces))]).__next__
    took = []
    end = time.perf_counter_ns() + SECONDS * 1e9
    while (now := time.perf_counter_ns()) < end:
        call(following())
        took.append(time.perf_counter_ns() - now)
    return statistics.median(took) / 1e3


def tool_commands(bundle: Bundle) -> dict[str, tuple[list[str], str]]:
    """Return the runtimes' own benchmark programs that are installed: command, and how they print milliseconds."""
    found: dict[str, tuple[list[str], str]] = {}
    folder = Path(sys.executable).parent
    for precision in ("int8", "fp32"):
        tflite, ir = (bundle.path / bundle.artifact(f, precision).path for f in ("tflite", "openvino"))
        program = shutil.which("litert-benchmark", path=f"{folder}:{os.environ.get('PATH', '')}")
        if program:
            command = [program, f"--model={tflite}", "--num_threads=1", "--num_runs=2000", "--warmup_runs=200"]
            found[f"litert {precision}"] = (command, r"\(median\):\s+([\d.]+)\s*(ms)")
        program = shutil.which("benchmark_app", path=f"{folder}:{os.environ.get('PATH', '')}")
        if program:
            command = [
                program,
                "-m",
                str(ir),
                "-d",
                "CPU",
                "-api",
                "sync",
                "-hint",
                "none",
                "-nthreads",
                "1",
                "-t",
                "3",
            ]
            command += ["-shape", "[1,48,48,1]", "-infer_precision", "f32", "-nstreams", "1"]
            found[f"openvino {precision}"] = (command, r"Median:\s+([\d.]+)\s*(ms|us)")
    return found


def tool(command: Sequence[str], pattern: str) -> float:
    """Return the median microseconds that a program prints; raises SystemExit when it fails or prints none."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
    found = re.search(pattern, done.stdout + done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return float(found[1]) * (1e3 if found[2] == "ms" else 1)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and most, rounded."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def measure(bundle: Bundle, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each contender: microseconds, and the ratio to the loop by hand."""
    everyone, faces, tools = contenders(bundle), drawn_faces(bundle), tool_commands(bundle)
    took: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for model, calls in everyone.items():
            for name in sorted(calls, reverse=bool(number % 2)):
                value = turn(calls[name], faces)
                if number:  # the first round warms up
                    took.setdefault((model, name), []).append(value)
        if number and number % TOOL_ROUNDS == 0:
            for model, (command, pattern) in tools.items():
                took.setdefault((model, Path(command[0]).name), []).append(tool(command, pattern))
        print(f"  round {number} of {rounds}", file=sys.stderr, flush=True)
    rows = []
    for (model, name), values in took.items():
        base = took[model, "by hand"]
        row: dict[str, Any] = {"model": model, "contender": name, "us": spread(values)}
        if name in everyone[model]:
            row["ratio"] = spread([v / b for v, b in zip(values, base, strict=True)])
            row["over_us"] = spread([v - b for v, b in zip(values, base, strict=True)])
        else:
            row["ratio"] = spread([v / statistics.median(base) for v in values])
        rows.append(row)
    return sorted(rows, key=lambda row: (row["model"], row["us"]["median"]))


def agreement(bundle: Bundle) -> dict[str, float]:
    """Return how far each contender is from the loop by hand of its model, at most: they do compute the same."""
    faces = drawn_faces(bundle)[:20]
    found = {}
    for model, calls in contenders(bundle).items():
        answers = {
            name: np.concatenate([call(faces[i : i + 1]) for i in range(len(faces))]) for name, call in calls.items()
        }
        for name, answer in answers.items():
            found[f"{model}: {name}"] = float(np.abs(answer - answers["by hand"]).max())
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table: median (least–most)."""

    def cell(value: dict[str, float] | None) -> str:
        return f"{value['median']:.4g} ({value['min']:.4g}–{value['max']:.4g})" if value else "–"

    lines = ["| model | who | µs a face | × by hand | µs more than by hand |", "|---|---|---|---|---|"]
    lines += [
        f"| {r['model']} | {r['contender']} | {cell(r['us'])} | {cell(r['ratio'])} | {cell(r.get('over_us'))} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    load = os.getloadavg()[0]
    differences = agreement(bundle)
    rows = measure(bundle, arguments.rounds)
    print(table(rows))
    record = {
        "command": " ".join(["python", *sys.argv]),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "python": platform.python_version(),
        "versions": plugins.versions(PACKAGES),
        "bundle": {"name": bundle.name, "digest": bundle.digest()},
        "rounds": arguments.rounds,
        "largest_difference": differences,
        "rows": rows,
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=1) + "\n")
    missed = [
        r["model"]
        for r in rows
        if r["contender"] == "edgefer" and r["ratio"]["median"] > 1 + MAX_SHARE and r["over_us"]["median"] > MAX_US
    ]
    if missed:
        raise SystemExit(f"edgefer's engine costs too much over the loop by hand: {missed}")


if __name__ == "__main__":
    main()
