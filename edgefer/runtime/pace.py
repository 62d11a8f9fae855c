"""How often to look for faces: in every frame, in every Nth, or as often as the frame rate leaves time for."""

from __future__ import annotations

import math

MOST = 10
"""Faces are looked for in one frame of so many at least: what moves is lost otherwise."""
ROOM = 0.9
"""The part of the time between two frames that work may take."""
_WEIGHT = 0.1
"""Of the newest frame in the running averages."""


class Pace:
    """Says for each frame whether the detector runs; between, the tracker's boxes are carried on.

    `every` is a fixed number; None finds one: the smallest N with which a frame's work plus one Nth of a detection fits
    into the time between two frames. Without a frame rate to keep (files), that is 1.
    """

    def __init__(self, every: int | None = 1, fps: float | None = None) -> None:
        self._fixed = every
        self._budget_ms = 1000 / fps * ROOM if fps else None
        self._detect_ms: float | None = None
        self._other_ms: float | None = None
        self._since = max(MOST, every or 0)  # so that the first frame is looked at

    @property
    def every(self) -> int:
        """In one frame of how many the detector runs now."""
        if self._fixed is not None:
            return self._fixed
        if self._budget_ms is None or self._detect_ms is None or self._other_ms is None:
            return 1
        left = self._budget_ms - self._other_ms
        return MOST if left <= 0 else min(MOST, max(1, math.ceil(self._detect_ms / left)))

    def due(self) -> bool:
        """Return whether to detect in the frame that comes now."""
        self._since += 1
        if self._since < self.every:
            return False
        self._since = 0
        return True

    def took(self, detect_ms: float | None, other_ms: float) -> None:
        """Learn what a frame cost: the detection (None: there was none) and everything else."""
        self._other_ms = _mixed(self._other_ms, other_ms)
        if detect_ms is not None:
            self._detect_ms = _mixed(self._detect_ms, detect_ms)


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else old + _WEIGHT * (new - old)
