"""Every artifact of several bundles side by side: accuracy, what it lost, agreement, size, and latency in one run.

    python benchmarks/optimize.py --data fer2013 [--reference A.edgefer] BUNDLE... > benchmarks/optimize/NAME.md

The validation split decides. Accuracy is lost against the reference's float32 TFLite artifact (without --reference:
the first bundle's). Latency is the median for one picture on one thread, in rounds in which every artifact runs in
turn, so that drift of the machine touches all alike; the ratio is taken within a round, against the reference's float
artifact in the same engine, and stands with its spread over the rounds.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import __version__, metrics
from edgefer.bundle import Artifact, Bundle, open_bundle
from edgefer.optimize import exporters
from edgefer.runtime.engines import open_engine
from edgefer.train import data as datasets
from edgefer.train.data import prepare

ROUNDS, PICTURES = 15, 60


@dataclass
class Row:
    bundle: Bundle
    artifact: Artifact
    engine: Any
    name: str
    said: Any
    rounds: list[float]

    @property
    def made(self) -> str:
        """How it came to be."""
        made = self.bundle.metrics[self.artifact.path].get("quantisation")
        if made is None:
            return ""
        own = "" if made["method"] == "qat" or made.get("quantiser") == "shared" else ", own quantiser"
        return ("QAT" if made["method"] == "qat" else f"PTQ {made['method']}") + own


def rows_of(bundle: Bundle, faces: Any) -> list[Row]:
    rows = []
    for artifact in bundle.artifacts:
        if artifact.format == "keras":
            continue
        engine = open_engine(bundle, exporters.load(artifact.format).ENGINE, artifact.precision).engine
        name = f"{bundle.name} {artifact.format} {artifact.precision}"
        print(f"running {name}", file=sys.stderr)
        rows.append(Row(bundle, artifact, engine, name, engine.run(faces), []))
    return rows


def measure(rows: list[Row], faces: Any) -> None:
    for number in range(ROUNDS + 1):
        for row in rows:
            taken = []
            for k in range(PICTURES):
                one = faces[(number * PICTURES + k) % len(faces)][None]
                start = time.perf_counter()
                row.engine.run(one)
                taken.append(time.perf_counter() - start)
            if number:  # the first round warms up
                row.rounds.append(1000 * statistics.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reference", type=Path)
    options = parser.parse_args()
    first = open_bundle(options.reference or options.bundles[0])
    _, validation = prepare.as_trained(datasets.read(options.data), first.recipe)
    validation = validation.ordered(first.labels)
    faces, truth = validation.images[..., None], validation.labels
    rows = [row for path in options.bundles for row in rows_of(open_bundle(path), faces)]
    floats = rows_of(first, faces) if options.reference else rows
    base = {r.artifact.format: r for r in floats if r.bundle.path == first.path and r.artifact.precision == "fp32"}
    timed = [*rows, *(r for r in base.values() if r not in rows)]
    measure(timed, faces)
    float_said = base["tflite"].said
    float_right = float((float_said.argmax(axis=1) == truth).mean())
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print(
        f"edgefer {__version__}, Python {platform.python_version()}, {platform.machine()}, {len(truth)} faces;"
        f" float: {float_right:.4f}. One face is {100 / len(truth):.3f} points.\n"
    )
    print("| bundle | format | precision | made by | accuracy | lost | p | same label | bytes | gzip | ms | ÷ float |")
    print("|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        right = float((row.said.argmax(axis=1) == truth).mean())
        p = metrics.mcnemar(float_said, row.said, truth).p
        same = 100 * metrics.agree(row.said, float_said).top1
        files = (row.artifact.file, *row.artifact.companions)
        packed = len(gzip.compress(b"".join(row.bundle.read(f) for f in files), 9))
        ratios = sorted(a / b for a, b in zip(row.rounds, base[row.artifact.format].rounds, strict=True))
        cells = [row.bundle.name, row.artifact.format, row.artifact.precision, row.made, f"{right:.4f}"]
        cells += [f"{100 * (float_right - right):+.2f}", f"{p:.2f}", f"{same:.2f} %", f"{row.artifact.bytes:,}"]
        cells += [f"{packed:,}", f"{statistics.median(row.rounds):.3f}"]
        cells.append(f"{statistics.median(ratios):.2f} ({ratios[1]:.2f}–{ratios[-2]:.2f})")
        print("| " + " | ".join(cells) + " |")
    agreements(rows)


def agreements(rows: list[Row]) -> None:
    """Print on how many faces the int8 forms of one bundle give the same label."""
    print("\n| int8 of | formats | same label | mean difference | largest |\n|---|---|---:|---:|---:|")
    int8 = [row for row in rows if row.artifact.precision == "int8"]
    for one, other in itertools.combinations(int8, 2):
        if one.bundle.path != other.bundle.path:
            continue
        away = np.abs(one.said - other.said)
        same = 100 * metrics.agree(one.said, other.said).top1
        formats = f"{one.artifact.format}, {other.artifact.format}"
        print(f"| {one.bundle.name} | {formats} | {same:.2f} % | {away.mean():.5f} | {away.max():.4f} |")


if __name__ == "__main__":
    main()
