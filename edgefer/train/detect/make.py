"""From scenes and recipe to a detector bundle: read, fit, choose the threshold, measure, write."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import __version__
from edgefer.average_precision import OVERLAP
from edgefer.bundle import Artifact, DetectorBundle, describe, write_bundle
from edgefer.errors import TrainError
from edgefer.matched import counted, overlaps
from edgefer.train.detect import fit as fitting
from edgefer.train.detect.fit import LEAST_FACE, DetectFit, LookProgress, StepProgress, find, judge, judged
from edgefer.train.detect.pictures import Picture as Scene
from edgefer.train.detect.recipe import DetectRecipe
from edgefer.train.make import HISTORY, check_out, state_file, weights_of

LEAST_THRESHOLD, USUAL_THRESHOLD = 0.2, 0.5
"""Lowest threshold of a bundle, and that where there are no scenes without a face to choose it on."""


def train_detector(
    train: Sequence[Scene],
    validation: Sequence[Scene],
    recipe: DetectRecipe,
    out: Path,
    *,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_look: LookProgress | None = None,
) -> tuple[DetectorBundle, DetectFit]:
    """Train `recipe` and write the bundle `out`; return it with how the run went.

    The run's state is kept beside `out` until the bundle is there. Raises TrainError or BundleError; what was trained
    so far then stays for `resume`.
    """
    check_out(out, resume)
    if not any(len(scene.labels.boxes) for scene in train):
        raise TrainError(f"none of the {len(train)} training scenes has a face; there is nothing to learn")
    if not any(len(scene.labels.boxes) for scene in validation):
        raise TrainError(f"none of the {len(validation)} validation scenes has a face; nothing can be chosen by them")
    kept = state_file(out)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot write beside {out}: {error.strerror}; choose another --out") from error
    try:
        result = fitting.fit(train, validation, recipe, kept, resume=resume, on_step=on_step, on_look=on_look)
        bundle = _write(result, train, validation, recipe, out)
        kept.unlink()
    finally:
        with contextlib.suppress(OSError):  # not empty: there is something to go on from, or somebody else's file
            kept.parent.rmdir()
    return bundle, result


def _write(
    result: DetectFit, train: Sequence[Scene], validation: Sequence[Scene], recipe: DetectRecipe, out: Path
) -> DetectorBundle:
    weights = weights_of(result.model)
    file = describe(f"{recipe.arch}.weights.h5", weights)
    threshold = choose_threshold(result.model, train, recipe.false_rate)
    figures = judge(result.model, validation, threshold).as_dict() | {
        "split": "validation",
        "engine": f"keras on {result.backend}",
        "size": [fitting.HEIGHT, fitting.WIDTH],
        "least_face": LEAST_FACE,
        "best_step": result.best.step,
        "train_seconds": round(result.seconds, 1),
        "train_pictures": len(train),
        "train_faces": sum(len(scene.labels.boxes) for scene in train),
        "parameters": int(result.model.count_params()),
    }
    bundle = DetectorBundle(
        path=out,
        architecture=recipe.arch,
        threshold=threshold,
        artifacts=(Artifact(file, "keras", "fp32"),),
        metrics={file.path: figures},
        recipe=recipe.as_dict(),
        versions={"edgefer": __version__, **{p: metadata.version(p) for p in ("keras", "numpy", result.backend)}},
    )
    history = json.dumps([asdict(report) for report in result.history], indent=1) + "\n"
    return write_bundle(bundle, {file.path: weights, HISTORY: history.encode()})


def choose_threshold(model: Any, train: Sequence[Scene], false_rate: float) -> float:
    """Return the lowest threshold, in steps of .01, at which so many false faces come of a scene without one.

    It is chosen on training scenes, so that figures of other scenes stay figures.
    """
    without = [scene for scene in train if not len(scene.labels.boxes)]
    if not without:
        return USUAL_THRESHOLD
    found = [judged(scene, each) for scene, each in zip(without, find(model, without), strict=True)]
    false = counted(overlaps(found, OVERLAP, None), 0, np.inf).scores  # nothing is right where there is no face
    steps = np.arange(round(100 * LEAST_THRESHOLD), 100) / 100
    few = (false >= steps[:, None]).sum(axis=1) <= false_rate * len(without)
    return float(steps[few.argmax()] if few.any() else steps[-1])
