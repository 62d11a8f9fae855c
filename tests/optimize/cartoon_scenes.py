"""Scenes with drawn faces on disk, and a detector that was trained on them for some seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from edgefer import cartoon
from edgefer.labels import FER2013_LABELS

RECIPE = """
arch = "det-xs"
steps = 240
batch = 12
learning_rate = 4e-3
warmup_steps = 20
check_every = 240
ema = 0.9

[views]
width = 128
height = 96
large_every = 0
smallest = 24.0
largest = 80.0
"""
CALM = ("mosaic", "drawn", "rotation", "light", "dark", "shadow", "blur", "motion", "coarse", "noise", "jpeg", "hide")
"""Disturbances of views that a run of some seconds is better without."""


def write(folder: Path, count: int = 96, seed: int = 0) -> Path:
    """Write `count` pictures of 320×240, a quarter of them empty and a third for validation, in edgefer's own form."""
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    lines = []
    for k in range(count):
        shade = rng.integers(0, 256, (6, 8), dtype=np.uint8)
        picture = np.asarray(cv2.resize(shade, (320, 240), interpolation=cv2.INTER_CUBIC), np.uint8)
        faces = []
        for half in (0, 160) if k % 4 else ():
            side = int(rng.integers(52, 84))
            left, y = half + int(rng.integers(0, 160 - side)), int(rng.integers(0, 240 - side))
            picture[y : y + side, left : left + side] = cartoon.draw_face(FER2013_LABELS[k % 7], rng, side)
            faces.append([left, y, side, side])
        name = f"{k:03d}.png"
        cv2.imwrite(str(folder / "pictures" / name), picture)
        split = "validation" if k % 3 == 0 else "train"
        lines.append(json.dumps({"file": name, "faces": faces, "split": split}))
    (folder / "pictures.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def train(data: Path, out: Path) -> None:
    """Train a small detector with the program itself."""
    recipe = out.with_suffix(".toml")
    recipe.write_text(RECIPE + "".join(f"{name} = 0.0\n" for name in CALM))
    command = [sys.executable, "-m", "edgefer", "train", "--task", "detect", "--data", str(data)]
    command += ["--recipe", str(recipe), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
