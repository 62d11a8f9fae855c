"""What the detector gains in videos by remembering where faces were: photographs seen by a camera that is moved.

    python benchmarks/in_video.py --pictures FOLDER [--split NAME] [--bundle DETECTOR.edgefer] [--json RECORD.json]

Of each picture a clip is made: shifted, turned, zoomed and lit as by a hand that is not steady, with a sensor's noise.
Recall is of the faces whose middle is in the frame and whose box has the area of 24×24 pixels or more at 320×240, over
all frames; a find is right when it shares half with a face (intersection over union). With `--lower`, also what a lower
threshold would give instead.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from edgefer.boxes import iou
from edgefer.bundle import DetectorBundle, open_detector_bundle
from edgefer.commands._shared import bar
from edgefer.preprocess import read_picture
from edgefer.runtime.detectors.edge import open_edge
from edgefer.train import scenes

FRAMES = 24
SIDE = 640
"""Pixels of the longer side that larger pictures are brought down to."""
WIDTH, HEIGHT = 320, 240
LEAST = 24.0
RIGHT, IGNORED = 0.5, 0.3
"""Overlap with a face from which a find is right, and with a place without a label from which it does not count."""


@dataclass
class Row:
    """What one detector found in all clips."""

    detector: str
    threshold: float
    faces: int = 0
    found: int = 0
    false: int = 0
    """In clips with a face."""
    false_in_empty: int = 0
    """In clips without one."""

    @property
    def recall(self) -> float:
        return self.found / max(1, self.faces)


def clip(scene: scenes.Scene, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield frames, uint8 BGR [h, w, 3], with the boxes of faces and of what is ignored, [k, 4]."""
    image = read_picture(scene.path)
    if image is None:
        return
    factor = min(1.0, SIDE / max(image.shape[:2]))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    height, width = image.shape[:2]
    phases, speeds = rng.uniform(0, 2 * np.pi, 5), rng.uniform(0.5, 2, 5)
    for number in range(FRAMES):
        sway = np.sin(speeds * number / FRAMES * 2 * np.pi + phases)
        zoom = 1 + 0.12 * sway[0]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 4 * sway[3], zoom)
        matrix[:, 2] += 0.06 * width * sway[1], 0.06 * height * sway[2]
        frame = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        noise = rng.normal(0, 4, (height, width, 1))
        frame = np.clip(frame * (1 + 0.15 * sway[4]) + noise, 0, 255).astype(np.uint8)
        yield frame, *(moved(boxes * factor, matrix, zoom) for boxes in (scene.boxes, scene.ignore))


def moved(boxes: np.ndarray, matrix: np.ndarray, zoom: float) -> np.ndarray:
    """Return boxes [k, 4] where the picture's are after `matrix`, upright still."""
    sides = boxes[:, 2:] * zoom
    middles = (boxes[:, :2] + boxes[:, 2:] / 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate((middles - sides / 2, sides), axis=1).astype(np.float32)


def count(row: Row, found: np.ndarray, faces: np.ndarray, ignored: np.ndarray, shape: tuple[int, ...]) -> None:
    """Add a frame to `row`."""
    overlaps = iou(faces, found)
    lost = overlaps.max(axis=0, initial=0) < RIGHT
    lost &= iou(ignored, found).max(axis=0, initial=0) < IGNORED
    if not len(faces):
        row.false_in_empty += int(lost.sum())
        return
    row.false += int(lost.sum())
    scale = min(WIDTH / shape[1], HEIGHT / shape[0])
    middles = faces[:, :2] + faces[:, 2:] / 2
    wanted = (np.sqrt(faces[:, 2] * faces[:, 3]) * scale >= LEAST) & (middles >= 0).all(axis=1)
    wanted &= (middles < (shape[1], shape[0])).all(axis=1)
    row.faces += int(wanted.sum())
    row.found += int((overlaps.max(axis=1, initial=0)[wanted] >= RIGHT).sum())


def main() -> None:
    """Measure, print a table, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="scenes in any form that edgefer train reads")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--bundle", type=Path, help="of edgefer's own detector [default: the one that ships]")
    parser.add_argument("--lower", type=float, action="append", default=[], metavar="SCORE", help="another threshold")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bundle = open_detector_bundle(arguments.bundle)
    with bar("Reading labels") as progress:
        _, chosen = scenes.pick(scenes.read(arguments.pictures, progress), arguments.split)
    rows = measure(bundle, chosen, arguments.lower)
    print("| | threshold | recall | false faces beside others | in clips without a face |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.detector} | {row.threshold:g} | {row.recall:.4f} | {row.false} | {row.false_in_empty} |")
    empty = sum(not len(scene.boxes) for scene in chosen)
    print(f"{len(chosen) * FRAMES:,} frames, {empty * FRAMES:,} of them without a face; {rows[0].faces:,} faces")
    if arguments.json:
        record = {
            "command": shlex.join(["python", *sys.argv]),
            "bundle": {"name": bundle.name, "digest": bundle.digest()},
            "frames": len(chosen) * FRAMES,
            "frames_without_a_face": empty * FRAMES,
            "rows": [asdict(row) | {"recall": row.recall} for row in rows],
        }
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(bundle: DetectorBundle, chosen: list[scenes.Scene], lower: list[float]) -> list[Row]:
    """Return what is found frame by frame without memory, with it, and without it at lower thresholds."""
    kinds = [(False, bundle.threshold), (True, bundle.threshold), *((False, threshold) for threshold in lower)]
    detectors = [
        open_edge(replace(bundle, threshold=threshold), WIDTH, continuous=continuous) for continuous, threshold in kinds
    ]
    rows = [Row("with memory" if continuous else "frame by frame", threshold) for continuous, threshold in kinds]
    rng = np.random.default_rng(0)
    with bar("Frames") as progress:
        for done, scene in enumerate(chosen, start=1):
            for detector in detectors:
                detector.forget()
            for frame, faces, ignored in clip(scene, rng):
                for row, detector in zip(rows, detectors, strict=True):
                    count(row, detector.sure(frame).boxes, faces, ignored, frame.shape)
            progress(done, len(chosen))
    return rows


if __name__ == "__main__":
    main()
