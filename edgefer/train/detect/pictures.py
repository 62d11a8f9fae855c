"""Scenes in memory: grey, each also at half, a quarter … of its size, so that views of any scale are cut smoothly."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.errors import DataError
from edgefer.preprocess import Pixels, read_picture
from edgefer.train.detect.targets import Labels
from edgefer.train.scenes import Progress, Scene

SMALLEST_LEVEL = 24
"""Pixels of the shorter side: no level is smaller."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A scene's pixels and labels."""

    levels: tuple[Pixels, ...]
    """uint8 [h, w] grey, each half as large as the one before."""
    labels: Labels
    """In pixels of the first level."""


def read_pictures(scenes: Sequence[Scene], most_side: int, progress: Progress | None = None) -> list[Picture]:
    """Return the scenes with their pixels, the longer side brought down to `most_side` where it is more.

    Raises DataError for a picture that cannot be read.
    """
    pictures: list[Picture] = []
    with ThreadPoolExecutor(2) as pool:
        waiting = iter(scenes)
        while chunk := list(islice(waiting, 64)):  # what fails is told soon, and little is read for nothing
            pictures += pool.map(lambda scene: _read(scene, most_side), chunk)
            if progress:
                progress(len(pictures), len(scenes))
    return pictures


def _read(scene: Scene, most_side: int) -> Picture:
    grey = grey_of(scene)
    scale = min(1.0, most_side / max(grey.shape))
    if scale < 1:
        size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)
    levels = [grey]
    while min(levels[-1].shape) >= 2 * SMALLEST_LEVEL:
        size = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
        levels.append(np.asarray(cv2.resize(levels[-1], size, interpolation=cv2.INTER_AREA), np.uint8))
    factor = np.float32(scale)
    labels = Labels(scene.boxes * factor, scene.landmarks * factor, scene.scores, scene.ignore * factor)
    return Picture(tuple(levels), labels)


def grey_of(scene: Scene) -> npt.NDArray[np.uint8]:
    """Return a scene's picture, uint8 [h, w] grey, as it is; raises DataError when it cannot be read."""
    colours = read_picture(scene.path)
    if colours is None:
        raise DataError(f"{scene.path} cannot be read as a picture; remove its labels, or get it again")
    return np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY), np.uint8)
