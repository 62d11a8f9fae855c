"""Temperature scaling: one number, fitted on validation, that makes a network's probabilities say how sure to be.

Networks trained until they are right are more sure than they are right. Dividing the logits by a temperature before
the softmax repairs most of that and changes no label (Guo et al., 2017, On Calibration of Modern Neural Networks).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.bundle import MAX_TEMPERATURE, MIN_TEMPERATURE
from edgefer.errors import TrainError
from edgefer.metrics import Floats, Ints

PRECISION = 1e-6
"""Width of the last interval of log temperature."""


def softmax(logits: Floats, temperature: float = 1.0) -> npt.NDArray[np.float64]:
    """Return probabilities float64 [n, k] of `logits` float [n, k], divided by `temperature` > 0 before."""
    return np.asarray(np.exp(_log_softmax(logits, temperature)), np.float64)


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Return the temperature, 0.05–20, under which `logits` float [n, k] give `labels` int [n] the smallest loss.

    The loss is the mean negative log-likelihood. It is convex in 1 / temperature, so it has one valley in its
    logarithm, which a golden-section search finds, always the same way. Where no temperature is better than 1, it is 1.
    Raises TrainError for logits that are not finite; ValueError when the shapes do not fit.
    """
    if logits.ndim != 2 or len(logits) != len(labels) or len(labels) == 0:
        raise ValueError(f"logits {logits.shape} do not fit {len(labels)} labels")
    if not np.isfinite(logits).all():
        raise TrainError("the network gives logits that are not finite; lower learning_rate and train again")
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    golden = (math.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = _loss(logits, labels, left), _loss(logits, labels, right)
    while high - low > PRECISION:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = _loss(logits, labels, left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = _loss(logits, labels, right)
    best = (low + high) / 2
    if _loss(logits, labels, best) >= _loss(logits, labels, 0.0):
        return 1.0
    return min(max(math.exp(best), MIN_TEMPERATURE), MAX_TEMPERATURE)


def _loss(logits: Floats, labels: Ints, log_temperature: float) -> float:
    log_p = _log_softmax(logits, math.exp(log_temperature))
    return -float(log_p[np.arange(len(labels)), labels].mean())


def _log_softmax(logits: Floats, temperature: float) -> npt.NDArray[Any]:
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))
