"""What each face detector finds and costs: labelled pictures, and videos frame by frame.

    python benchmarks/detectors.py --pictures FOLDER --model yunet.onnx CLIP.mp4 ... [--json RECORD.json]

FOLDER has `pictures.jsonl` and `pictures/`: a line a picture with `file`, `kind` (`faces` or another word for none),
`faces` (boxes [x, y, w, h, …]) and `ignore` (boxes that count neither way). A find is right when it overlaps a labelled
face by 0.4 (intersection over union). In videos, which have no labels, YuNet on the full picture stands for the truth.
`demo` is a clip too. Detectors get one picture after the other, in a process of their own with OpenCV's own threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2

from edgefer.preprocess import Box, Pixels, read_picture
from edgefer.runtime.detectors import haar, open_detector, yunet
from edgefer.runtime.frames import FaceDetector
from edgefer.runtime.sources import open_source
from edgefer.runtime.tracker import overlap

RIGHT = 0.4
SEED = 1
REFERENCE = "yunet, full size"


def detectors(model: Path, continuous: bool) -> dict[str, Callable[[], FaceDetector]]:
    """Return name → how to open it: the ones that a run takes, and what they are made of."""
    contents = model.read_bytes()
    chosen: dict[str, Callable[[], FaceDetector]] = {
        "haar": lambda: open_detector("haar", continuous=continuous),
        "yunet": lambda: open_detector("yunet", model, continuous=continuous),
    }
    if continuous:
        chosen["haar, whole frame each time"] = lambda: haar.Haar(haar.VIDEO)
        chosen[REFERENCE] = lambda: yunet.YuNet(contents, "model", 4096)
    else:
        chosen["haar, as in videos"] = lambda: haar.Haar(haar.VIDEO)
        chosen["yunet, as in videos"] = lambda: yunet.YuNet(contents, "model", yunet.VIDEO_SIDE)
    return chosen


def labelled(folder: Path, faces: int, none: int) -> list[tuple[Pixels, list[Box], list[Box]]]:
    """Return pictures with their faces and the boxes to ignore, drawn from those that no setting was chosen on."""
    rows = [json.loads(line) for line in (folder / "pictures.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["file"][0] not in "01"]
    draw = random.Random(SEED)
    chosen = draw.sample([row for row in rows if row["kind"] == "faces"], faces)
    chosen += draw.sample([row for row in rows if row["kind"] != "faces"], none)
    pictures = []
    for row in chosen:
        picture = read_picture(folder / "pictures" / row["file"])
        if picture is None:
            raise SystemExit(f"{row['file']} cannot be read")
        pictures.append((picture, *([Box(*map(round, box[:4])) for box in row[key]] for key in ("faces", "ignore"))))
    return pictures


def matched(found: Sequence[Box], faces: Sequence[Box]) -> int:
    """Return how many of the faces were found, each by a find of its own."""
    left = list(faces)
    for box in found:
        best = max(left, key=lambda face: overlap(box, face), default=None)
        if best is not None and overlap(box, best) >= RIGHT:
            left.remove(best)
    return len(faces) - len(left)


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """Return the mean, median and 99th percentile, rounded."""
    return {
        "mean": round(statistics.fmean(values), 2),
        "p50": round(statistics.median(values), 2),
        "p99": round(sorted(values)[int(len(values) * 0.99)], 2),
    }


def on_pictures(detector: FaceDetector, pictures: Sequence[tuple[Pixels, list[Box], list[Box]]]) -> dict[str, object]:
    """Return recall, precision and milliseconds."""
    right = finds = faces = 0
    times = []
    for picture, labels, ignored in pictures:
        start = time.perf_counter()
        found = [face.box for face in detector.detect(picture)]
        times.append((time.perf_counter() - start) * 1000)
        hits = matched(found, labels)
        beside = [box for box in found if all(overlap(box, face) < RIGHT for face in labels)]
        right, faces = right + hits, faces + len(labels)
        finds += len(found) - sum(any(overlap(box, other) >= 0.3 for other in ignored) for box in beside)
    return {
        "faces": faces,
        "recall": round(right / faces, 3),
        "precision": round(right / max(finds, 1), 3),
        "ms": milliseconds(times),
    }


def frames(clip: str, most: int) -> Iterator[Pixels]:
    """Yield the pictures of a video."""
    with open_source(clip) as source:
        yield from (frame.image for frame in islice(source, most))


def on_clip(open_it: Callable[[], FaceDetector], clip: str, most: int) -> tuple[list[list[Box]], dict[str, float]]:
    """Return the boxes of every frame and what they cost."""
    detector, times, boxes = open_it(), [], []
    for picture in frames(clip, most):
        start = time.perf_counter()
        boxes.append([face.box for face in detector.detect(picture)])
        times.append((time.perf_counter() - start) * 1000)
    return boxes, milliseconds(times)


def compare(found: Sequence[Sequence[Box]], truth: Sequence[Sequence[Box]]) -> dict[str, object]:
    """Return how a detector's finds in a video stand to the reference's."""
    right = sum(matched(boxes, faces) for boxes, faces in zip(found, truth, strict=True))
    return {
        "frames": len(found),
        "frames_with_a_face": sum(map(bool, found)),
        "recall": round(right / max(sum(map(len, truth)), 1), 3),
        "precision": round(right / max(sum(map(len, found)), 1), 3),
    }


def main() -> None:
    """Measure, print the tables, and write the record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*")
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="a YuNet model")
    parser.add_argument("--faces", type=int, default=400, help="pictures with faces")
    parser.add_argument("--none", type=int, default=150, help="pictures without")
    parser.add_argument("--frames", type=int, default=500, help="of each video at most")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    pictures = labelled(arguments.pictures, arguments.faces, arguments.none)
    still = {name: on_pictures(open_it(), pictures) for name, open_it in detectors(arguments.model, False).items()}
    print("| pictures | recall | precision | ms mean | p50 | p99 |\n|---|---|---|---|---|---|")
    for name, row in still.items():
        ms = row["ms"]
        print(f"| {name} | {row['recall']} | {row['precision']} | " + " | ".join(str(v) for v in ms.values()) + " |")  # type: ignore[attr-defined]

    moving: dict[str, dict[str, object]] = {}
    print("\n| video | detector | frames with a face | recall | precision | ms mean | p50 | p99 |")
    print("|---|---|---|---|---|---|---|---|")
    for clip in arguments.clips:
        runs = {n: on_clip(o, clip, arguments.frames) for n, o in detectors(arguments.model, True).items()}
        truth = runs[REFERENCE][0]
        label = Path(clip).name
        moving[label] = {}
        for name, (boxes, ms) in runs.items():
            row = compare(boxes, truth)
            moving[label][name] = row | {"ms": ms}
            print(
                f"| {label} | {name} | {row['frames_with_a_face']} of {row['frames']} | {row['recall']} |"
                f" {row['precision']} | " + " | ".join(str(v) for v in ms.values()) + " |"
            )
    record = {
        "command": " ".join(["python", *sys.argv]),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "opencv": cv2.__version__,
        "opencv_threads": cv2.getNumThreads(),
        "load": round(os.getloadavg()[0], 2),
        "pictures": {"with_faces": arguments.faces, "without": arguments.none, "seed": SEED, "detectors": still},
        "videos": moving,
    }
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
