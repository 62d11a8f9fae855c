"""The score from which a find of a detector counts as a face: chosen on scenes without one, as the device looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.average_precision import OVERLAP
from edgefer.grid import joined
from edgefer.letterbox import LEAST_AGAIN, SIZES
from edgefer.matched import counted, overlaps
from edgefer.train.detect import network
from edgefer.train.detect.fit import find, judged
from edgefer.train.detect.pictures import Picture

Scores = npt.NDArray[np.floating[Any]]

LOWEST, USUAL = 0.2, 0.5
"""Lowest threshold of a bundle that is chosen, and that where there are no scenes without a face to choose it on."""


def how_chosen(scenes: int) -> str:
    """Return in words how a threshold came to be that was chosen on so many training scenes without a face."""
    if not scenes:
        return "the usual one, since no training picture is without a face"
    return f"chosen on {scenes:,} training pictures without a face"


def choose_threshold(
    keras: Any,
    arch: str,
    model: Any,
    without: Sequence[Picture],
    false_rate: float,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Return the lowest threshold, in steps of .01, that lets few enough false faces through at every size.

    These are the sizes that faces are looked for at, `edgefer.letterbox.SIZES`, each with the second looks that the
    device takes (but that it halves the picture that it has, instead of scaling the frame anew); at none may there be
    more than `false_rate` false faces in a scene without one, on average. `without` are training scenes, so that
    figures of other scenes stay figures. `model` is the network `arch` of any size.
    """
    looks: list[Any] = []
    false: list[Scores] = []
    for done, size in enumerate(sorted(SIZES)):
        if progress:
            progress(done, len(SIZES))
        looks.insert(0, network.build(keras, arch, *size, of=model))
        false.append(false_scores(looks, without))
    if progress:
        progress(len(SIZES), len(SIZES))
    return lowest(false, false_rate * len(without))


def false_scores(looks: Sequence[Any], without: Sequence[Picture]) -> Scores:
    """Return the scores of what is found in scenes without a face by networks for pictures of falling size, [k]."""
    found = list(find(looks[0], without, LOWEST))
    for look in looks[1:]:
        found = list(map(joined, found, find(look, without, LOWEST, LEAST_AGAIN)))
    pairs = [judged(scene, each) for scene, each in zip(without, found, strict=True)]
    return counted(overlaps(pairs, OVERLAP, None), 0, np.inf).scores  # nothing is right where there is no face


def lowest(scores: Sequence[Scores], allowed: float) -> float:
    """Return the lowest threshold that no more than `allowed` of each list of scores reach; .99 where none is."""
    steps = np.arange(round(100 * LOWEST), 100) / 100
    few = np.all([(some >= steps[:, None]).sum(axis=1) <= allowed for some in scores], axis=0)
    return float(steps[few.argmax()] if few.any() else steps[-1])
