"""Which way to calibrate a classifier's int8 answers most like float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.optimize import worker
from edgefer.optimize.convert import METHODS, Choice
from edgefer.optimize.stored import Pictures, Probabilities, probabilities


class LikeFloat:
    """Judges ways to calibrate by what their files say of faces that none was calibrated on; remembers its choices."""

    def __init__(self, net: Any, faces: Pictures) -> None:
        self.choices: list[Choice] = []
        self._net = net
        self._faces = faces

    def __call__(self, format: str, engine: str, made: Mapping[str, Sequence[bytes]]) -> str:
        """Return the method whose file, in its engine, answers most like float."""
        wanted = probabilities(self._net, self._faces)
        scores = {}
        for method, contents in made.items():
            found = run(engine, contents, self._faces)
            agreement = 100 * float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())
            scores[method] = (_divergence(wanted, found), agreement)
        best = min(scores, key=lambda method: (scores[method][0], METHODS.index(method)))
        for method, (divergence, agreement) in scores.items():
            self.choices.append(Choice(format, method, divergence, agreement, method == best))
            mark = ", chosen" if method == best else ""
            worker.tell(say=f"  {format} {method}: divergence {divergence:.5f}, same label {agreement:.2f} %{mark}")
        return best


def run(engine: str, contents: Sequence[bytes], pictures: Pictures) -> Probabilities:
    """Return what a model's files give in their engine, float32 [n, …], for pictures uint8 [n, h, w, 1]."""
    from edgefer.runtime import engines

    opened = engines.load(engine).Engine(contents, 1)
    try:
        return np.asarray(opened.run(pictures), np.float32)
    finally:
        opened.close()


def _divergence(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """Return the mean Kullback-Leibler divergence of probabilities [n, classes] from the wanted ones."""
    floor = 1e-6
    away = np.log(np.maximum(wanted, floor)) - np.log(np.maximum(found, floor))
    return float((wanted * away).sum(axis=1).mean())
