"""Pictures with face boxes from disk: one reader a form, all giving the same scenes.

The form is found by looking at the data. Each file here is one: `FORM`, what it looks like in words; `fits(path)`,
whether the data looks so; and `read(path, progress)`, which gives the splits or raises DataError. Pictures are not
decoded here, and boxes are in pixels of the picture as `preprocess.read_picture` gives it. numpy is all that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefer import plugins
from edgefer.errors import DataError
from edgefer.grid import LANDMARKS as LANDMARKS
from edgefer.train.data import Progress as Progress
from edgefer.train.data import pick as pick

Floats = npt.NDArray[np.float32]

LIMIT = 1e6
"""No coordinate, and no side of a picture, is larger."""


def _empty(*shape: int) -> Callable[[], Floats]:
    return lambda: np.empty(shape, np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture on disk with its faces; all in pixels of the picture, boxes may stick out of it.

    Raises DataError for arrays of a wrong type or shape, numbers that are not finite, sizes that are not positive.
    """

    name: str
    """The file's name, for messages and splits."""
    path: Path
    """Of the picture."""
    boxes: Floats = field(default_factory=_empty(0, 4))
    """float32 [k, 4]: x, y, width, height."""
    landmarks: Floats = field(default_factory=_empty(0, LANDMARKS, 2))
    """float32 [k, 5, 2]: the eye that is left in the picture of an upright face, the other eye, the nose, the mouth's
    corner that is left in the picture, the other one. NaN where the labels have none."""
    scores: Floats = field(default_factory=_empty(0))
    """float32 [k] from 0 to 1: how sure a teacher was; 1 where the labels have none."""
    ignore: Floats = field(default_factory=_empty(0, 4))
    """float32 [m, 4]: boxes that count neither for nor against."""
    width: int = 0
    height: int = 0
    """Of the picture; both 0 = not known until it is read."""

    def __post_init__(self) -> None:
        count = len(self.boxes)
        for name, values, shape in (
            ("boxes", self.boxes, (count, 4)),
            ("landmarks", self.landmarks, (count, LANDMARKS, 2)),
            ("scores", self.scores, (count,)),
            ("ignore", self.ignore, (len(self.ignore), 4)),
        ):
            if values.dtype != np.float32 or values.shape != shape:
                raise self._error(f"{name} must be float32 {list(shape)}, found {values.dtype} {list(values.shape)}")
            absent = np.isnan(values)
            if name == "landmarks" and (absent[..., 0] != absent[..., 1]).any():
                raise self._error("a landmark has one coordinate without the other")
            if not (np.abs(values) <= LIMIT).all(where=~absent if name == "landmarks" else True):
                raise self._error(f"{name} must be finite and at most {LIMIT:,.0f}")
        for name, boxes in (("boxes", self.boxes), ("ignore", self.ignore)):
            if not (boxes[:, 2:] > 0).all():
                raise self._error(f"{name} must have a width and height above 0, found {boxes[:, 2:].min():g}")
        if not ((self.scores >= 0) & (self.scores <= 1)).all():
            raise self._error("scores must be from 0 to 1")
        sides = self.width, self.height
        if not (sides == (0, 0) or (min(sides) > 0 and max(sides) <= LIMIT)):
            raise self._error(f"{self.width} × {self.height} is no size of a picture; both 0 = not known")

    def _error(self, what: str) -> DataError:
        return DataError(f"picture {self.name!a:.200}: {what}")


Splits = dict[str, list[Scene]]
"""`train`, `validation`, `test` as far as the data has them, or `all` when it is not divided."""


def read(path: Path, progress: Progress | None = None) -> Splits:
    """Read scenes in any of the forms of this folder; no split is empty.

    Raises DataError that says what is wrong and where, or which forms there are when the data has none of them.
    """
    try:
        splits = _read(path, progress)
    except OSError as error:  # a folder that may not be listed, a disk that fails
        raise DataError(f"{path} cannot be read: {error}") from error
    splits = {name: scenes for name, scenes in splits.items() if scenes}
    if not splits:
        raise DataError(f"{path} holds no pictures, or labels of none")
    return splits


def _read(path: Path, progress: Progress | None) -> Splits:
    if not path.exists():
        raise DataError(f"there is no data at {path}")
    forms = [plugins.load(__name__, name, DataError, "form of scenes") for name in plugins.names(__name__)]
    fitting = [form for form in forms if form.fits(path)]
    possible = "; ".join(form.FORM for form in fitting or forms)
    if len(fitting) > 1:
        raise DataError(f"{path} looks like several forms: {possible}. Give the label file, or a folder with one form")
    if not fitting:
        raise DataError(f"{path} has no form with face boxes. Found: {_found(path)}. Possible: {possible}")
    splits: Splits = fitting[0].read(path, progress)
    return splits


def for_training(splits: Splits, seed: int, fraction: float = 0.1) -> tuple[list[Scene], list[Scene]]:
    """Return (train, validation); where there is no validation split, `fraction` is held out.

    It is drawn at random, of the pictures with faces and of those without. Raises DataError when there is nothing to
    train on or too little to divide.
    """
    if "train" in splits and "validation" in splits:
        return splits["train"], splits["validation"]
    name, scenes = pick(splits, "train" if "train" in splits else "all")
    if sum(len(scene.boxes) > 0 for scene in scenes) < 2:
        raise DataError(f"the {name} split has fewer than 2 pictures with faces: none can be held out for validation")
    held = _held(scenes, np.random.default_rng(seed), fraction)
    return [s for i, s in enumerate(scenes) if i not in held], [s for i, s in enumerate(scenes) if i in held]


def _held(scenes: Sequence[Scene], rng: np.random.Generator, fraction: float) -> set[int]:
    """Return the rows to hold out: of two or more of a kind one at least, and never all."""
    held: set[int] = set()
    for faces in (True, False):
        rows = [i for i, scene in enumerate(scenes) if (len(scene.boxes) > 0) == faces]
        if len(rows) > 1:
            count = min(max(1, round(len(rows) * fraction)), len(rows) - 1)
            held.update(int(i) for i in rng.permutation(rows)[:count])
    return held


def _found(path: Path) -> str:
    """Return what lies at `path`, in words."""
    if not path.is_dir():
        return f"a file {path.name!a:.80}"
    entries = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    more = f" and {len(entries) - 8} more" if len(entries) > 8 else ""
    return ", ".join(f"{entry!a:.60}" for entry in entries[:8]) + more if entries else "an empty folder"
