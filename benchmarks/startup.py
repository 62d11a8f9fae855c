"""Start-up and memory of the device side, each in fresh processes.

    python benchmarks/startup.py [--runs 7] [--json benchmarks/records/startup-HOST.json]

Prints the median and the spread of: `import edgefer` over bare Python; `edgefer run --source demo --json` to its first
line; its peak resident memory over 100 frames.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUN = [sys.executable, "-m", "edgefer", "run", "--source", "demo:100", "--json"]


def seconds(code: str) -> float:
    """Return the wall time of a fresh Python that runs `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def first_line() -> float:
    """Return the seconds from starting `edgefer run` to its first line of output."""
    start = time.perf_counter()
    with subprocess.Popen(RUN, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        elapsed = time.perf_counter() - start
        process.stdout.read()
    return elapsed


def peak_megabytes() -> float:
    """Return the peak resident memory of `edgefer run` over 100 frames."""
    code = f"import subprocess, resource; subprocess.run({RUN!r}, stdout=-3, stderr=-3, check=True);"
    code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) / 1024


def summary(values: list[float]) -> dict[str, float]:
    """Return median, least and most, rounded."""
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def main() -> None:
    """Measure, print, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    # Bare and with the import in turn, so that drift of the machine touches both.
    pairs = [(seconds("pass"), seconds("import edgefer")) for _ in range(arguments.runs + 1)][1:]
    record = {
        "command": " ".join([Path(sys.executable).name, *sys.argv]),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "runs": arguments.runs,
        "import_edgefer_over_bare_python_ms": summary([1000 * (b - a) for a, b in pairs]),
        "run_first_result_s": summary([first_line() for _ in range(arguments.runs)]),
        "run_peak_resident_mb": summary([peak_megabytes() for _ in range(3)]),
    }
    text = json.dumps(record, indent=2)
    print(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
