"""Detectors as an evaluation asks them: every find down to the least sure one, with the detector's own boxes.

What `edgefer run` gives is not enough for a precision–recall curve: it leaves out what is below a threshold, and makes
squares of the boxes for the model that names expressions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.bench.detection import Model
from edgefer.bench.session import runnable
from edgefer.bundle import DetectorBundle, size_name
from edgefer.errors import DetectorError
from edgefer.preprocess import Pixels
from edgefer.runtime import engines
from edgefer.runtime.detectors import edge, haar, yunet
from edgefer.runtime.frames import FaceDetector

NAMES = ("edge", "haar", "yunet")
LEAST = 0.02
"""Score from which finds are kept for the curve."""
HAAR_LEAST = 1
"""Neighbours from which a find of the cascade is kept for the curve; with more it ends earlier, and its area falls."""
HAAR_FIT = (0.81, 1.04)
"""Width and height of a labelled face over the side of the cascade's square; their middles agree within 1 %.

Medians of 879 pairs on 916 of the training scenes (every sixth) at 320 pixels.
"""

Floats = npt.NDArray[np.float32]
Finds = tuple[Floats, Floats]
"""Boxes [k, 4], x, y, width and height in pixels of the picture, and scores [k]."""


class Finder:
    """A detector that looks at pictures of one size; each kind fills in what it is."""

    name: str
    size: int
    """Pixels of the longer side."""
    model: Model
    runtime: FaceDetector
    """What `edgefer run` would ask, a whole picture at a time."""
    threshold: float
    """Score from which a find counts as a face by default."""
    ranked_by: str = "score"
    fit: tuple[float, float] | None = None
    """What its boxes are to be multiplied by, width and height, to be as labels are; None where they are so."""

    def find(self, image: Pixels) -> tuple[Finds, Finds]:
        """Return all finds in a picture, uint8 BGR [h, w, 3], and those that count as faces by default."""
        raise NotImplementedError

    def in_video(self) -> FaceDetector | None:
        """Open it for a video, where it remembers from frame to frame; None where it does not."""
        return None


def scaled(image: Pixels, side: int) -> Pixels:
    """Return a picture whose longer side is `side` pixels, also where it was smaller."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return image
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)


class EdgeFinder(Finder):
    """edgefer's own detector as the runtime opens it: artifacts of a bundle in an engine."""

    name = "edge"

    def __init__(self, bundle: DetectorBundle, size: int, engine: str | None, precision: str | None) -> None:
        """Load the artifact for pictures `size` wide; raises EngineError, BundleError or DetectorError."""
        self.size = size
        name = engine or engines.choose(bundle, runnable(bundle, edge.ENGINES, precision) or edge.ENGINES)[0]
        form = engines.load(name).FORMAT
        sizes = bundle.sizes(form, precision)
        shape = next((s for s in sizes if s[1] == size), None)
        if shape is None:
            has = ", ".join(map(size_name, sizes)) or "none"
            kind = f"{form} {precision}" if precision else form
            raise DetectorError(f"{bundle.path} has no {kind} for pictures {size} pixels wide; it has: {has}")
        artifact = bundle.sized(form, precision, shape)
        self._open = partial(edge.open_edge, bundle, size, name, precision)
        self._edge = self._open()
        version = f"{name} {self._edge.engine.version}"
        self.runtime = self._edge
        self.threshold = bundle.threshold
        self.model = Model(artifact.path, artifact.bytes, artifact.file.sha256, version, artifact.precision)

    def in_video(self) -> FaceDetector:
        """Open the detector that remembers where faces were in the frame before."""
        return self._open(continuous=True)

    def find(self, image: Pixels) -> tuple[Finds, Finds]:
        """Return all finds, and those from the bundle's threshold on."""
        found = self._edge.find(image, LEAST)
        return _from(found.boxes, found.scores, self.threshold)


