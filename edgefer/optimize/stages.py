"""From the trained network to the ones that artifacts are made from: the stages of fine-tuning, one after another."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.optimize import fakequant, worker
from edgefer.optimize.channels import groups
from edgefer.optimize.convert import Ranges
from edgefer.optimize.fold import fold
from edgefer.optimize.tune import STAGES, Faces, Tuned, Tuning, tune
from edgefer.train.network import Network
from edgefer.train.recipe import Augmentation


@dataclass(frozen=True)
class Step:
    """What one stage did."""

    tuning: Tuning
    accuracy: float
    """Of the best epoch on validation: of the float network, or after `qat` of its int8 TFLite form."""
    drop_points: float
    """What the trained network had more, in percentage points."""
    macs: int
    parameters: int
    sparsity: float
    """Part of the weights of convolutions and dense layers that is zero."""
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return its entry for the manifest."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What the stages made."""

    tuned: Network | None
    """The float network; None when no stage changed it."""
    int8: Network | None
    """The network for int8, with `ranges`; None without `qat`."""
    ranges: Ranges | None
    steps: tuple[Step, ...]


def ordered(tunings: Sequence[Tuning]) -> tuple[Tuning, ...]:
    """Return the stages in the order that they are done in."""
    return tuple(sorted(tunings, key=lambda tuning: STAGES.index(tuning.stage)))


def check(network: Network, tunings: Sequence[Tuning], keep_float: Sequence[str]) -> None:
    """Raise ExportError for what a stage could not do with this network, before any training time is spent."""
    for tuning in tunings:
        if tuning.stage == "qat":
            fakequant.check(fold(network), keep_float)
        elif tuning.stage == "narrow":
            groups(network)


def run_stages(
    trained: Network,
    accuracy: float,
    teacher: Network,
    tunings: Sequence[Tuning],
    faces: Faces,
    augmentation: Augmentation,
    keep_float: Sequence[str],
    max_drop: float,
    folder: Path,
    listener: worker.Listener,
) -> Outcome:
    """Run the stages, each from what the one before made; their states lie in `folder` until it is removed.

    `accuracy` is that of the trained network on validation. Raises ExportError when a stage loses more than `max_drop`
    points; what was tuned stays in the folder.
    """
    current, outcome = trained, Outcome(None, None, None, ())
    for tuning in ordered(tunings):
        listener({"stage": tuning.stage, "epochs": tuning.epochs})
        tuned = tune(tuning, current, teacher, faces, augmentation, folder / tuning.stage, keep_float, listener)
        step = _step(tuning, tuned, accuracy)
        outcome = dataclasses.replace(outcome, steps=(*outcome.steps, step))
        listener({"say": f"{tuning.stage}: accuracy {step.accuracy:.4f}, {step.drop_points:+.2f} points lost"})
        # One picture of a small set can weigh more than max_drop, and one picture is no evidence.
        if step.drop_points > max(max_drop, 100 / len(faces.labels)) + 1e-9:
            raise ExportError(
                f"{tuning.stage} loses {step.drop_points:.2f} points of accuracy; at most {max_drop:g} are allowed."
                f" {_advice(tuning)}; or allow more with --max-drop and go on with --resume"
            )
        if tuning.stage == "qat":
            outcome = dataclasses.replace(outcome, int8=tuned.network, ranges=tuned.ranges)
        else:
            current = tuned.network
            outcome = dataclasses.replace(outcome, tuned=current)
    return outcome


def remove(folder: Path) -> None:
    """Remove the states of stages that are done."""
    shutil.rmtree(folder, ignore_errors=True)


def _advice(tuning: Tuning) -> str:
    longer = f"Give it more epochs (--set {tuning.stage}.epochs={2 * tuning.epochs})"
    if tuning.stage == "cluster":
        return f"{longer} or more values (--cluster {min(256, int(tuning.amount) * 2)})"
    if tuning.stage == "qat":
        return f"{longer} or leave layers float (--keep-float)"
    return f"{longer} or take away less (--{tuning.stage} {tuning.amount * 0.7:.2f})"


def _step(tuning: Tuning, tuned: Tuned, accuracy: float) -> Step:
    best = max(report.validation_accuracy for report in tuned.history[tuned.first_usable :])
    return Step(
        tuning=tuning,
        accuracy=best,
        drop_points=100 * (accuracy - best),
        macs=tuned.network.macs,
        parameters=tuned.network.parameters,
        sparsity=sparsity(tuned.network),
        seconds=sum(report.seconds for report in tuned.history),
    )


def sparsity(network: Network) -> float:
    """Return the part of the weights of convolutions and dense layers that is zero."""
    kernels: list[npt.NDArray[np.float32]] = [n.weights[0] for n in network.nodes if n.kind in fakequant.KERNELS]
    return sum(int((k == 0).sum()) for k in kernels) / max(1, sum(k.size for k in kernels))
