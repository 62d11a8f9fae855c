"""From data and recipe to a trained bundle: fit, measure, write."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import __version__
from edgefer.bundle import MANIFEST, Artifact, Bundle, describe, write_bundle
from edgefer.errors import TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.metrics import measure
from edgefer.preprocess import Preprocess
from edgefer.train import floor
from edgefer.train.data import Dataset, votes
from edgefer.train.fit import EpochProgress, FitResult, StepProgress, TeacherProgress, fit, logits_of
from edgefer.train.recipe import Recipe
from edgefer.train.run_page import Run
from edgefer.train.temperature import fit_temperature, softmax

STATE = "state.npz"
HISTORY = "history.json"


def state_file(out: Path) -> Path:
    """Return where the unfinished run for `out` is kept: beside it, so that both are on one disk."""
    return out.with_name(out.name + ".training") / STATE


def check_out(out: Path, resume: bool) -> None:
    """Raise TrainError when `out` is there already, or when there is nothing to resume for it."""
    if out.exists():
        what = "a bundle" if (out / MANIFEST).is_file() else "something that is not a bundle"
        raise TrainError(f"{out} exists and is {what}; choose another --out or remove it")
    if resume and not state_file(out).exists():
        raise TrainError(f"there is nothing to resume: {state_file(out)} does not exist; leave out --resume")


def train_bundle(
    train: Dataset,
    validation: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    test: Dataset | None = None,
    resume: bool = False,
    on_step: StepProgress | None = None,
    on_epoch: EpochProgress | None = None,
    on_teachers: TeacherProgress | None = None,
) -> tuple[Bundle, Run] | None:
    """Train `recipe` and write the bundle `out`; return it with what there is to look at.

    The run's state is kept beside `out` until the bundle is there. `test` is measured once, with the weights that
    `validation` chose. Of several processes (TF_CONFIG) the chief writes; the others get None when it has. Raises
    TrainError or BundleError; what was trained so far then stays for `resume`.
    """
    check_out(out, resume)
    state = state_file(out)
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot write beside {out}: {error.strerror}; choose another --out") from error
    try:
        result = fit(
            train,
            validation,
            recipe,
            state,
            resume=resume,
            on_step=on_step,
            on_epoch=on_epoch,
            on_teachers=on_teachers,
        )
        made = None
        if result.workers.task.chief:
            made = write_trained(result, train, validation, recipe, out, test)
            state.unlink()
    finally:
        with contextlib.suppress(OSError):  # not empty: there is something to go on from, or somebody else's file
            state.parent.rmdir()
    result.workers.from_chief([0.0])  # the others stay until it is written: one that leaves would end the run
    return made


def write_trained(
    result: FitResult, train: Dataset, validation: Dataset, recipe: Recipe, out: Path, test: Dataset | None = None
) -> tuple[Bundle, Run]:
    """Write the best weights of a run as a bundle, with its figures and the temperature fitted on `validation`."""
    logits = logits_of(result.model, validation.images)
    before = None
    if recipe.recall_floor:
        before = float((logits.argmax(axis=1) == validation.labels).mean())
        floor.apply(result.model, floor.biases(logits, validation.labels, recipe.recall_floor))
        logits = logits_of(result.model, validation.images)
    weights = weights_of(result.model)
    file = describe(f"{recipe.arch}.weights.h5", weights)
    temperature = fit_temperature(logits, validation.labels)
    probabilities = softmax(logits, temperature)
    accuracy = measure(probabilities, validation.labels, validation.names)
    figures = accuracy.as_dict() | {
        "split": "validation",
        "engine": f"keras on {result.backend}",
        "best_epoch": result.best_epoch,
        "epochs": len(result.history),
        "train_seconds": round(result.seconds, 1),
        "train_pictures": len(train),
        "parameters": int(result.model.count_params()),
        "ferplus": _ferplus(probabilities, validation),
        "accuracy_before_recall_floor": before,
    }
    if test is not None:
        said = softmax(logits_of(result.model, test.images), temperature)
        figures["test"] = measure(said, test.labels, test.names).as_dict()
    bundle = Bundle(
        path=out,
        architecture=recipe.arch,
        labels=train.names,
        preprocess=Preprocess(),
        artifacts=(Artifact(file, "keras", "fp32"),),
        metrics={file.path: {k: v for k, v in figures.items() if v is not None}},
        recipe=recipe.as_dict(),
        versions={"edgefer": __version__, **{p: metadata.version(p) for p in ("keras", "numpy", result.backend)}},
        temperature=temperature,
    )
    history = json.dumps([asdict(r) for r in result.history], indent=1) + "\n"
    run = Run(
        title=f"{recipe.arch}: {out.name}",
        facts=_facts(result, train, recipe, temperature),
        history=result.history,
        probabilities=probabilities,
        raw=softmax(logits),
        labels=validation.labels,
        names=validation.names,
        images=validation.images,
        accuracy=accuracy,
    )
    return write_bundle(bundle, {file.path: weights, HISTORY: history.encode()}), run


def _ferplus(probabilities: npt.NDArray[np.float64], data: Dataset) -> dict[str, Any] | None:
    """Return accuracy against what most of the FER+ voters said, where they saw a face, if the data has votes."""
    if data.votes is None or set(data.names) != set(FER2013_LABELS):
        return None
    labels, keep = votes.majority(data.votes, data.names, data.labels)
    if not keep.any():
        return None
    figures = measure(probabilities[keep], labels[keep], data.names)
    return {"accuracy": figures.accuracy, "ci95": list(figures.ci95), "n": figures.n, "macro_f1": figures.macro_f1}


def _facts(result: FitResult, train: Dataset, recipe: Recipe, temperature: float) -> list[tuple[str, str]]:
    """Return what the page of a run says beside its figures."""
    facts = [
        ("parameters", f"{result.model.count_params():,}"),
        ("trained on", f"{len(train):,} pictures"),
        ("time", f"{result.seconds / 60:.1f} min with Keras on {result.backend}"),
        ("temperature", f"{temperature:.3f}"),
    ]
    for name, value in recipe.as_dict().items():
        for key, part in value.items() if isinstance(value, dict) else [("", value)]:
            facts.append((f"{name}.{key}" if key else name, str(part)))
    return facts


def weights_of(model: Any) -> bytes:
    """Return the weights of a keras.Model as a `.weights.h5` file."""
    with tempfile.TemporaryDirectory(prefix="edgefer-") as folder:
        path = os.path.join(folder, "model.weights.h5")
        model.save_weights(path)
        return Path(path).read_bytes()
