"""Accuracy of an artifact as it really runs: picture by picture, through the camera's preprocessing and an engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt

from edgefer import metrics
from edgefer.bench.answers import answers, digest
from edgefer.bench.evaluation import Against, Evaluation
from edgefer.bench.latency import Progress
from edgefer.bench.rows import identity
from edgefer.bench.voted import voted
from edgefer.bundle import Bundle
from edgefer.runtime.engines import LoadedEngine
from edgefer.train.data import Dataset
from edgefer.train.recipe import of_bundle


def evaluate(
    bundle: Bundle,
    data: Dataset,
    loaded: LoadedEngine,
    split: str = "all",
    progress: Progress | None = None,
    command: str = "",
) -> Evaluation:
    """Return the accuracy on `data`, whose labels may be in any order; `split` says which part of the data it is.

    Data with FER+'s votes is held against them as well. `progress(done, total)` counts pictures; `command` is what the
    user called. Raises DataError when the data has labels that the bundle lacks.
    """
    return _evaluated(bundle, data.ordered(bundle.labels), loaded, split, progress, command)[0]


def evaluate_all(
    bundle: Bundle,
    data: Dataset,
    loaded: Sequence[LoadedEngine],
    split: str = "all",
    progress: Progress | None = None,
    command: str = "",
) -> tuple[Evaluation, ...]:
    """Return what `evaluate` does for each artifact, all but the first float32 one held against that by McNemar's test.

    `progress(done, total)` counts the pictures of all.
    """
    ordered = data.ordered(bundle.labels)
    found = []
    for i, one in enumerate(loaded):

        def seen(done: int, total: int, before: int = i) -> None:
            if progress is not None:
                progress(before * total + done, len(loaded) * total)

        found.append(_evaluated(bundle, ordered, one, split, seen, command))
    reference = next((pair for pair in found if pair[0].precision == "fp32"), None)
    if reference is None:
        return tuple(evaluation for evaluation, _ in found)
    return tuple(
        evaluation
        if evaluation is reference[0]
        else replace(evaluation, against=_against(reference, probabilities, ordered.labels))
        for evaluation, probabilities in found
    )


def _evaluated(
    bundle: Bundle, ordered: Dataset, loaded: LoadedEngine, split: str, progress: Progress | None, command: str
) -> tuple[Evaluation, npt.NDArray[np.float32]]:
    """Return the evaluation on data in the bundle's order of labels, and the answers, float32 [n, k]."""
    start = time.monotonic()
    probabilities = answers(bundle, ordered.images, loaded, progress)
    seconds = time.monotonic() - start
    votes = None
    if ordered.votes is not None:
        merges = of_bundle(bundle.recipe).data.merge
        votes = voted(probabilities, ordered.labels, ordered.votes, bundle.labels, merges)
    evaluation = Evaluation(
        accuracy=metrics.measure(probabilities, ordered.labels, bundle.labels),
        reliability=metrics.reliability(probabilities, ordered.labels),
        bundle=identity(bundle),
        engine=loaded.name,
        engine_version=loaded.engine.version,
        provider=loaded.engine.provider,
        artifact=loaded.artifact.path,
        precision=loaded.artifact.precision,
        bytes=loaded.artifact.bytes,
        split=split,
        data=digest(ordered),
        seconds=seconds,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        skipped=ordered.skipped,
        votes=votes,
    )
    return evaluation, probabilities


def _against(
    reference: tuple[Evaluation, npt.NDArray[np.float32]],
    probabilities: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
) -> Against:
    evaluation, others = reference
    return Against(
        artifact=evaluation.artifact,
        engine=evaluation.engine,
        same_label=metrics.agree(probabilities, others).top1,
        mcnemar=metrics.mcnemar(probabilities, others, labels),
    )
