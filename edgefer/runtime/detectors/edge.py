"""edgefer's own detector, which ships with it: a small network on grey pictures, in the engines that the models run in.

Another network of the kind can be given: `--detector-model` names a bundle that `edgefer train --task detect` wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgefer.boxes import iou
from edgefer.bundle import DetectorBundle, Size, open_detector_bundle, size_name
from edgefer.errors import BundleError, DetectorError, EngineError
from edgefer.grid import CHANNELS, MAX_OVERLAP, STRIDE, Found, decode, joined
from edgefer.letterbox import LEAST_AGAIN, Letterbox, Placed, halved
from edgefer.letterbox import SIZES as LOOKED_AT
from edgefer.preprocess import Pixels
from edgefer.runtime import engines
from edgefer.runtime.detectors._square import square_faces
from edgefer.runtime.engines import Engine
from edgefer.runtime.frames import Face, FaceDetector

ENGINES = ("litert", "tflite-runtime", "onnxruntime", "openvino")
"""The first of these that is installed and has a file in the bundle runs it."""
SIZES = tuple(width for _, width in LOOKED_AT)
"""Widths of the picture that it may be told to look at, of 160×120, 320×240 and 640×480."""
PICTURE_SIDE = 640
VIDEO_SIDE = 320
"""What it looks at untold; docs/detectors.md has what each size costs and finds."""
THREADS = 1
ALIGN_FROM = 10.0
"""Degrees of tilt, by the network's eyes, from which a face comes with them, to be put upright before it is read.

The eyes tell about half of a tilt: that is a head turned by some 18°. Of such faces more are read rightly then; those
that are turned less are read neither better nor worse (benchmarks/alignment.py).
"""


STAYS = 0.55
"""Part of the threshold that is enough in a video where a face was in the frame before."""


class Look:
    """One network for pictures of one size."""

    def __init__(self, engine: Engine, size: Size) -> None:
        """Take a network for pictures of `size`, height and width; raises DetectorError when it gives no such grid."""
        self.engine = engine
        self.letterbox = Letterbox(*size)
        shape = self._run(np.zeros((*size, 1), np.uint8)).shape
        if (
            len(shape) != 3
            or shape[2] != CHANNELS
            or any(STRIDE * n < side for n, side in zip(shape, size, strict=False))
        ):
            raise DetectorError(
                f"the detector's network gives {list(shape)} for a picture of {size_name(size)}, not {CHANNELS} numbers"
                f" for each cell of {STRIDE} pixels; get its bundle again, or choose another with --detector"
            )

    def find(self, picture: Pixels, placed: Placed, min_score: float, least: float = 0.0) -> Found:
        """Return the finds in the network's picture, uint8 [h, w, 1], in pixels of the frame that is `placed` in it.

        Those whose side is below `least` pixels of the network's picture are left out.
        """
        found = decode(self._run(picture), min_score, least_side=least)
        return Found(placed.boxes(found.boxes), found.scores, placed.points(found.landmarks))

    def _run(self, picture: Pixels) -> engines.Answers:
        try:
            answer: engines.Answers = self.engine.run(picture[None])[0]
        except EngineError as error:
            raise DetectorError(f"detector edge: {error}; choose another with --detector") from error
        return answer


class Edge:
    """Finds faces on copies of the picture that fill its networks' inputs.

    The network sees no face whole that is wider than some 170 pixels. So it looks again, at half the size, and so on as
    far as there are networks, for a quarter of the time each; there all but small faces get a second opinion.
    """

    def __init__(self, looks: Sequence[Look], threshold: float) -> None:
        """`looks` come with the largest size first; finds of `threshold` or more are faces."""
        self._looks = tuple(looks)
        self._threshold = threshold

    @property
    def engine(self) -> Engine:
        """What runs the network of the largest size."""
        return self._looks[0].engine

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in `image`, uint8 BGR [h, w, 3], from left to right; boxes are as the Haar cascade's.

        Raises DetectorError when an engine fails.
        """
        found = self.sure(image)
        if not len(found.scores):
            return []
        eyes = found.landmarks[:, :2].copy()
        lines = eyes[:, 1] - eyes[:, 0]
        eyes[np.abs(np.degrees(np.arctan2(lines[:, 1], lines[:, 0]))) < ALIGN_FROM] = np.nan
        return square_faces(found.boxes, found.scores, eyes, image.shape[1], image.shape[0])

    def forget(self) -> None:
        """Nothing is remembered."""

    def sure(self, image: Pixels) -> Found:
        """Return the finds that are faces, in pixels of `image`, with their own boxes; raises DetectorError."""
        return self.find(image, self._threshold)

    def find(self, image: Pixels, min_score: float) -> Found:
        """Return all finds of a score, in pixels of `image`, with their own boxes; raises DetectorError as `detect`."""
        first = self._looks[0]
        size = first.letterbox
        picture, placed = size(image)
        found = first.find(picture, placed, min_score)
        for look in self._looks[1:]:
            halves = (size.height, size.width) == (2 * look.letterbox.height, 2 * look.letterbox.width)
            size = look.letterbox
            picture, placed = (halved(picture), placed.halved()) if halves else size(image)
            again = look.find(picture, placed, min_score, LEAST_AGAIN)
            if len(again.scores):
                found = joined(found, again)
        return found


