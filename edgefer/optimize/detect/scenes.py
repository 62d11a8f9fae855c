"""Scenes as a detector's network gets them, which of them calibrate, and how they go to another process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgefer.average_precision import Picture
from edgefer.bundle import Size
from edgefer.errors import ExportError
from edgefer.grid import Floats, Found
from edgefer.letterbox import Letterbox
from edgefer.preprocess import Pixels
from edgefer.train.detect.pictures import grey_of
from edgefer.train.scenes import Scene

MIN_SCENES = 32
"""Fewer show too little of what pictures look like for ranges that hold."""
CHOOSING_SCENES = 512
CALIBRATION_PIXELS = 40_000_000
"""Of all pictures that int8 is calibrated on, at most: a large one shows as much as several small ones."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A scene as the network gets it, boxes in pixels of that picture."""

    pixels: Pixels
    """uint8 [h, w, 1]."""
    faces: Floats
    ignore: Floats

    def judged(self, found: Found) -> Picture:
        """Return what was found beside what is there."""
        return Picture(found.boxes, found.scores, self.faces, self.ignore)


def shown(scenes: Sequence[Scene], size: Size) -> Iterator[Shown]:
    """Yield each scene letterboxed to `size`, height and width; raises DataError for a picture that cannot be read."""
    letterbox = Letterbox(*size)
    for scene in scenes:
        pixels, placed = letterbox(grey_of(scene))
        factors = np.array([placed.scale_x, placed.scale_y] * 2, np.float32)
        yield Shown(pixels, scene.boxes * factors, scene.ignore * factors)


def pictures(scenes: Sequence[Scene], size: Size) -> Pixels:
    """Return scenes letterboxed, uint8 [n, h, w, 1]."""
    return np.stack([one.pixels for one in shown(scenes, size)])


def enough(size: Size) -> int:
    """Return how many scenes of a size are enough to calibrate on."""
    return max(MIN_SCENES, CALIBRATION_PIXELS // (size[0] * size[1]))


def divided(train: Sequence[Scene], count: int, seed: int = 0) -> tuple[list[Scene], list[Scene]]:
    """Return `count` training scenes to calibrate on, and others to choose between calibrations by.

    Scenes with faces and without take turns as far as there are any. Where training has too few scenes for both, the
    same ones choose. Raises ExportError when `count`, or what training has, is below `MIN_SCENES`.
    """
    if min(count, len(train)) < MIN_SCENES:
        raise ExportError(
            f"calibration needs at least {MIN_SCENES} training scenes, found {min(count, len(train))};"
            " give more pictures"
        )
    rng = np.random.default_rng(seed)
    with_faces = np.array([len(scene.boxes) > 0 for scene in train])
    turn = np.empty(len(train), np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(with_faces == kind)
        turn[rows] = rng.permutation(len(rows))
    ordered = [train[i] for i in np.lexsort((~with_faces, turn))]
    rest = ordered[count : count + CHOOSING_SCENES]
    enough = len(rest) >= MIN_SCENES and any(len(scene.boxes) for scene in rest)
    return ordered[:count], rest if enough else ordered[:CHOOSING_SCENES]


def write(path: Path, scenes: Sequence[Scene]) -> None:
    """Write what `read` reads: where the pictures are, and their boxes; raises OSError."""
    plain = [
        {
            "name": scene.name,
            "path": str(scene.path.absolute()),
            "boxes": scene.boxes.tolist(),
            "ignore": scene.ignore.tolist(),
        }
        for scene in scenes
    ]
    path.write_text(json.dumps(plain), encoding="ascii")


def read(path: Path) -> list[Scene]:
    """Return the scenes that `write` wrote, without landmarks and scores."""
    return [
        Scene(
            name=entry["name"],
            path=Path(entry["path"]),
            boxes=_boxes(entry["boxes"]),
            landmarks=np.full((len(entry["boxes"]), 5, 2), np.nan, np.float32),
            scores=np.ones(len(entry["boxes"]), np.float32),
            ignore=_boxes(entry["ignore"]),
        )
        for entry in json.loads(path.read_text(encoding="ascii"))
    ]


def _boxes(rows: list[list[float]]) -> Floats:
    return np.array(rows, np.float32).reshape(-1, 4)
