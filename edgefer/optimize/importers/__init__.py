"""Importers: one format a file, found by file name; they run in a process of their own (`_process`).

A file defines `SUFFIXES` (of the files that it reads), `open_model(path)`, which reads what a file says of itself and
gives a way to run it as it is, and `build(opened, choice, folder)`, which makes what goes into the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import plugins
from edgefer.errors import ExportError

Pictures = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

MIN_SIZE, MAX_SIZE = 8, 512
"""Of a picture's side, as the manifest allows it."""
BATCH = 32
"""Pictures that are run together where the model allows it."""
SUM_TOLERANCE = 0.02
"""By how much probabilities may miss a sum of 1: seven labels in steps of 1/256 miss it by half of that."""


@dataclass(frozen=True)
class Scaling:
    """How a model wants its pixels: (pixel - mean) / std, with pixels 0–255."""

    name: str
    """As the user wrote it."""
    mean: tuple[float, ...]
    """One for all channels, or one for each in the model's order."""
    std: tuple[float, ...]

    def apply(self, pictures: Pictures, channels: int) -> Floats:
        """Return float32 [n, size, size, channels] for uint8 [n, size, size, 1]; grey is repeated."""
        repeated = np.repeat(pictures, channels, axis=3).astype(np.float32)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return np.asarray((repeated - mean) / std, np.float32)


NAMED = {
    "unit": Scaling("unit", (0.0,), (255.0,)),
    "signed": Scaling("signed", (127.5,), (127.5,)),
    "raw": Scaling("raw", (0.0,), (1.0,)),
}
"""0–1, -1–1, 0–255."""


def parse_scaling(text: str) -> Scaling:
    """Return the scaling of `unit`, `signed`, `raw`, `MEAN,STD` or `MEAN,MEAN,MEAN,STD,STD,STD`.

    Raises ExportError for anything else.
    """
    if text in NAMED:
        return NAMED[text]
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    half = len(numbers) // 2
    mean, std = tuple(numbers[:half]), tuple(numbers[half:])
    if len(numbers) not in (2, 6) or not all(abs(m) <= 1e5 for m in mean) or not all(1e-3 <= s <= 1e5 for s in std):
        raise ExportError(
            f"--preprocess {text!r} is not known; write unit (0–1), signed (-1–1), raw (0–255), or a mean and a"
            " standard deviation on the scale 0–255, such as 127.5,127.5 or 123.675,116.28,103.53,58.395,57.12,57.375"
        )
    return Scaling(text, mean, std)


@dataclass(frozen=True)
class Quantisation:
    """real = scale · (stored - zero)."""

    scale: float
    zero: int


@dataclass(frozen=True)
class Found:
    """What a file says of its model."""

    format: str
    name: str
    """The model's own, or empty."""
    dtype: str
    """Of the input: `float32`, `float16`, `float64`, `uint8`, `int8`."""
    layout: str
    """`NHWC` or `NCHW`."""
    size: int
    channels: int
    classes: int
    batch: int | None = None
    """None = any number."""
    taken: Quantisation | None = None
    """Of the input."""
    given: Quantisation | None = None
    """Of the output."""

    def __str__(self) -> str:
        """Return one line for people."""
        sides = [self.size, self.size]
        shape = [self.channels, *sides] if self.layout == "NCHW" else [*sides, self.channels]
        text = ", ".join(map(str, ["n" if self.batch is None else self.batch, *shape]))
        return f"{self.format}: takes {self.dtype} [{text}] ({self.layout}), gives {self.classes} values"

    def feed(self, pictures: Pictures, scaling: Scaling | None) -> npt.NDArray[Any]:
        """Return the model's own input for uint8 [n, size, size, 1]; without `scaling`, pixels as they are."""
        values: npt.NDArray[Any] = np.repeat(pictures, self.channels, axis=3)
        if scaling is not None:
            values = scaling.apply(pictures, self.channels)
            if self.taken is not None:
                limits = np.iinfo(self.dtype)
                steps = np.rint(values / np.float32(self.taken.scale)) + self.taken.zero
                values = steps.clip(limits.min, limits.max)
        if self.layout == "NCHW":
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values.astype(self.dtype))

    def real(self, values: npt.NDArray[Any]) -> Floats:
        """Return the model's output as float32 [n, classes]."""
        numbers = values.astype(np.float32).reshape(len(values), -1)
        if self.given is not None:
            numbers = (numbers - np.float32(self.given.zero)) * np.float32(self.given.scale)
        return numbers


