"""With which way to calibrate a detector's int8 finds most nearly what float finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from edgefer.average_precision import Picture, measure
from edgefer.bundle import Size, size_name
from edgefer.grid import Found, decode
from edgefer.optimize import worker
from edgefer.optimize.convert import METHODS
from edgefer.optimize.detect.agree import agree
from edgefer.optimize.detect.reading import AT_ONCE, grids
from edgefer.optimize.detect.scenes import shown
from edgefer.train.detect.fit import LEAST_FACE, LEAST_SCORE
from edgefer.train.scenes import Scene

SURE = 0.5
"""Score from which a find, of float or of int8, is compared."""


@dataclass(frozen=True)
class DetectChoice:
    """How one way to calibrate did on the training scenes to choose by."""

    size: Size
    format: str
    method: str
    difference: float
    """How far its finds are from float's: mean of 1 - intersection over union plus what the scores differ by, and 1 for
    a find that the other has not."""
    average_precision: float
    chosen: bool


class LikeFloat:
    """Judges ways to calibrate by what their files say of scenes that none was calibrated on; remembers its choices.

    By how alike the finds are and not by average precision: on a few hundred scenes that differs by chance more than by
    method. Nor by the numbers of the grid: a method that cuts the surest scores off is near in most of them.
    """

    def __init__(self, net: Any, size: Size, scenes: Sequence[Scene]) -> None:
        self.choices: list[DetectChoice] = []
        self._net = net
        self._size = size
        self._scenes = scenes

    def __call__(self, format: str, engine: str, made: Mapping[str, Sequence[bytes]]) -> str:
        """Return the method whose file, in its engine, is nearest to float."""
        from edgefer.runtime import engines

        opened = {method: engines.load(engine).Engine(contents, 1) for method, contents in made.items()}
        pictures: dict[str, list[Picture]] = {method: [] for method in opened}
        finds: dict[str, list[Found]] = {method: [] for method in opened}
        wanted: list[Found] = []
        try:
            waiting = shown(self._scenes, self._size)
            while batch := list(islice(waiting, AT_ONCE)):
                pixels = np.stack([one.pixels for one in batch])
                wanted += [decode(grid, LEAST_SCORE) for grid in grids(self._net, pixels)]
                for method, runs in opened.items():
                    found = [decode(grid, LEAST_SCORE) for grid in runs.run(pixels)]
                    finds[method] += found
                    pictures[method] += [one.judged(each) for one, each in zip(batch, found, strict=True)]
        finally:
            for runs in opened.values():
                runs.close()
        away = {method: agree(found, wanted, SURE).distance for method, found in finds.items()}
        best = min(away, key=lambda method: (away[method], METHODS.index(method)))
        for method in away:
            precision = measure(pictures[method], min_size=LEAST_FACE, draws=0).average_precision
            self.choices.append(DetectChoice(self._size, format, method, away[method], precision, method == best))
            worker.tell(
                say=f"  {format} {size_name(self._size)} {method}: difference {away[method]:.4f},"
                f" average precision {precision:.4f}{', chosen' if method == best else ''}"
            )
        return best
