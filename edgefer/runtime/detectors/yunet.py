"""YuNet through OpenCV: a small network that also finds faces that are turned, and tells where the eyes are.

Its model is not part of edgefer: `edgefer models pull yunet` fetches it, or `--detector-model FILE` names one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.errors import DetectorError
from edgefer.preprocess import Pixels
from edgefer.quiet import opencv_log_level
from edgefer.runtime import models
from edgefer.runtime.detectors._square import square_faces
from edgefer.runtime.engines.onnxruntime import EXTERNAL_DATA
from edgefer.runtime.frames import Face, FaceDetector

MAX_MODEL_BYTES = 50_000_000
MIN_SCORE = 0.6
MAX_OVERLAP = 0.3
"""Intersection over union from which two finds are one face."""
MOST_FACES = 1000
PICTURE_SIDE = 640
VIDEO_SIDE = 320
"""Pixels that the longer side of a picture is scaled down to; docs/detectors.md has what that costs and finds."""


class YuNet:
    """Finds faces on a copy whose longer side is at most `max_side` pixels; needs to remember nothing."""

    def __init__(self, contents: bytes, name: str, max_side: int = PICTURE_SIDE, min_score: float = MIN_SCORE) -> None:
        """Load the model in `contents`; `name` is what messages call it. Raises DetectorError when it is no YuNet."""
        self._max_side = max_side
        self._size = (64, 64)
        if EXTERNAL_DATA in contents:
            raise DetectorError(f"{name} refers to data in other files, which is refused")
        try:
            with _errors_told_once():
                self._net: Any = cv2.FaceDetectorYN.create(
                    "onnx",
                    np.frombuffer(contents, np.uint8),
                    np.empty(0, np.uint8),
                    self._size,
                    min_score,
                    MAX_OVERLAP,
                    MOST_FACES,
                )
                self._net.detect(np.zeros((*self._size, 3), np.uint8))  # any other network fails here
        except (cv2.error, SystemError) as error:
            reason = str(getattr(error, "err", "") or error).splitlines()[0][:120]
            raise DetectorError(
                f"{name} ({len(contents)} bytes) is no YuNet that OpenCV {cv2.__version__} can run ({reason});"
                " get one with: edgefer models pull yunet"
            ) from error

    def detect(self, image: Pixels) -> list[Face]:
        """Return the faces in `image`, uint8 BGR [h, w, 3], from left to right; boxes are as the Haar cascade's.

        Raises DetectorError when OpenCV cannot run the model on this picture.
        """
        rows = self.find(image)
        return square_faces(rows[:, :4], rows[:, 14], rows[:, 4:8].reshape(-1, 2, 2), image.shape[1], image.shape[0])

    def forget(self) -> None:
        """Nothing is remembered."""

    def find(self, image: Pixels) -> npt.NDArray[np.float64]:
        """Return all finds, [k, 15]: the network's own box, five points and score, in pixels of `image`.

        What `detect` makes faces of, and what an evaluation asks. Raises DetectorError as `detect`.
        """
        height, width = image.shape[:2]
        scale = max(1.0, max(height, width) / self._max_side)
        size = (max(1, round(width / scale)), max(1, round(height / scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if size != (width, height) else image
        try:
            if size != self._size:
                self._net.setInputSize(size)
                self._size = size
            found = self._net.detect(small)[1]
        except cv2.error as error:
            raise DetectorError(f"YuNet failed on a picture of {width}×{height}: {error.err}") from error
        rows = np.asarray(np.empty((0, 15)) if found is None else found, np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows[:, :14] *= np.tile((width / size[0], height / size[1]), 7)
        return rows


def open_detector(model: Path | None, continuous: bool) -> FaceDetector:
    """Return the detector with the model in a file, or else with the one that `edgefer models pull yunet` fetched.

    In videos it looks at smaller pictures. Raises DetectorError when there is no model, or it is no YuNet.
    """
    return YuNet(*read_model(model), VIDEO_SIDE if continuous else PICTURE_SIDE)


def read_model(model: Path | None) -> tuple[bytes, str]:
    """Return the contents and the path of a model file, or else of the one that `edgefer models pull yunet` fetched.

    Raises DetectorError when there is none, or it is too large.
    """
    if model is not None:
        return _read(model), str(model)
    known = models.find("yunet")
    contents = models.read(known)
    if contents is None:
        raise DetectorError("detector yunet needs its model: edgefer models pull yunet, or --detector-model FILE")
    return contents, str(models.path(known))


def _read(model: Path) -> bytes:
    try:
        with model.open("rb") as file:
            contents = file.read(MAX_MODEL_BYTES + 1)
    except OSError as error:
        raise DetectorError(
            f"{model} cannot be read: {error.strerror or error}; --detector-model takes a file"
        ) from error
    if len(contents) > MAX_MODEL_BYTES:
        raise DetectorError(f"{model} has more than {MAX_MODEL_BYTES:,} bytes; a YuNet has some 230,000")
    return contents


@contextlib.contextmanager
def _errors_told_once() -> Iterator[None]:
    """Keep OpenCV from logging what it also raises."""
    level = opencv_log_level(0)
    try:
        yield
    finally:
        opencv_log_level(level)
