"""Views: what training sees of the scenes, cut at random places, scales and angles, with the faces in them.

Every view depends on its random state and the scenes alone, so a run can be gone on with as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from edgefer import cartoon
from edgefer.grid import STRIDE
from edgefer.labels import FER2013_LABELS
from edgefer.letterbox import FILL
from edgefer.preprocess import Pixels
from edgefer.train.detect.disturb import disturb, hide
from edgefer.train.detect.pictures import Picture
from edgefer.train.detect.recipe import Views
from edgefer.train.detect.targets import DEPTH, Floats, Labels, grid_of

LEAST_SIDE = 7.0
"""Pixels: of smaller faces nothing is asked."""
LEAST_SEEN = 0.5
"""Part of a face's box that must be in the view for it to be asked for."""
MOST_ZOOM = 3.0
"""How much a picture is enlarged at most."""

BEHIND = 0.6
"""Part of the views in which a scene without faces stands where the picture ends; else there is one grey level."""

Floats64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class View:
    """One training picture, uint8 [h, w], and the faces in it."""

    pixels: Pixels
    labels: Labels


class Viewer:
    """Cuts views from scenes."""

    def __init__(self, pictures: Sequence[Picture], settings: Views, teacher_scores: bool = True) -> None:
        """With `teacher_scores` a face's score is what the network shall aim at, else 1."""
        if not teacher_scores:
            pictures = [replace(p, labels=replace(p.labels, scores=np.ones_like(p.labels.scores))) for p in pictures]
        self._with = [p for p in pictures if len(p.labels.boxes)]
        self._without = [p for p in pictures if not len(p.labels.boxes)] or list(pictures)
        self._settings = settings

    def batch(self, seed: Sequence[int], count: int, large: bool) -> tuple[Pixels, Floats]:
        """Return `count` views uint8 [n, h, w, 1] and their targets float32 [n, h / 8, w / 8, DEPTH].

        Large ones are twice as high and wide.
        """
        times = 2 if large else 1
        height, width = self._settings.height * times, self._settings.width * times
        pixels = np.empty((count, height, width, 1), np.uint8)
        targets = np.empty((count, height // STRIDE, width // STRIDE, DEPTH), np.float32)
        rng = np.random.default_rng(seed)
        for i in range(count):
            view = self.view(rng, height, width, self._settings.largest * times)
            pixels[i, ..., 0] = view.pixels
            targets[i] = grid_of(view.labels, height, width)
        return pixels, targets

    def view(self, rng: np.random.Generator, height: int, width: int, largest: float) -> View:
        """Return one view of `height` × `width` pixels; `largest` is the side of the largest face to be cut about."""
        s, kind = self._settings, rng.random()
        if kind < s.mosaic:
            view = self._mosaic(rng, height, width, largest)
        elif kind < s.mosaic + s.drawn:
            view = self._drawn(rng, height, width, largest)
        else:
            view = self._single(rng, height, width, largest, (kind - s.mosaic - s.drawn))
        pixels = hide(rng, view.pixels, view.labels.boxes, s.hide)
        return View(disturb(rng, pixels, s), view.labels)

    def _single(self, rng: np.random.Generator, height: int, width: int, largest: float, kind: float) -> View:
        s = self._settings
        if kind < s.empty or not self._with:
            return self._empty(rng, height, width)
        picture = self._with[rng.integers(len(self._with))]
        if kind < s.empty + s.whole:
            return self._whole(rng, picture, height, width)
        return self._about_a_face(rng, picture, height, width, largest)

    def _about_a_face(
        self, rng: np.random.Generator, picture: Picture, height: int, width: int, largest: float
    ) -> View:
        x, y, w, h = picture.labels.boxes[rng.integers(len(picture.labels.boxes))]
        side, smallest = np.sqrt(w * h), self._settings.smallest
        wanted = np.exp(rng.uniform(np.log(smallest), np.log(max(smallest, min(largest, 0.95 * height)))))
        scale = min(wanted / side, MOST_ZOOM)
        near = 0.3 * min(scale * side, height, width)  # mostly inside, sometimes cut by the edge
        place = (rng.uniform(near, width - near), rng.uniform(near, height - near))
        return self._cut(rng, picture, (x + w / 2, y + h / 2), place, scale, height, width)

    def _empty(self, rng: np.random.Generator, height: int, width: int) -> View:
        picture = self._without[rng.integers(len(self._without))]
        high, wide = picture.levels[0].shape
        whole = min(height / high, width / wide)
        scale = min(whole * np.exp(rng.uniform(np.log(0.7), np.log(5.0))), MOST_ZOOM)
        middle = (wide * rng.uniform(0.15, 0.85), high * rng.uniform(0.15, 0.85))
        if scale <= 1.2 * whole:
            middle = (wide / 2, high / 2)
        return self._cut(rng, picture, middle, (width / 2, height / 2), scale, height, width)

    def _whole(self, rng: np.random.Generator, picture: Picture, height: int, width: int) -> View:
        """Return the whole scene as `Letterbox` places it, perhaps mirrored; not turned."""
        high, wide = picture.levels[0].shape
        scale = min(height / high, width / wide)
        middle, place = (wide / 2, high / 2), (wide * scale / 2, high * scale / 2)
        flipped = rng.random() < self._settings.flip
        return _warp(picture, map_of(middle, place, scale, 0.0, flipped), scale, flipped, height, width, FILL)

    def _cut(
        self,
        rng: np.random.Generator,
        picture: Picture,
        middle: tuple[float, float],
        place: tuple[float, float],
        scale: float,
        height: int,
        width: int,
    ) -> View:
        """Return the view in which the point `middle` of a picture lies at `place`, turned and mirrored at random."""
        most = self._settings.rotation
        angle = rng.uniform(-most, most) if rng.random() < 0.3 else rng.normal(0, most / 5)
        flipped = rng.random() < self._settings.flip
        matrix = map_of(middle, place, scale, float(np.clip(angle, -most, most)), flipped)
        beside: int | Pixels = FILL if rng.random() < 0.5 else int(rng.integers(256))
        if rng.random() < BEHIND:
            other = self._without[rng.integers(len(self._without))]
            if not len(other.labels.boxes) and not len(other.labels.ignore):
                high, wide = other.levels[0].shape
                fills = max(height / high, width / wide)
                to_fill = map_of((wide / 2, high / 2), (width / 2, height / 2), fills)
                beside = pixels_of(other, to_fill, fills, height, width, FILL)
        return _warp(picture, matrix, scale, flipped, height, width, beside)

    def _mosaic(self, rng: np.random.Generator, height: int, width: int, largest: float) -> View:
        """Return four views in one."""
        pixels, parts = np.empty((height, width), np.uint8), []
        high, wide = height // 2, width // 2
        for top in (0, high):
            for left in (0, wide):
                kind = rng.random()
                view = self._single(rng, high, wide, largest / 2, kind)
                pixels[top : top + high, left : left + wide] = view.pixels
                parts.append(_moved(view.labels, left, top))
        return View(pixels, _joined(parts))

    def _drawn(self, rng: np.random.Generator, height: int, width: int, largest: float) -> View:
        """Return a view without faces with one or two drawn heads put into it."""
        view = self._empty(rng, height, width)
        pixels, boxes = view.pixels.copy(), []
        for i in range(int(rng.integers(1, 3))):
            most = max(12.0, min(largest, 0.4 * min(height, width)))
            side = float(np.exp(rng.uniform(np.log(12.0), np.log(most))))
            emotion = FER2013_LABELS[rng.integers(len(FER2013_LABELS))]
            grey, solid, (x, y, w, h) = cartoon.head(emotion, rng, side)
            part = width / 2  # each in its own half, so that none hides another
            left = round(part * i + rng.uniform(0, max(1.0, part - w)) - x)
            top = round(rng.uniform(0, max(1.0, height - h)) - y)
            _put(pixels, grey, solid, left, top)
            boxes.append((left + x, top + y, w, h))
        found = np.array(boxes, np.float32)
        marks = np.full((len(found), 5, 2), np.nan, np.float32)
        # Where no scene is without faces, a head may stand in front of one.
        ignore = np.concatenate([view.labels.ignore, view.labels.boxes])
        return View(pixels, Labels(found, marks, np.ones(len(found), np.float32), ignore))


def map_of(
    middle: tuple[float, float], place: tuple[float, float], scale: float, angle: float = 0.0, flipped: bool = False
) -> Floats64:
    """Return the affine map [2, 3] that mirrors, scales, turns by `angle` degrees and brings `middle` to `place`."""
    turn = np.deg2rad(angle)
    matrix = np.empty((2, 3))
    matrix[:, :2] = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if flipped:
        matrix[:, 0] *= -1
    matrix[:, 2] = np.array(place) - matrix[:, :2] @ np.array(middle)
    return matrix


def _warp(
    picture: Picture,
    matrix: Floats64,
    scale: float,
    flipped: bool,
    height: int,
    width: int,
    beside: int | Pixels,
) -> View:
    """Return the picture through the map `matrix`, with what its faces become; `beside` is seen where it ends."""
    pixels = pixels_of(picture, matrix, scale, height, width, beside)
    return View(pixels, _mapped(picture.labels, matrix, flipped, height, width))


def pixels_of(
    picture: Picture, matrix: Floats64, scale: float, height: int, width: int, beside: int | Pixels
) -> Pixels:
    """Return the pixels of a picture through a map, uint8 [height, width]; `beside` is seen where it ends."""
    level = min(max(0, int(np.floor(np.log2(1 / scale) + 0.25))), len(picture.levels) - 1)
    pixels = picture.levels[level]
    full = picture.levels[0]
    shrunk = np.array([full.shape[1] / pixels.shape[1], full.shape[0] / pixels.shape[0]])
    of_level = matrix.copy()
    of_level[:, :2] *= shrunk
    # OpenCV's pixel i is the point i, ours spans i to i + 1.
    of_level[:, 2] += of_level[:, :2] @ np.array([0.5, 0.5]) - 0.5
    if isinstance(beside, int):
        cut = cv2.warpAffine(
            pixels,
            of_level,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(beside,),
        )
    else:
        cut = cv2.warpAffine(
            pixels, of_level, (width, height), beside, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
        )
    return np.asarray(cut, np.uint8)


def _mapped(labels: Labels, matrix: Floats64, flipped: bool, height: int, width: int) -> Labels:
    """Return the labels in pixels of a view, without what is outside; what is hardly in it or too small is ignored."""
    boxes, ignore = _mapped_boxes(labels.boxes, matrix), _mapped_boxes(labels.ignore, matrix)
    marks = labels.landmarks @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32)
    if flipped:
        marks = marks[:, [1, 0, 2, 4, 3]]
    seen = _seen(boxes, height, width)
    side = np.sqrt(boxes[:, 2] * boxes[:, 3])
    asked = (seen >= LEAST_SEEN) & (side >= LEAST_SIDE)
    unclear = ~asked & (seen > 0)
    ignore = np.concatenate([ignore[_seen(ignore, height, width) > 0], boxes[unclear]])
    return Labels(boxes[asked], marks[asked].astype(np.float32), labels.scores[asked], ignore)


def _mapped_boxes(boxes: Floats, matrix: Floats64) -> Floats:
    """Return boxes [k, 4] through a map: about what an ellipse within each becomes."""
    middles = (boxes[:, :2] + boxes[:, 2:] / 2) @ matrix[:, :2].T + matrix[:, 2]
    cos, sin = np.abs(matrix[0, :2])
    sides = np.hypot(boxes[:, 2:] * cos, boxes[:, :1:-1] * sin)
    return np.concatenate([middles - sides / 2, sides], axis=1).astype(np.float32)


def _seen(boxes: Floats, height: int, width: int) -> Floats:
    """Return which part of each box lies in the view, 0–1."""
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], (width, height))
    inside = np.maximum(ends - np.maximum(boxes[:, :2], 0), 0)
    return np.asarray(inside.prod(axis=1) / np.maximum(boxes[:, 2:].prod(axis=1), 1e-6), np.float32)


def _moved(labels: Labels, x: float, y: float) -> Labels:
    by = np.array([x, y, 0, 0], np.float32)
    return Labels(labels.boxes + by, labels.landmarks + by[:2], labels.scores, labels.ignore + by)


def _joined(parts: Sequence[Labels]) -> Labels:
    names = ("boxes", "landmarks", "scores", "ignore")
    return Labels(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _put(pixels: Pixels, grey: Pixels, solid: Pixels, left: int, top: int) -> None:
    """Blend `grey` into `pixels` where it is `solid`."""
    height, width = pixels.shape
    y0, y1, x0, x1 = max(top, 0), min(top + len(grey), height), max(left, 0), min(left + len(grey), width)
    if y0 >= y1 or x0 >= x1:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    alpha = solid[part].astype(np.float32) / 255
    there = pixels[y0:y1, x0:x1]
    there[:] = there * (1 - alpha) + grey[part] * alpha
