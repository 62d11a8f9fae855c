"""What a benchmark measures: an artifact in an engine, alone or in the whole pipeline, and the pictures for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgefer import cartoon
from edgefer.bundle import PRECISIONS, Bundle, DetectorBundle, Size, size_name
from edgefer.cartoon.clip import clip
from edgefer.errors import EngineError
from edgefer.letterbox import Letterbox
from edgefer.runtime import engines as runtimes
from edgefer.runtime.detectors import edge

Pixels = npt.NDArray[np.uint8]

FACES = (0, 1, 3)
"""Faces in a frame, in turn."""
DETECT_FACES = 1
"""Faces in a frame for a detector: to it, an empty one costs nearly the same."""
FRAMES = 60
"""Frames that are drawn for a measurement; they are shown again and again."""
SIZE = (640, 360)
"""Width and height of a frame in pixels."""


@dataclass(frozen=True)
class Subject:
    """One row of a record before it is measured."""

    scope: str
    """`model`: one face crop, or picture of a detector's, at a time; `pipeline`, `detect`: whole frames."""
    engine: str
    precision: str
    threads: int
    providers: tuple[str, ...] = ()
    faces: int | None = None
    """Faces drawn into each frame of a `pipeline` or for `detect`."""
    detector: str | None = None
    """Of a `pipeline`, and for `detect`."""
    size: Size | None = None
    """Height and width of the pictures that a detector's artifact takes."""

    def __str__(self) -> str:
        return named(self.engine, self.precision, self.size)


def named(engine: str, precision: str, size: Size | None) -> str:
    """Return what an artifact in an engine is called where people read it: `litert int8`, `litert int8 320x240`."""
    return " ".join([engine, precision, *([size_name(size)] if size else [])])


def models(
    bundle: Bundle | DetectorBundle,
    engines: Sequence[str],
    precisions: Sequence[str] | None,
    threads: Sequence[int],
    providers: Sequence[str] = (),
) -> list[Subject]:
    """Return a subject for every engine × precision × size × threads that the bundle has an artifact for.

    Raises EngineError for an unknown engine, or one without such an artifact.
    """
    found: list[Subject] = []
    for engine in engines:
        format = runtimes.load(engine).FORMAT
        has = {a.precision for a in bundle.artifacts if a.format == format}
        wanted = [p for p in PRECISIONS if p in has and (precisions is None or p in precisions)]
        if not wanted:
            raise _nothing(bundle, engine, precisions)
        for precision in wanted:
            sizes: Sequence[Size | None] = (None,)
            if isinstance(bundle, DetectorBundle):
                sizes = bundle.sizes(format, precision)
            found += [
                Subject("model", engine, precision, n, tuple(providers), size=size) for size in sizes for n in threads
            ]
    if not found:
        raise _nothing(bundle, "the engines that are installed", precisions)
    return found


def _nothing(bundle: Bundle | DetectorBundle, engine: str, precisions: Sequence[str] | None) -> EngineError:
    kinds = dict.fromkeys(f"{a.format} {a.precision}" for a in bundle.artifacts if a.format != "keras")
    return EngineError(
        f"{bundle.path} has nothing to measure for {engine} in {', '.join(precisions or PRECISIONS)}; it has:"
        f" {', '.join(kinds) or 'training weights only'}; make more with: edgefer export {bundle.path}"
    )


def pipelines(engine: str, precision: str, threads: int, detector: str, providers: Sequence[str] = ()) -> list[Subject]:
    """Return a subject for each number of faces."""
    return [Subject("pipeline", engine, precision, threads, tuple(providers), n, detector) for n in FACES]


def detections(bundle: DetectorBundle, engine: str, precision: str | None = None) -> list[Subject]:
    """Return a subject for each size at which the detector can be told to look, in the engine `engine`.

    Raises EngineError when it has none for that engine.
    """
    format = runtimes.load(engine).FORMAT
    # Of two sizes of one width, the detector takes the smaller.
    sizes = {size[1]: size for size in reversed(bundle.sizes(format, precision))}
    if not sizes:
        raise _nothing(bundle, engine, None if precision is None else [precision])
    return [
        Subject(
            "detect",
            engine,
            bundle.sized(format, precision, size).precision,
            edge.THREADS,
            faces=DETECT_FACES,
            detector="edge",
            size=size,
        )
        for size in sorted(sizes.values())
    ]


def drawn_faces(bundle: Bundle, per_class: int = 8, seed: int = 0) -> Pixels:
    """Return drawn faces as the bundle's model takes them: uint8 [n, size, size, 1]."""
    images, _ = cartoon.dataset(per_class, seed)
    return np.stack([bundle.preprocess(image) for image in images])


def letterboxed(pictures: Iterable[Pixels], size: Size) -> Pixels:
    """Return pictures, uint8 BGR [h, w, 3], as a detector of that size takes them: uint8 [n, height, width, 1]."""
    place = Letterbox(*size)
    return np.stack([place(picture)[0] for picture in pictures])


def drawn_frames(faces: int, frames: int = FRAMES, seed: int = 0) -> Pixels:
    """Return drawn frames uint8 BGR [n, h, w, 3] of `SIZE`; with 0 faces, an empty room with changing grain."""
    if faces:
        return np.stack([image for image, _ in clip(frames, SIZE, faces=faces, seed=seed)])
    width, height = SIZE
    rng = np.random.default_rng(seed)
    wall = np.linspace(210, 140, height)[:, None, None] - 18 * np.linspace(-1, 1, width)[None, :, None] ** 2
    noisy = [(wall + rng.normal(0, 1.2, (height, width, 3))).clip(0, 255).astype(np.uint8) for _ in range(frames)]
    return np.stack(noisy)


def evenly(count: int, most: int) -> list[int]:
    """Return up to `most` of the numbers below `count`, from 0, as far apart as can be."""
    chosen = min(count, most)
    return [i * count // chosen for i in range(chosen)]
