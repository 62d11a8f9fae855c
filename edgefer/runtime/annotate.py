"""Results drawn into the picture: box, number, emotion, and a bar for every score."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgefer.preprocess import Pixels
from edgefer.runtime.results import FaceResult

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE, _GREY = (255, 255, 255), (150, 150, 150)
_COLOURS = {
    "angry": (60, 60, 235),
    "disgust": (60, 160, 60),
    "fear": (190, 80, 150),
    "happy": (40, 200, 250),
    "sad": (230, 140, 50),
    "surprise": (40, 140, 255),
    "neutral": (200, 200, 200),
}


def annotate(image: Pixels, faces: Sequence[FaceResult]) -> Pixels:
    """Return a copy of `image`, uint8 BGR [h, w, 3], with the faces drawn; lines and letters grow with the picture."""
    picture = image.copy()
    unit = max(0.5, max(picture.shape[:2]) / 640)
    for face in faces:
        colour = _COLOURS.get(face.label, (220, 220, 120))
        box = face.box
        corner = (box.x + box.width, box.y + box.height)
        cv2.rectangle(picture, (box.x, box.y), corner, colour, max(1, round(2 * unit)), cv2.LINE_AA)
        _title(picture, face, colour, unit)
        _bars(picture, face, colour, unit)
    return picture


def _title(picture: Pixels, face: FaceResult, colour: tuple[int, int, int], unit: float) -> None:
    """Write number, label and confidence on a strip above the box, or inside it at the picture's top."""
    text = f"#{face.id} {face.label} {face.confidence:.0%}"
    scale, thick = 0.5 * unit, max(1, round(unit))
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, thick)
    pad = round(4 * unit)
    left = max(0, min(face.box.x, picture.shape[1] - width - 2 * pad))
    top = face.box.y - height - 2 * pad
    top = top if top >= 0 else max(0, face.box.y)
    cv2.rectangle(picture, (left, top), (left + width + 2 * pad, top + height + 2 * pad), colour, cv2.FILLED)
    cv2.putText(picture, text, (left + pad, top + pad + height), _FONT, scale, (20, 20, 20), thick, cv2.LINE_AA)


def _bars(picture: Pixels, face: FaceResult, colour: tuple[int, int, int], unit: float) -> None:
    """Draw the scores on a dark panel right of the box, or left of it where there is no room."""
    rows = list(face.scores.items())
    if not rows:
        return
    step, pad, scale = round(14 * unit), round(4 * unit), 0.36 * unit
    thick = max(1, round(0.9 * unit))
    names = max(cv2.getTextSize(label, _FONT, scale, thick)[0][0] for label, _ in rows)
    length = round(44 * unit)
    width, height = names + length + 3 * pad, step * len(rows) + pad
    left = face.box.x + face.box.width + pad
    if left + width > picture.shape[1]:
        left = face.box.x - width - pad
    left = max(0, min(left, picture.shape[1] - width))
    top = max(0, min(face.box.y, picture.shape[0] - height))
    panel = picture[top : top + height, left : left + width]
    panel[:] = (panel * np.float32(0.35)).astype(np.uint8)
    for row, (label, score) in enumerate(rows):
        base = top + step * (row + 1)
        best = label == face.label
        text = _WHITE if best else _GREY
        cv2.putText(picture, label, (left + pad, base - round(2 * unit)), _FONT, scale, text, thick, cv2.LINE_AA)
        start = left + names + 2 * pad
        end = start + round(length * min(max(score, 0.0), 1.0))
        upper, lower = base - round(9 * unit), base - round(2 * unit)
        cv2.rectangle(picture, (start, upper), (start + length, lower), (70, 70, 70), cv2.FILLED)
        cv2.rectangle(picture, (start, upper), (end, lower), colour if best else _GREY, cv2.FILLED)
