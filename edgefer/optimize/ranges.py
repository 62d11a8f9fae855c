"""Where int8 ranges end: what a layer gives on the calibration faces, cut by one of three rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

METHODS = ("minmax", "percentile", "entropy")
BINS = 2048
LEVELS = 256
PIXELS_AT_ONCE = 1_000_000
"""Of the pictures in a batch, at most 64 of them: the outputs of all layers are held at once."""
PERCENTILE = 99.99
"""Percent of a layer's values that lie within its range, by the method `percentile`."""

Counts = npt.NDArray[np.float64]


def ranges(
    model: Any, names: Sequence[str], pictures: npt.NDArray[np.float32], methods: Sequence[str] = METHODS
) -> dict[str, dict[str, tuple[float, float]]]:
    """Return, by method and layer, the (lowest, highest) value that int8 shall hold.

    `model` is a keras.Model that gives the outputs of the layers `names`, `pictures` float32 [n, h, w, 1] in [0, 1].
    `minmax` keeps every value; `percentile` cuts the rare ones; `entropy` cuts where the distribution of 256 levels
    differs least from the whole one (Kullback-Leibler, as in Migacz, "8-bit inference with TensorRT", 2017).
    """
    step = max(1, min(64, PIXELS_AT_ONCE // max(1, pictures[0].size)))
    batches = [pictures[i : i + step] for i in range(0, len(pictures), step)]
    lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for batch in batches:
        for i, values in enumerate(_outputs(model, batch)):
            lows[i], highs[i] = min(lows[i], values.min()), max(highs[i], values.max())
    counts = np.zeros((len(names), BINS))
    if set(methods) - {"minmax"}:
        for batch in batches:
            for i, values in enumerate(_outputs(model, batch)):
                counts[i] += np.histogram(values, BINS, (lows[i], max(highs[i], lows[i] + 1e-6)))[0]
    rules = {"minmax": lambda count, low, high: (low, high), "percentile": percentile, "entropy": entropy}
    return {
        method: {
            name: rules[method](counts[i], float(lows[i]), max(float(highs[i]), float(lows[i]) + 1e-6))
            for i, name in enumerate(names)
        }
        for method in methods
    }


def _outputs(model: Any, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    found = model(batch, training=False)
    return [np.asarray(values) for values in (found if isinstance(found, (list, tuple)) else [found])]


def percentile(counts: Counts, low: float, high: float) -> tuple[float, float]:
    """Return the range that holds `PERCENTILE` % of the values; an end at 0, as after ReLU, stays."""
    edges = np.linspace(low, high, len(counts) + 1)
    share = np.cumsum(counts) / counts.sum()
    tail = (1 - PERCENTILE / 100) / (1 if low >= 0 or high <= 0 else 2)
    first = 0 if low >= 0 else int(np.searchsorted(share, tail, side="right"))
    last = len(counts) - 1 if high <= 0 else int(np.searchsorted(share, 1 - tail))
    return float(edges[first]), float(edges[min(last, len(counts) - 1) + 1])


def entropy(counts: Counts, low: float, high: float) -> tuple[float, float]:
    """Return the range whose 256 levels lose least information, cut from the end that is farther from 0."""
    best, found = np.inf, (low, high)
    counts = counts.copy()
    zero = min(int(max(-low, 0.0) / (high - low) * len(counts)), len(counts) - 1)
    counts[zero] = counts[zero - 1 if zero == len(counts) - 1 else zero + 1]  # ReLU's zeros would drown the rest
    if not counts.any():
        return low, high
    for keep in range(len(counts) // 4, len(counts) + 1, 16):
        part, step = slice(0, keep), (high - low) / len(counts)
        ends = (low, low + keep * step)
        if -low > high:
            part, ends = slice(len(counts) - keep, None), (high - keep * step, high)
        kept = counts[part].copy()
        if not kept.any():
            continue
        outside = counts.sum() - kept.sum()
        levels = np.arange(keep) * LEVELS // keep
        filled = np.bincount(levels, kept > 0, LEVELS)
        coarse = np.bincount(levels, kept, LEVELS) / np.maximum(filled, 1)
        kept[0 if -low > high else -1] += outside
        p, q = kept / kept.sum(), np.where(counts[part] > 0, coarse[levels], 0)
        q = q / max(q.sum(), 1e-12)
        both = p > 0
        divergence = float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))).sum())
        if divergence < best:
            best, found = divergence, ends
    return found
