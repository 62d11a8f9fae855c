"""From data and recipe to a trained bundle: fit, measure, write."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import __version__
from edgefer.bundle import MANIFEST, Artifact, Bundle, describe, write_bundle
from edgefer.errors import TrainError
from edgefer.metrics import measure
from edgefer.preprocess import Preprocess
from edgefer.train.data import Dataset
from edgefer.train.fit import EpochProgress, FitResult, StepProgress, fit
from edgefer.train.recipe import Recipe

STATE = "state.npz"
HISTORY = "history.json"


def state_file(out: Path) -> Path:
    """Return where the unfinished run for `out` is kept: beside it, so that both are on one disk."""
    return out.with_name(out.name + ".training") / STATE


def train_bundle(
    train: Dataset,
    validation: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_epoch: EpochProgress | None = None,
) -> Bundle:
    """Train `recipe` and write the bundle `out`; the run's state is kept beside it until the bundle is there.

    Raises TrainError or BundleError; what was trained so far then stays for `resume`.
    """
    if out.exists():
        what = "a bundle" if (out / MANIFEST).is_file() else "something that is not a bundle"
        raise TrainError(f"{out} exists and is {what}; choose another --out or remove it")
    state = state_file(out)
    if resume and not state.exists():
        raise TrainError(f"there is nothing to resume: {state} does not exist; leave out --resume")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot write beside {out}: {error.strerror}; choose another --out") from error
    result = fit(train, validation, recipe, state, resume=resume, on_step=on_step, on_epoch=on_epoch)
    bundle = write_trained(result, train, validation, recipe, out)
    state.unlink()
    state.parent.rmdir()
    return bundle


def write_trained(result: FitResult, train: Dataset, validation: Dataset, recipe: Recipe, out: Path) -> Bundle:
    """Write the best weights of a run as a bundle, with what was measured on `validation`."""
    weights = _weights(result.model)
    file = describe(f"{recipe.arch}.weights.h5", weights)
    logits = np.asarray(
        result.model.predict(validation.images[..., None].astype(np.float32) / 255.0, batch_size=256, verbose=0)
    )
    accuracy = measure(_softmax(logits), validation.labels, validation.names)
    figures = accuracy.as_dict() | {
        "split": "validation",
        "engine": f"keras on {result.backend}",
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "train_seconds": round(result.seconds, 1),
        "train_pictures": len(train),
        "parameters": int(result.model.count_params()),
    }
    bundle = Bundle(
        path=out,
        architecture=recipe.arch,
        labels=train.names,
        preprocess=Preprocess(),
        artifacts=(Artifact(file, "keras", "fp32"),),
        metrics={file.path: figures},
        recipe=recipe.as_dict(),
        versions={"edgefer": __version__, **{p: metadata.version(p) for p in ("keras", "numpy", result.backend)}},
    )
    history = json.dumps([asdict(r) for r in result.history], indent=1) + "\n"
    return write_bundle(bundle, {file.path: weights, HISTORY: history.encode()})


def _weights(model: Any) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgefer-") as folder:
        path = os.path.join(folder, "model.weights.h5")
        model.save_weights(path)
        return Path(path).read_bytes()


def _softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
