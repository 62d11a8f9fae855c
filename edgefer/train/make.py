"""From data and recipe to a trained bundle: fit, measure, write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import __version__, plugins
from edgefer.bundle import Bundle, write_bundle
from edgefer.labels import FER2013_LABELS
from edgefer.metrics import measure
from edgefer.preprocess import Preprocess
from edgefer.train import floor
from edgefer.train.data import Dataset, votes
from edgefer.train.fit import EpochProgress, FitResult, StepProgress, TeacherProgress, fit, logits_of
from edgefer.train.recipe import Recipe
from edgefer.train.run_page import Run, recipe_facts
from edgefer.train.temperature import fit_temperature, softmax
from edgefer.train.unfinished import unfinished
from edgefer.train.written import files_of


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
    with unfinished(out, resume) as state:
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
    artifact, files = files_of(recipe.arch, result)
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
        artifacts=(artifact,),
        metrics={artifact.path: {k: v for k, v in figures.items() if v is not None}},
        recipe=recipe.as_dict(),
        versions={"edgefer": __version__, **plugins.versions(("keras", "numpy", result.backend))},
        temperature=temperature,
    )
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
    return write_bundle(bundle, files), run


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
    return facts + recipe_facts(recipe.as_dict())
