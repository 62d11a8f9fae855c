"""Whether two forms of a detector find the same faces in the same places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgefer.boxes import iou
from edgefer.grid import Found

SAME = 0.5
"""Intersection over union from which two finds are of one face."""


@dataclass(frozen=True)
class Agreement:
    """How far the finds of one detector are those of another on the same pictures; without finds, they are the same."""

    n: int
    """Finds that should be in both: those from the threshold, of either."""
    share: float
    """Part of the finds from the threshold, of either, that the other has too, whatever its score; 0–1."""
    mean_iou: float
    """Intersection over union of those that both have, mean."""
    mean_score_difference: float
    max_score_difference: float
    landmark_difference: float
    """Mean distance of landmarks of those that both have, as a part of the box's longer side."""

    @property
    def distance(self) -> float:
        """How unlike they are in all, 0 for the same: what boxes and scores differ by; a find that lacks counts 1."""
        return 1 - self.share + self.share * (1 - self.mean_iou + self.mean_score_difference)


def agree(found: Sequence[Found], wanted: Sequence[Found], threshold: float) -> Agreement:
    """Compare what was found in each picture with what should be; both with finds from below the threshold on."""
    n = paired = 0
    overlaps: list[float] = []
    scores: list[float] = []
    distances: list[float] = []
    for one, other in zip(found, wanted, strict=True):
        pairs = _pairs(one, other, threshold)
        surest = int((one.scores >= threshold).sum()), int((other.scores >= threshold).sum())
        both = sum(bool(min(one.scores[i], other.scores[j]) >= threshold) for i, j, _ in pairs)
        n += sum(surest) - both
        paired += len(pairs)
        for i, j, overlap in pairs:
            overlaps.append(overlap)
            scores.append(abs(float(one.scores[i]) - float(other.scores[j])))
            away = np.linalg.norm(one.landmarks[i] - other.landmarks[j], axis=1).mean()
            distances.append(float(away / max(other.boxes[j, 2:].max(), 1e-6)))
    if not paired:
        return Agreement(n, 0.0 if n else 1.0, 0.0 if n else 1.0, 0.0, 0.0, 0.0)
    return Agreement(
        n, paired / n, float(np.mean(overlaps)), float(np.mean(scores)), max(scores), float(np.mean(distances))
    )


def _pairs(one: Found, other: Found, threshold: float) -> list[tuple[int, int, float]]:
    """Return (find of one, find of the other, overlap) of which one at least is sure, the greatest overlap first."""
    sure = (one.scores[:, None] >= threshold) | (other.scores[None] >= threshold)
    overlap = np.where(sure, iou(one.boxes, other.boxes), 0)
    pairs = []
    while overlap.size and overlap.max() >= SAME:
        i, j = (int(place) for place in np.unravel_index(overlap.argmax(), overlap.shape))
        pairs.append((i, j, float(overlap[i, j])))
        overlap[i], overlap[:, j] = 0, 0
    return pairs
