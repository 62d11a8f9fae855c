"""Whether faces are to be turned upright by the eyes that the detector sees, before their emotion is read.

    python benchmarks/alignment.py --data publictest.npz [--model edge-m] [--detector DETECTOR.edgefer] [--json FILE]

FER2013's pictures are faces cut out, so each is put, enlarged, into a plain picture (its border goes on), turned by a
known angle, found by the detector and read by the model: with the box alone, and
turned upright where the eyes say that it is tilted by some degrees or more. Accuracy is that of
the same faces, found at that angle; `natural` is a mean over angles as heads have them (normal, 8°).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np

from edgefer.bundle import open_bundle, open_detector_bundle
from edgefer.metrics import mcnemar
from edgefer.preprocess import tilt
from edgefer.runtime.detectors import edge
from edgefer.runtime.engines import open_engine
from edgefer.train import data as datasets

ANGLES = (-30, -20, -10, -5, 0, 5, 10, 20, 30)
FACE, CANVAS = 96, 240
NATURAL = 8.0
FROM = (5, 8, 10, 12)
"""Degrees of tilt, by the eyes, from which a face is turned."""


def placed(face: np.ndarray, angle: float) -> np.ndarray:
    """Return a face, uint8 [48, 48], as uint8 BGR [CANVAS, CANVAS, 3], turned clockwise by `angle` degrees."""
    large = cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
    rim = (CANVAS - FACE) // 2
    whole = cv2.copyMakeBorder(large, rim, rim, rim, rim, cv2.BORDER_REPLICATE)
    blurred = cv2.GaussianBlur(whole, (0, 0), 9)
    blurred[rim:-rim, rim:-rim] = large
    matrix = cv2.getRotationMatrix2D((CANVAS / 2 - 0.5, CANVAS / 2 - 0.5), -angle, 1.0)
    turned = cv2.warpAffine(blurred, matrix, (CANVAS, CANVAS), borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(turned, cv2.COLOR_GRAY2BGR)


def main() -> None:
    """Measure, print the table, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split")
    parser.add_argument("--model", default="edge-m")
    parser.add_argument("--detector", type=Path, help="a detector's bundle [the one that ships]")
    parser.add_argument("--faces", type=int, default=1200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.model)
    engine = open_engine(bundle, "litert").engine
    edge.ALIGN_FROM = 0.0
    detector = open_detector_bundle(arguments.detector)
    finder = edge.open_edge(detector, edge.VIDEO_SIDE)
    pairs = (("bundle", bundle), ("detector", detector))
    identities = {what: {"name": one.name, "digest": one.digest()} for what, one in pairs}
    _, faces = datasets.pick(datasets.read(arguments.data), arguments.split)
    faces = faces.ordered(bundle.labels)
    rows = np.random.default_rng(1).permutation(len(faces))[: arguments.faces]
    table = []
    for angle in ANGLES:
        labels, upright, plain, tilts = [], [], [], []
        for row in rows:
            picture = placed(faces.images[row], angle)
            found = max(finder.detect(picture), key=lambda face: face.score, default=None)
            if found is None:
                continue
            labels.append(faces.labels[row])
            tilts.append(tilt(found.eyes))
            upright.append(bundle.preprocess(picture, found.box, found.eyes))
            plain.append(bundle.preprocess(picture, found.box))
        said = [engine.run(np.stack(inputs)) for inputs in (plain, upright)]
        turned = np.abs(np.array(tilts))
        answers = {"plain": said[0]}
        answers |= {f"from_{least}": np.where((turned >= least)[:, None], said[1], said[0]) for least in FROM}
        row_of = {"angle": angle, "found": len(labels) / len(rows), "tilt_said": float(np.median(tilts))}
        row_of |= {name: float((answer.argmax(axis=1) == labels).mean()) for name, answer in answers.items()}
        row_of |= {f"p_{least}": mcnemar(said[0], answers[f"from_{least}"], np.array(labels)).p for least in FROM}
        table.append(row_of)
    weights = np.exp(-0.5 * (np.array(ANGLES) / NATURAL) ** 2)
    columns = ["found", "plain", *(f"from_{least}" for least in FROM)]
    natural = {name: float(np.average([row[name] for row in table], weights=weights)) for name in columns}
    heads = " | ".join(f"eyes from {least}° (p)" for least in FROM)
    print(f"| turned by | found | tilt said, median | box alone | {heads} |\n|---|---|---|---|{'---|' * len(FROM)}")
    for row in table:
        cells = " | ".join(f"{row[f'from_{least}']:.3f} ({row[f'p_{least}']:.2g})" for least in FROM)
        print(f"| {row['angle']}° | {row['found']:.3f} | {row['tilt_said']:.0f}° | {row['plain']:.3f} | {cells} |")
    cells = " | ".join(f"{natural[f'from_{least}']:.4f}" for least in FROM)
    print(f"| natural | {natural['found']:.3f} | | {natural['plain']:.4f} | {cells} |")
    if arguments.json:
        record = (
            {"command": shlex.join(["python", *sys.argv])}
            | identities
            | {"faces": len(rows), "rows": table, "natural": natural}
        )
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