class EdgeInVideo(Edge):
    """Remembers where faces were in the frame before: a find there needs less to be one.

    So a face that turns aside, or that something passes before, is not lost for some frames, while what is no face has
    to reach the threshold as ever (hysteresis, as in Canny, 1986). Its pictures must follow one another.
    """

    def __init__(self, looks: Sequence[Look], threshold: float) -> None:
        """As `Edge`."""
        super().__init__(looks, threshold)
        self._known = np.empty((0, 4), np.float32)
        self._shape: tuple[int, ...] = ()

    def sure(self, image: Pixels) -> Found:
        """Return the finds that are faces, as `Edge`, and remember them."""
        found = self.find(image, STAYS * self._threshold)
        sure = found.scores >= self._threshold
        if not sure.all():
            if image.shape == self._shape:
                sure |= (iou(found.boxes, self._known) > MAX_OVERLAP).any(axis=1)
            found = found.take(np.flatnonzero(sure))
        self._known, self._shape = found.boxes, image.shape
        return found

    def forget(self) -> None:
        """Know no face any more."""
        self._shape = ()


def open_detector(model: Path | None, continuous: bool, size: int | None = None) -> FaceDetector:
    """Return the detector that ships, or the one in the bundle `model`; `size` is the width of what it looks at.

    Untold it looks at smaller pictures in videos, and at the next smaller ones where the bundle lacks those. Raises
    DetectorError when there is no such bundle or size, or nothing here can run it.
    """
    try:
        return open_edge(open_detector_bundle(model), size, continuous=continuous)
    except (BundleError, EngineError) as error:
        hint = "" if model is None else "; --detector-model takes the folder of a face detector's bundle"
        raise DetectorError(f"detector edge: {error}{hint}") from error


def open_edge(
    bundle: DetectorBundle,
    size: int | None = None,
    engine: str | None = None,
    precision: str | None = None,
    *,
    continuous: bool = False,
) -> Edge:
    """Return the detector that looks at pictures of `size`, or of the usual size or the next smaller that there is.

    `engine` runs it, or else the first of ENGINES that can; without `precision` int8 comes first. With `continuous` its
    pictures are those of a video. Raises BundleError, EngineError, or DetectorError when the bundle lacks the size.
    """
    name = engine or engines.choose(bundle, ENGINES)[0]
    format = engines.load(name).FORMAT
    sizes = bundle.sizes(format, precision)
    usual = VIDEO_SIDE if continuous else PICTURE_SIDE
    chosen = nearest(sizes, usual) if size is None else _of(sizes, size, bundle)
    chain = [chosen]
    for smaller in reversed(sizes):
        if 2 * smaller[1] <= chain[-1][1]:
            chain.append(smaller)
    looks = []
    for each in chain:
        opened = engines.open_artifact(bundle, bundle.sized(format, precision, each), name, THREADS)
        looks.append(Look(opened.engine, each))
    return (EdgeInVideo if continuous else Edge)(looks, bundle.threshold)


def _of(sizes: Sequence[Size], width: int, bundle: DetectorBundle) -> Size:
    for size in sizes:
        if size[1] == width:
            return size
    has = ", ".join(size_name(size) for size in sizes)
    raise DetectorError(f"{bundle.path} has no network for pictures {width} pixels wide; it has: {has}")


def nearest(sizes: Sequence[Size], width: int) -> Size:
    """Return the largest of the sizes, which rise, that is no wider; the smallest where all are."""
    return max((size for size in sizes if size[1] <= width), key=lambda size: size[0] * size[1], default=sizes[0])