class YuNetFinder(Finder):
    """YuNet on pictures that are brought to a size, smaller ones too."""

    name = "yunet"
    threshold = yunet.MIN_SCORE

    def __init__(self, model: Path | None, size: int) -> None:
        """Load the model; raises DetectorError when there is none, or it is no YuNet."""
        self.size = size
        contents, path = yunet.read_model(model)
        name = Path(path).name
        self.runtime = yunet.YuNet(contents, path, size)
        self._all = yunet.YuNet(contents, path, size, LEAST)
        self.model = _model(name, contents)

    def find(self, image: Pixels) -> tuple[Finds, Finds]:
        """Return all finds, and those from the runtime's threshold on."""
        small = scaled(image, self.size)
        rows = self._all.find(small).astype(np.float32)
        return _from(_back(rows[:, :4], small, image), rows[:, 14], self.threshold)


class HaarFinder(Finder):
    """The cascade on pictures that are brought to a size, smaller ones too.

    Weights put finds in order; what the runtime takes for faces is what has enough neighbours.
    """

    name = "haar"
    threshold = 1.0
    ranked_by = "level weight"
    fit = HAAR_FIT

    def __init__(self, size: int) -> None:
        """Open the cascade; raises DetectorError when this OpenCV has none."""
        self.size = size
        self._search = replace(haar.PICTURES, max_side=size)
        self.runtime = self._haar = haar.Haar(self._search)
        folder = Path(getattr(cv2, "data", cv2).haarcascades)
        self.model = _model(haar.CASCADE, (folder / haar.CASCADE).read_bytes())

    def in_video(self) -> FaceDetector:
        """Open the detector that looks where faces were in the frame before."""
        return haar.HaarInVideo(self._search)

    def find(self, image: Pixels) -> tuple[Finds, Finds]:
        """Return all finds, and those that the runtime takes for faces, which have no score."""
        small = scaled(image, self.size)
        boxes, weights = self._haar.find(small, HAAR_LEAST)
        faces = [face.box for face in self._haar.detect(small)]
        sure = np.array([(b.x, b.y, b.width, b.height) for b in faces], np.float32).reshape(-1, 4)
        return (_back(boxes, small, image), weights), (_back(sure, small, image), np.ones(len(sure), np.float32))


def fitted(boxes: Floats, fit: tuple[float, float]) -> Floats:
    """Return boxes with sides multiplied by `fit`, width and height, about their middles."""
    sides = boxes[:, 2:] * np.array(fit, np.float32)
    return np.concatenate((boxes[:, :2] + (boxes[:, 2:] - sides) / 2, sides), axis=1).astype(np.float32)


def _from(boxes: Floats, scores: Floats, threshold: float) -> tuple[Finds, Finds]:
    sure = scores >= threshold
    return (boxes, scores), (boxes[sure], scores[sure])


def _back(boxes: Floats, small: Pixels, image: Pixels) -> Floats:
    """Return boxes in a scaled picture in pixels of the picture that it was made from."""
    factor = (image.shape[1] / small.shape[1], image.shape[0] / small.shape[0])
    return np.asarray(boxes * np.array([*factor, *factor], np.float32))


def _model(name: str, contents: bytes) -> Model:
    return Model(name, len(contents), hashlib.sha256(contents).hexdigest(), f"OpenCV {cv2.__version__}", "")


@dataclass(frozen=True)
class Wanted:
    """Which detectors, and how they are opened."""

    detectors: tuple[tuple[str, tuple[int, ...]], ...]
    """Names with the sizes at which they look; the first is held against the others."""
    bundle: DetectorBundle | None
    """For `edge`, which is not asked without."""
    engine: str | None = None
    precision: str | None = None
    yunet: Path | None = None
    """Its model; None = what `edgefer models pull yunet` fetched."""


def open_finders(wanted: Wanted) -> list[Finder]:
    """Open each detector at each size, sizes of one together.

    Raises DetectorError for a name that is none, and as each detector does.
    """
    found: list[Finder] = []
    for name, sizes in wanted.detectors:
        for size in sizes:
            if name == "edge" and wanted.bundle is not None:
                found.append(EdgeFinder(wanted.bundle, size, wanted.engine, wanted.precision))
            elif name == "haar":
                found.append(HaarFinder(size))
            elif name == "yunet":
                found.append(YuNetFinder(wanted.yunet, size))
            else:
                raise DetectorError(f"detector {name!r} cannot be evaluated; choose from: {', '.join(NAMES)}")
    return found
