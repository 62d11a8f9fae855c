"""A frame as a JPEG that a phone can take: scaled down, faces marked, blurred where asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from edgefer.errors import SinkError
from edgefer.preprocess import Box, Pixels
from edgefer.runtime.annotate import annotate
from edgefer.runtime.results import FaceResult

MAX_SIDE = 960
QUALITY = 75


def jpeg(image: Pixels, faces: Sequence[FaceResult], blur: bool) -> bytes:
    """Return `image`, uint8 BGR [h, w, 3], as a JPEG of at most MAX_SIDE pixels a side with a box around each face.

    With `blur` the faces are gone before anything is encoded. Raises SinkError when OpenCV cannot encode it.
    """
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    # The page has the bars beside the picture, so without scores none are drawn into it.
    marked = [dataclasses.replace(face, box=_scaled(face.box, scale), scores={}) for face in faces]
    done, encoded = cv2.imencode(".jpg", annotate(image, marked, blur=blur), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise SinkError(f"a picture of {width}×{height} could not be encoded as JPEG for the web preview")
    return encoded.tobytes()


def _scaled(box: Box, scale: float) -> Box:
    """Return the box in the smaller picture, rounded outward so that a blur covers all of it."""
    left, top = int(np.floor(box.x * scale)), int(np.floor(box.y * scale))
    right, bottom = int(np.ceil((box.x + box.width) * scale)), int(np.ceil((box.y + box.height) * scale))
    return Box(left, top, right - left, bottom - top)