@dataclass(frozen=True)
class Opened:
    """A model that can be run as it is."""

    found: Found
    run: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    """The model's own input (a batch that it takes) → its own output."""
    held: Any
    """What `build` needs."""

    def values(self, pictures: Pictures, scaling: Scaling | None) -> Floats:
        """Return what the model gives, float32 [n, classes], for uint8 [n, size, size, 1] preprocessed by hand."""
        step = BATCH if self.found.batch is None else 1
        parts = [
            self.found.real(self.run(self.found.feed(pictures[i : i + step], scaling)))
            for i in range(0, len(pictures), step)
        ]
        return np.concatenate(parts)


@dataclass(frozen=True)
class Choice:
    """What was decided about a model."""

    scaling: Scaling | None
    """None = it takes the pixels as they are."""
    output: str
    """`probabilities` or `logits`."""
    name: str
    """What the files are called."""


@dataclass(frozen=True)
class Built:
    """Files for the bundle."""

    files: dict[tuple[str, str], dict[str, bytes]]
    """(format, precision) → file name → contents, the main file first."""
    notes: tuple[str, ...] = ()
    """What a person should know of what was made, and what not."""


def importer_names() -> list[str]:
    """Return every format that edgefer can import."""
    return plugins.names(__name__)


def for_file(path: Path) -> ModuleType:
    """Return the importer for a file by its suffix; raises ExportError for one that no importer reads."""
    known: list[str] = []
    for name in importer_names():
        module = plugins.load(__name__, name, ExportError, "import format")
        if path.suffix.lower() in module.SUFFIXES:
            return module
        known += module.SUFFIXES
    raise ExportError(f"{path}: {path.suffix or 'no suffix'} is not read; export the model to {', '.join(known)}")


def picture_shape(shape: Sequence[int | None]) -> tuple[str, int, int]:
    """Return (layout, size, channels) of an input of `shape`, with the batch first.

    Raises ExportError when it is not square pictures of one or three channels.
    """
    text = ", ".join("?" if n is None else str(n) for n in shape)
    if len(shape) == 4 and None not in shape[1:]:
        a, b, c = (int(n or 0) for n in shape[1:])
        for layout, channels, height, width in (("NHWC", c, a, b), ("NCHW", a, b, c)):
            if channels in (1, 3) and height == width:
                if not MIN_SIZE <= height <= MAX_SIZE:
                    raise ExportError(f"the model takes pictures of {height} × {height}; {MIN_SIZE} to {MAX_SIZE} work")
                return layout, height, channels
    raise ExportError(f"the model must take square pictures with 1 or 3 channels and a fixed size; found [{text}]")


def decide_output(values: Floats, wanted: str) -> tuple[str, str]:
    """Return (`probabilities` or `logits`, a warning or nothing) for what a model gave, float32 [n, classes].

    Raises ExportError when `wanted` (`auto`, `probabilities`, `logits`) contradicts the values, or they are no numbers.
    """
    if not np.isfinite(values).all():
        raise ExportError("the model gives values that are not numbers for ordinary faces; is --preprocess right?")
    sums = values.sum(axis=1)
    positive = bool(values.min() >= -1e-6)
    found = "probabilities" if positive and np.abs(sums - 1).max() <= SUM_TOLERANCE else "logits"
    if wanted not in ("auto", found):
        raise ExportError(
            f"--output {wanted} contradicts what the model gives: {values.min():.3g} to {values.max():.3g}, rows that"
            f" sum to {sums.min():.3g}–{sums.max():.3g}, which are {found}"
        )
    if found == "logits" and wanted == "auto" and positive and values.max() <= 1:
        return found, (
            "the values lie in 0–1 but do not sum to 1, as sigmoids give: they are taken as logits, so labels are"
            " right and probabilities are flat"
        )
    return found, ""


def softmax(values: Floats) -> Floats:
    """Return softmax of logits float32 [n, k], computed in float64."""
    powers = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    probabilities: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities
