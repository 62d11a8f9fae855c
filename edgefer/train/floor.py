"""A floor under every class's recall: the last layer's biases are shifted until no class is overlooked too often.

A rare class that looks like a frequent one is named less often than it is there, as that costs the fewest errors. A
shift of the biases moves the boundary without training (logit adjustment: Menon et al., 2021, arXiv:2007.07314).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import TrainError

STEP = 0.02
"""How far a class's bias is moved at once, in logits."""
MOVES = (1, -1, 3, -3, 8, -8, 20, -20)
"""Of one bias, in steps."""
MOST_STEPS = 1000
"""Floors that lie too high for all classes at once would else be chased for ever."""


def biases(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], floor: float) -> npt.NDArray[np.float64]:
    """Return what to add to the logits, float64 [classes], so that no class's recall (0–1) is below `floor`.

    The class with the lowest recall is raised step by step; then one or two at a time are moved as long as that makes
    more answers right and leaves no class below the floor. Where the floor cannot be reached, it is the shift under
    which the lowest recall was highest. A class without pictures is left alone.
    """
    classes = logits.shape[1]
    there = np.flatnonzero(np.bincount(labels, minlength=classes))
    shift, best, best_lowest = np.zeros(classes), np.zeros(classes), -1.0
    for _ in range(MOST_STEPS):
        _, recall = _judge(logits + shift, labels, there)
        worst = int(recall.argmin())
        if recall[worst] > best_lowest:
            best, best_lowest = shift.copy(), float(recall[worst])
        if best_lowest >= floor:
            return _climbed(logits, labels, there, best, floor) if best.any() else best
        shift[there[worst]] += STEP
    return best


def _judge(
    logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], there: npt.NDArray[np.int64]
) -> tuple[int, npt.NDArray[np.float64]]:
    """Return how many answers are right, and the recall of each class of `there`."""
    said = logits.argmax(axis=1)
    return int((said == labels).sum()), np.array([(said[labels == c] == c).mean() for c in there])


def _climbed(
    logits: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    there: npt.NDArray[np.int64],
    shift: npt.NDArray[np.float64],
    floor: float,
) -> npt.NDArray[np.float64]:
    """Return `shift` with one or two biases moved at a time while more answers become right and the floor holds."""
    most, _ = _judge(logits + shift, labels, there)
    single = [((label, move),) for label in there for move in MOVES]
    double = [(a, b) for (a,), (b,) in itertools.combinations(single, 2) if a[0] != b[0]]
    climbing = True
    while climbing:
        climbing = False
        for moves in (*single, *double):
            tried = shift.copy()
            for label, move in moves:
                tried[label] += move * STEP
            right, recall = _judge(logits + tried, labels, there)
            if right > most and recall.min() >= floor:
                shift, most, climbing = tried, right, True
    return shift


def last_bias(net: Any) -> Any:
    """Return the biases of the network's last layer; raises TrainError when it has none."""
    bias = getattr(net.layers[-1], "bias", None)
    if bias is None:
        raise TrainError(f"recall_floor needs a last layer with biases; {net.layers[-1].name} has none: leave it out")
    return bias


def apply(net: Any, shift: npt.NDArray[np.float64]) -> None:
    """Add `shift` to the biases of the network's last layer; raises TrainError when it has none."""
    bias = last_bias(net)
    bias.assign(np.asarray(bias) + shift.astype(np.float32))
