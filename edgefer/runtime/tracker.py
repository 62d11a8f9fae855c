"""Stable numbers for faces from frame to frame, by how much their boxes overlap."""

from __future__ import annotations

from dataclasses import dataclass

from edgefer.preprocess import Box
from edgefer.runtime.frames import Face


@dataclass
class _Track:
    id: int
    face: Face
    lost: int = 0


class Tracker:
    """Gives each face a number that it keeps; greedy, the best overlap first.

    A face that is not found keeps its number for `keep` frames in which faces are looked for. Numbers begin at 1 and
    are never used again.
    """

    def __init__(self, min_overlap: float = 0.25, keep: int = 10) -> None:
        self._min_overlap = min_overlap
        self._keep = keep
        self._tracks: list[_Track] = []
        self._next = 1

    def update(self, faces: list[Face]) -> list[tuple[int, Face]]:
        """Return the faces of the next frame with their numbers, in the order given."""
        pairs = [
            (overlap(track.face.box, face.box), -track.lost, t, f)
            for t, track in enumerate(self._tracks)
            for f, face in enumerate(faces)
        ]
        found: dict[int, _Track] = {}
        taken: set[int] = set()
        for share, _, t, f in sorted(pairs, reverse=True):
            if share < self._min_overlap:
                break
            if t not in taken and f not in found:
                taken.add(t)
                found[f] = self._tracks[t]
        for t, track in enumerate(self._tracks):
            track.lost = 0 if t in taken else track.lost + 1
        self._tracks = [track for track in self._tracks if track.lost <= self._keep]
        for f, face in enumerate(faces):
            if f in found:
                found[f].face = face
            else:
                found[f] = _Track(self._next, face)
                self._tracks.append(found[f])
                self._next += 1
        return [(found[f].id, face) for f, face in enumerate(faces)]

    def carry(self) -> list[tuple[int, Face]]:
        """Return the faces where they were last seen, for a frame in which nobody looked for faces."""
        return [(track.id, track.face) for track in self._tracks if track.lost == 0]

    def forget(self) -> None:
        """Know no face any more; numbers go on."""
        self._tracks = []

    @property
    def known(self) -> set[int]:
        """The numbers of the faces that may still come back."""
        return {track.id for track in self._tracks}


def overlap(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes, 0–1."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(width, 0) * max(height, 0)
    union = a.width * a.height + b.width * b.height - shared
    return shared / union if union > 0 else 0.0
