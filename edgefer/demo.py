"""The whole line on drawn faces: draw, train, export, check, run, benchmark, report."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from edgefer import cartoon
from edgefer.bench.accuracy import Evaluation, evaluate
from edgefer.bundle import Bundle
from edgefer.labels import FER2013_LABELS
from edgefer.optimize.export import ExportResult, export
from edgefer.runtime.engines import installed_engines, load, open_engine
from edgefer.runtime.pipeline import Summary
from edgefer.train.data import Dataset
from edgefer.train.fit import EpochProgress, StepProgress
from edgefer.train.make import train_bundle
from edgefer.train.recipe import Augmentation, Recipe

CLIP_FRAMES = 250
RECIPE = Recipe(
    arch="edge-xs",
    epochs=10,
    batch=64,
    learning_rate=4e-3,
    warmup_epochs=1,
    weight_decay=1e-2,
    augmentation=Augmentation(rotation=8, erase=0.0),
)


@dataclass(frozen=True)
class Faces:
    """Three drawn splits that share no face."""

    train: Dataset
    validation: Dataset
    test: Dataset


def draw() -> Faces:
    """Draw the data set: seeded, 48×48, seven emotions."""
    train, validation, test = (
        Dataset(*cartoon.dataset(per_class, seed), FER2013_LABELS) for per_class, seed in ((240, 1), (60, 2), (60, 3))
    )
    return Faces(train, validation, test)


def train(faces: Faces, out: Path, on_step: StepProgress, on_epoch: EpochProgress) -> Bundle:
    """Train the smallest edge network on the drawn faces."""
    return train_bundle(faces.train, faces.validation, RECIPE, out, on_step=on_step, on_epoch=on_epoch)


def prove(bundle: Bundle, faces: Faces, progress: Callable[[str], None]) -> ExportResult:
    """Export everything and let the gate judge it."""
    return export(bundle, faces.train, faces.validation, progress=progress)


def accuracies(bundle: Bundle, faces: Faces) -> list[Evaluation]:
    """Measure every artifact in every installed engine on faces that nothing was chosen by."""
    results = []
    for name in installed_engines():
        for artifact in (a for a in bundle.artifacts if a.format == load(name).FORMAT):
            loaded = open_engine(bundle, name, artifact.precision)
            results.append(evaluate(bundle, faces.test, loaded, split="test"))
            loaded.engine.close()
    return results


@dataclass(frozen=True)
class ClipResult:
    """How the run over the drawn clip went."""

    summary: Summary
    found: float
    """Fraction of the drawn faces for which the detector gave a box."""
    right: float
    """Fraction of the boxes that were given the emotion that was drawn there."""
