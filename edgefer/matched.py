"""Which of a detector's finds are right, by COCO's rules at one overlap. NumPy only.

Finds are matched greedily by score, each face once, and what lies outside of the sizes that are asked about counts
neither way (T.-Y. Lin et al., "Microsoft COCO", 2014; pycocotools).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.boxes import inside, iou

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]

INSIDE = 0.5
"""Part of a find from which it lies in a place to ignore."""


@dataclass(frozen=True, eq=False)
class Picture:
    """What a detector found in a picture, and what is there; boxes are x, y, width, height in pixels of the picture."""

    boxes: Floats
    """Found, [k, 4]."""
    scores: Floats
    """Of what was found, [k]: the larger, the surer."""
    faces: Floats
    """Labelled, [m, 4]."""
    ignore: Floats
    """Places that count neither way, [j, 4]: finds that lie half in one of them are left out."""

    def __post_init__(self) -> None:
        """Raise ValueError for arrays of other shapes, and for scores that are no numbers."""
        shapes = self.boxes.shape, self.faces.shape, self.ignore.shape
        if any(len(shape) != 2 or shape[1] != 4 for shape in shapes) or self.scores.shape != self.boxes.shape[:1]:
            raise ValueError(f"boxes, faces and ignore must be [n, 4], scores one a box, found {shapes}")
        if np.isnan(self.scores).any():
            raise ValueError("a score is no number")


@dataclass(frozen=True, eq=False)
class Overlaps:
    """A picture's finds by falling score, and what they lie on; the same for every range of sizes."""

    scores: Floats
    sizes: Floats
    ignored: Flags
    face_sizes: Floats
    iou: Floats
    near: tuple[int, ...]
    """Finds that overlap some face enough, in order."""
    enough: float


@dataclass(frozen=True, eq=False)
class Counted:
    """What counts for a range of sizes: all finds by falling score."""

    scores: Floats
    right: Flags
    picture: Ints
    faces: Ints
    """Of each picture."""


def overlaps(pictures: Sequence[Picture], enough: float, scales: Sequence[float] | Floats | None) -> list[Overlaps]:
    """Return the finds of each picture with what they lie on.

    `enough` is the intersection over union from which a find is a face; `scales` holds a factor a picture, from its
    pixels to those in which sizes are meant. Raises ValueError when there are no pictures, or not a scale for each.
    """
    if not pictures:
        raise ValueError("there are no pictures to measure a detector on")
    if scales is not None and len(scales) != len(pictures):
        raise ValueError(f"there must be a scale for each of {len(pictures)} pictures, found {len(scales)}")
    return [
        _overlaps_of(picture, enough, 1.0 if scales is None else float(scales[i])) for i, picture in enumerate(pictures)
    ]


def _overlaps_of(picture: Picture, enough: float, scale: float) -> Overlaps:
    # Finds of the same score stand in the order of their places, so that nothing depends on how they were listed.
    order = np.lexsort((*picture.boxes.T[::-1], -picture.scores))
    boxes = picture.boxes[order].astype(np.float64)
    overlap = iou(boxes, picture.faces.astype(np.float64))
    ignored = inside(boxes, picture.ignore.astype(np.float64)) >= INSIDE
    return Overlaps(
        scores=picture.scores[order].astype(np.float64),
        sizes=boxes[:, 2:].max(axis=1, initial=0) * scale,
        ignored=np.asarray(ignored.any(axis=1)),
        face_sizes=picture.faces[:, 2:].max(axis=1, initial=0).astype(np.float64) * scale,
        iou=overlap,
        near=tuple(int(i) for i in np.flatnonzero((overlap >= enough).any(axis=1))),
        enough=enough,
    )


def _match(seen: Overlaps, low: float, high: float) -> tuple[Flags, Flags]:
    """Return which finds count, and which of them are right, for faces of sizes in [low, high)."""
    asked = (seen.face_sizes >= low) & (seen.face_sizes < high)
    free = np.ones(len(asked), bool)
    counts = ~seen.ignored & (seen.sizes >= low) & (seen.sizes < high)
    right = np.zeros(len(counts), bool)
    for i in seen.near:
        for wanted in (asked, ~asked):  # a face that is asked about goes before one that is not
            places = np.where(wanted & free, seen.iou[i], 0)
            best = int(places.argmax())
            if places[best] >= seen.enough:
                free[best] = False
                right[i] = counts[i] = bool(asked[best])
                break
    return counts, right


def counted(seen: Sequence[Overlaps], low: float, high: float) -> Counted:
    """Return what counts for faces whose longer side is in [`low`, `high`)."""
    scores, rights, places, faces = [], [], [], []
    for i, one in enumerate(seen):
        counts, right = _match(one, low, high)
        scores.append(one.scores[counts])
        rights.append(right[counts])
        places.append(np.full(int(counts.sum()), i))
        faces.append(int(((one.face_sizes >= low) & (one.face_sizes < high)).sum()))
    score = np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    return Counted(score[order], np.concatenate(rights)[order], np.concatenate(places)[order], np.array(faces))
