"""Results drawn into the picture: box, number, emotion, and a bar for every score; faces blurred where asked for."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edgefer.preprocess import Box, Pixels
from edgefer.runtime.results import UNCERTAIN, FaceResult
from edgefer.runtime.tracker import overlap

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PATCHES = 6
_WHITE, _GREY = (255, 255, 255), (150, 150, 150)
COLOURS = {
    "angry": (60, 60, 235),
    "disgust": (60, 160, 60),
    "fear": (190, 80, 150),
    "happy": (40, 200, 250),
    "sad": (230, 140, 50),
    "surprise": (40, 140, 255),
    "neutral": (200, 200, 200),
    UNCERTAIN: (150, 150, 150),
}
"""Label → BGR; labels of other data sets have none of their own."""


def annotate(image: Pixels, faces: Sequence[FaceResult], *, blur: bool = False) -> Pixels:
    """Return a copy of `image`, uint8 BGR [h, w, 3], with the faces drawn; lines and letters grow with the picture.

    With `blur` nobody can be recognised by a face that was found; a face that was not found stays as it is.
    """
    picture = image.copy()
    if blur:
        for face in faces:
            _blur(picture, face.box)
    unit = max(0.5, max(picture.shape[:2]) / 640)
    taken = [face.box for face in faces]
    for face in faces:
        box = face.box
        corner = (box.x + box.width, box.y + box.height)
        cv2.rectangle(picture, (box.x, box.y), corner, _colour(face), max(1, round(2 * unit)), cv2.LINE_AA)
        if face.scores:
            taken.append(_bars(picture, face, unit, taken))
    for face in faces:  # last, so that no panel hides them
        _title(picture, face, unit)
    return picture


def _blur(picture: Pixels, box: Box) -> None:
    """Replace the box and a quarter of it around by 6 × 6 patches, made smooth: too few to know anybody by."""
    dx, dy = box.width // 4, box.height // 4
    left, top = max(0, box.x - dx), max(0, box.y - dy)
    face = picture[top : max(0, box.y + box.height + dy), left : max(0, box.x + box.width + dx)]
    if face.size:
        patches = cv2.resize(face, (_PATCHES, _PATCHES), interpolation=cv2.INTER_AREA)
        face[:] = cv2.resize(patches, (face.shape[1], face.shape[0]), interpolation=cv2.INTER_LINEAR)


def _colour(face: FaceResult) -> tuple[int, int, int]:
    return COLOURS.get(face.shown, (220, 220, 120))


def _title(picture: Pixels, face: FaceResult, unit: float) -> None:
    """Write number, label and confidence on a strip above the box, or inside it at the picture's top."""
    text = f"#{face.id} {face.shown} {face.confidence:.0%}"
    scale, thick = 0.5 * unit, max(1, round(unit))
    (width, height), _ = cv2.getTextSize(text, _FONT, scale, thick)
    pad = round(4 * unit)
    left = max(0, min(face.box.x, picture.shape[1] - width - 2 * pad))
    top = face.box.y - height - 2 * pad
    top = top if top >= 0 else max(0, face.box.y)
    cv2.rectangle(picture, (left, top), (left + width + 2 * pad, top + height + 2 * pad), _colour(face), cv2.FILLED)
    cv2.putText(picture, text, (left + pad, top + pad + height), _FONT, scale, (20, 20, 20), thick, cv2.LINE_AA)


def _bars(picture: Pixels, face: FaceResult, unit: float, taken: Sequence[Box]) -> Box:
    """Draw the scores on a dark panel beside the box, away from what is `taken` if it can be; return the panel."""
    rows = list(face.scores.items())
    step, pad, scale = round(14 * unit), round(4 * unit), 0.36 * unit
    thick = max(1, round(0.9 * unit))
    names = max(cv2.getTextSize(label, _FONT, scale, thick)[0][0] for label, _ in rows)
    length = round(36 * unit)
    place = _free_place(picture, face.box, (names + length + 3 * pad, step * len(rows) + pad), pad, taken)
    left, top, width, height = place.x, place.y, place.width, place.height
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
        cv2.rectangle(picture, (start, upper), (end, lower), _colour(face) if best else _GREY, cv2.FILLED)
    return place


def _free_place(picture: Pixels, box: Box, size: tuple[int, int], gap: int, taken: Sequence[Box]) -> Box:
    """Return where a panel of `size` (width, height) beside `box` hides the least of what is taken."""
    width, height = size
    right, left, low = box.x + box.width + gap, box.x - width - gap, box.y + box.height - height // 2
    high = box.y if box.y >= 6 * gap else box.y + 6 * gap  # the title is inside the box then
    places = []
    for x, y in [(right, high), (left, high), (right, low), (left, low), (box.x, box.y + box.height + gap)]:
        inside_x = max(0, min(x, picture.shape[1] - width))
        inside_y = max(0, min(y, picture.shape[0] - height))
        places.append(Box(inside_x, inside_y, width, height))
    return min(places, key=lambda place: sum(overlap(place, other) for other in taken))  # the first of equals
