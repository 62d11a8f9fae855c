"""Scenes with drawn heads, which all of these suites train and look on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgefer import cartoon
from edgefer.labels import FER2013_LABELS

Drawing = Callable[..., Path]


@pytest.fixture(scope="session")
def draw_scenes(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    """Return a function that writes a folder of drawn scenes in edgefer's own form.

    `draw_scenes(train=12, validation=6, empty=3)`: so many pictures with heads of each split, and without one.
    """
    return lambda **counts: draw(tmp_path_factory.mktemp("scenes"), **counts)


def draw(folder: Path, train: int = 12, validation: int = 6, empty: int = 3, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    lines = []
    for split, with_heads in (("train", train), ("validation", validation)):
        for i in range(with_heads + empty):
            pixels = backdrop(rng)
            faces = put_heads(rng, pixels, 1 + i % 2) if i < with_heads else []
            name = f"{split}-{i}.png"
            assert cv2.imwrite(str(folder / "pictures" / name), pixels)
            lines.append(json.dumps({"file": name, "split": split, "faces": faces}))
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def backdrop(rng: np.random.Generator, height: int = 240, width: int = 320) -> np.ndarray[Any, Any]:
    """Return a picture of a soft light with blots in it, uint8 grey."""
    few = rng.uniform(60, 200, (4, 5)).astype(np.float32)
    return cv2.resize(few, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def put_heads(rng: np.random.Generator, pixels: np.ndarray[Any, Any], count: int) -> list[list[float]]:
    """Draw heads side by side into a picture and return their faces' boxes."""
    boxes = []
    for i in range(count):
        grey, solid, (x, y, w, h) = cartoon.head(str(rng.choice(FER2013_LABELS)), rng, float(rng.uniform(36, 70)))
        left, top = round(20 + 150 * i + rng.uniform(0, 60) - x), round(rng.uniform(20, 110) - y)
        y0, x0 = max(top, 0), max(left, 0)
        there = pixels[y0 : top + len(grey), x0 : left + len(grey)]
        part = (slice(y0 - top, y0 - top + there.shape[0]), slice(x0 - left, x0 - left + there.shape[1]))
        alpha = solid[part] / 255
        there[:] = (there * (1 - alpha) + grey[part] * alpha).astype(np.uint8)
        boxes.append([round(v, 2) for v in (left + x, top + y, w, h)])
    return boxes
