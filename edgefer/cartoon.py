"""Drawn cartoon faces of the seven emotions: data, and a clip, for trials that need no camera and no data set.

Everything is drawn by one function, `_paint_head`, in face units: the box that a face detector gives is about the
square from -1 to 1 with y downward. Eyes, brows, mouth and a few wrinkles carry the emotion; everything else (shape,
shade, hair, light, noise) varies with the generator that the caller seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.labels import FER2013_LABELS

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]

FPS = 25.0
"""Frames a second at which `clip` is meant to be shown."""

_SUBPIXEL = 4  # OpenCV draws with this many fractional bits
_HOLD = 50  # frames that an emotion lasts in the clip
_BLEND = 6  # frames in which one emotion turns into the next


@dataclass(frozen=True)
class _Expression:
    """What the emotion moves; every value is a length in face units or a factor, so that two can be blended."""

    brow_inner: float = 0.0  # up is positive
    brow_outer: float = 0.0
    brow_arch: float = 0.05
    eye_open: float = 1.0
    eye_low: float = 1.0  # lower lid: 1 relaxed, negative pushed up to a crescent
    eye_slant: float = 0.0  # positive: the inner end of the upper lid is low
    iris: float = 1.0
    gaze: float = 0.0  # down is positive
    smile: float = 0.0
    mouth_open: float = 0.0
    mouth_width: float = 1.0
    mouth_square: float = 2.0  # 2 is an ellipse, more is a box
    mouth_y: float = 0.0
    sneer: float = 0.0  # one side of the upper lip pulled up
    teeth: float = 0.0
    tongue: float = 0.0
    furrow: float = 0.0
    nose_wrinkle: float = 0.0
    folds: float = 0.0
    tear: float = 0.0


_EXPRESSIONS = {
    "angry": _Expression(
        brow_inner=-0.17, brow_outer=0.12, brow_arch=0.0, eye_open=0.7, eye_low=0.75, eye_slant=0.5, iris=0.9,
        smile=-0.75, mouth_open=0.2, mouth_width=0.95, mouth_square=6.0, teeth=1.0, furrow=1.0, folds=0.3,
    ),
    "disgust": _Expression(
        brow_inner=-0.1, brow_outer=-0.05, brow_arch=-0.02, eye_open=0.4, eye_low=0.35, eye_slant=0.1, gaze=0.02,
        smile=-0.45, mouth_open=0.2, mouth_width=0.85, mouth_y=-0.02, sneer=0.15, tongue=1.0, nose_wrinkle=1.0,
        folds=1.0,
    ),
    "fear": _Expression(
        brow_inner=0.22, brow_outer=0.0, brow_arch=0.02, eye_open=1.25, eye_low=1.05, eye_slant=-0.15, iris=0.7,
        smile=-0.7, mouth_open=0.27, mouth_width=1.15, mouth_square=4.0, teeth=0.35, mouth_y=0.03,
    ),
    "happy": _Expression(
        brow_inner=0.02, brow_outer=0.0, brow_arch=0.09, eye_open=0.85, eye_low=0.1, gaze=-0.03, smile=1.2,
        mouth_open=0.26, mouth_width=1.25, teeth=0.55, tongue=0.5, mouth_y=-0.02, folds=0.35,
    ),
    "sad": _Expression(
        brow_inner=0.17, brow_outer=-0.13, brow_arch=0.0, eye_open=0.65, eye_low=0.9, eye_slant=-0.45, gaze=0.04,
        smile=-1.0, mouth_open=0.0, mouth_width=0.75, mouth_y=0.05, tear=1.0,
    ),
    "surprise": _Expression(
        brow_inner=0.04, brow_outer=0.03, brow_arch=0.12, eye_open=1.15, eye_low=1.0, iris=0.8, smile=0.0,
        mouth_open=0.4, mouth_width=0.75, mouth_y=0.06, tongue=0.5,
    ),
    "neutral": _Expression(),
}  # fmt: skip


@dataclass(frozen=True)
class _Look:
    """What stays the same for one person: lengths in face units, tones in grey levels."""

    skin: float
    hair: float
    iris: float
    lips: float
    width: float
    jaw: float
    chin: float
    eye_x: float
    eye_y: float
    eye_size: float
    brow_width: float
    nose: float
    mouth: float
    fringe: float
    long_hair: bool
    light: float  # -1 from the left … 1 from the right
    contrast: float


def draw_face(emotion: str, rng: np.random.Generator, size: int = 48) -> Pixels:
    """Return one face, uint8 [size, size] grey, that fills the picture as a face detector's box does.

    `emotion` is one of FER2013_LABELS (ValueError otherwise); the same state of `rng` gives the same picture.
    """
    look = _random_look(rng)
    expression = _vary(_expression(emotion), rng)
    scale = float(rng.uniform(0.76, 0.92))
    shift = rng.uniform(-0.07, 0.07, 2)
    angle = float(rng.normal(0, 4))
    big = size * 4
    canvas = _backdrop(big, rng)
    pen = _Pen(
        canvas, np.zeros_like(canvas), big / 2 * scale, angle, (big / 2 * (1 + shift[0]), big / 2 * (1 + shift[1]))
    )
    _paint_head(pen, look, expression)
    grey = cv2.resize(pen.canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    grey = (grey - 128) * rng.uniform(0.75, 1.15) + 128 + rng.uniform(-22, 22)
    grey += rng.normal(0, rng.uniform(1, 5), grey.shape)
    return grey.clip(0, 255).astype(np.uint8)


def dataset(per_class: int, seed: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return `per_class` faces of every emotion, shuffled: uint8 [n, 48, 48] and int64 [n] in FER2013's order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(FER2013_LABELS), dtype=np.int64), per_class))
    images = np.empty((labels.size, 48, 48), np.uint8)
    for row, label in enumerate(labels):
        images[row] = draw_face(FER2013_LABELS[label], rng)
    return images, labels


def clip(
    frames: int, size: tuple[int, int] = (640, 360), faces: int = 2, seed: int = 0
) -> Iterator[tuple[Pixels, list[str]]]:
    """Yield `frames` pictures, uint8 BGR [h, w, 3], with the emotion of every face in them, left to right.

    `faces` heads (1 to 4) sway slowly and change emotion about every two seconds at 25 frames a second; a head keeps
    its look. `size` is width and height in pixels. Raises ValueError when there is no room for the heads.
    """
    width, height = size
    if frames < 0 or not 1 <= faces <= 4:
        raise ValueError(f"a clip has 0 or more frames and 1 to 4 faces, not {frames} and {faces}")
    radius = min(height * 0.24, width / faces * 0.26)
    if radius < 16:
        raise ValueError(f"a clip of {faces} faces needs more room than {width} x {height}")
    actors = [_Actor(np.random.default_rng([seed, number])) for number in range(faces)]
    room = _room(width, height, seed)
    for index in range(frames):
        frame = room.copy()
        shown = []
        for number, actor in enumerate(actors):
            expression, emotion = actor.act(index, number)
            x = width * (number + 0.5) / faces + radius * 0.35 * np.sin(index / 31 + actor.phase)
            y = height * 0.52 + radius * 0.15 * np.sin(index / 23 + 2 * actor.phase)
            scale = radius * (1 + 0.06 * np.sin(index / 47 + 3 * actor.phase))
            _place(frame, actor.look, expression, scale, 3.0 * np.sin(index / 37 + actor.phase), (x, y))
            shown.append(emotion)
        yield frame, shown


def head(emotion: str, rng: np.random.Generator, side: float) -> tuple[Pixels, Pixels, tuple[float, ...]]:
    """Return a head with neck and shoulders to put into a picture: grey and how solid, both [n, n], and its face's box.

    `emotion` is one of FER2013_LABELS (ValueError otherwise). `side` is that of the box in pixels, the square root of
    its area; the box is x, y, width, height in the picture, from the brow to the chin.
    """
    look = _random_look(rng)
    scale = side / np.sqrt(2 * look.width * (look.chin + _BROW))
    reach = round(scale * 2.4)
    grey, solid = _drawn(look, _vary(_expression(emotion), rng), scale, float(rng.normal(0, 6)), reach, (0.0, 0.0))
    width, height = 2 * look.width * scale, (look.chin + _BROW) * scale
    return grey.astype(np.uint8), solid, (reach - width / 2, reach - _BROW * scale, width, height)


_BROW = 1.05  # face units from the middle of a head up to where a face begins


class _Actor:
    """One person of the clip: a look, and a list of emotions that goes round."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.look = _random_look(rng)
        self.phase = float(rng.uniform(0, 6))
        self.order = [str(name) for name in rng.permutation(FER2013_LABELS)]

    def act(self, index: int, number: int) -> tuple[_Expression, str]:
        """Return the expression at frame `index` and the emotion that it shows."""
        turn, since = divmod(index + number * 17, _HOLD)
        emotion, before = self.order[turn % 7], self.order[(turn - 1) % 7]
        now, then = _expression(emotion), _expression(before)
        part = 1.0 if turn == 0 else min(1.0, 0.5 + since / _BLEND)
        after = (turn + 1, since + _BLEND // 2 - _HOLD)
        if after[1] > 0:  # the first half of the next change
            now, then, part = _expression(self.order[after[0] % 7]), now, after[1] / _BLEND
        return _blend(then, now, part), emotion


class _Pen:
    """Draws shapes given in face units on a grey canvas, and what belongs to the head on a mask as well."""

    def __init__(self, canvas: Pixels, mask: Pixels, scale: float, angle: float, centre: tuple[float, float]) -> None:
        self.canvas, self.mask, self.scale = canvas, mask, scale
        turn = np.deg2rad(angle)
        self.matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        self.centre = np.array(centre)

    def pixels(self, points: Points) -> npt.NDArray[np.int32]:
        """Return points [n, 2] of face units as OpenCV's fixed-point pixels."""
        placed = points @ self.matrix.T + self.centre
        return np.asarray(np.rint(placed * (1 << _SUBPIXEL)), np.int32)

    def fill(self, points: Points, tone: float, outline: bool = False, within: Pixels | None = None) -> None:
        """Fill a polygon; `outline` adds it to the head's mask, `within` limits it to where that is not 0."""
        shape = [self.pixels(points)]
        if outline:
            cv2.fillPoly(self.mask, shape, (255,), cv2.LINE_8, _SUBPIXEL)
        if within is None:
            cv2.fillPoly(self.canvas, shape, (tone,), cv2.LINE_AA, _SUBPIXEL)
            return
        x, y, width, height = cv2.boundingRect(shape[0] >> _SUBPIXEL)
        part = (slice(max(y, 0), max(y + height + 1, 0)), slice(max(x, 0), max(x + width + 1, 0)))
        both = self.shape_mask(points)[part] & within[part]
        self.canvas[part][both > 0] = round(tone)

    def shape_mask(self, points: Points) -> Pixels:
        """Return a mask, uint8 of the canvas's shape, that is 255 in the polygon."""
        part = np.zeros_like(self.mask)
        cv2.fillPoly(part, [self.pixels(points)], (255,), cv2.LINE_8, _SUBPIXEL)
        return part

    def line(self, points: Points, tone: float, width: float) -> None:
        """Draw a line with round ends through points; `width` is in face units."""
        thick = max(1, round(width * self.scale))
        cv2.polylines(self.canvas, [self.pixels(points)], False, (tone,), thick, cv2.LINE_AA, _SUBPIXEL)

    def shade(self, look: _Look) -> None:
        """Multiply the head by soft light and shadow; these are what a Haar cascade looks for."""
        rows, columns = self.canvas.shape
        coarse = 32
        grid = np.stack(np.meshgrid(np.linspace(0, columns, coarse), np.linspace(0, rows, coarse)), -1) - self.centre
        at = grid @ np.linalg.inv(self.matrix).T
        x, y = at[..., 0], at[..., 1]

        def blob(bx: float, by: float, rx: float, ry: float) -> npt.NDArray[np.float64]:
            return np.asarray(np.exp(-(((x - bx) / rx) ** 2) - ((y - by) / ry) ** 2))

        light = 1.0 + 0.10 * look.light * x
        light -= 0.16 * np.clip(np.abs(x) - 0.45, 0, 1) + 0.22 * np.clip(y - 0.75, 0, 1)
        light += 0.10 * blob(0, -0.68, 0.7, 0.25)
        for side in (-1, 1):
            light -= 0.34 * look.contrast * blob(side * look.eye_x, look.eye_y - 0.03, 0.36, 0.22)
            light += 0.13 * look.contrast * blob(side * 0.45, 0.22, 0.3, 0.22)
        light += 0.2 * look.contrast * blob(0, look.eye_y + 0.12, 0.12, 0.36)
        light -= 0.08 * blob(0, 0.83, 0.35, 0.08)
        smooth = cv2.resize(light.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
        lit = cv2.multiply(self.canvas, smooth, dtype=cv2.CV_8U)
        cv2.copyTo(lit, self.mask, self.canvas)


def _paint_head(pen: _Pen, look: _Look, face: _Expression) -> None:
    """Draw a whole head, with hair and ears, on `pen`."""
    hair = look.hair
    bottom = 0.9 if look.long_hair else -0.2
    back = _ellipse(0, -0.42, look.width + 0.16, 1.22)
    if look.long_hair:
        sides = np.array([[-look.width - 0.16, -0.42], [-look.width - 0.2, bottom], [look.width + 0.2, bottom],
                          [look.width + 0.16, -0.42]])  # fmt: skip
        pen.fill(sides, hair * 0.8, outline=True)
    pen.fill(back, hair * 0.8, outline=True)
    for side in (-1, 1):
        if not look.long_hair:
            pen.fill(_ellipse(side * (look.width + 0.02), 0.0, 0.12, 0.24), look.skin * 0.8, outline=True)
    head = _head_outline(look)
    pen.fill(head, look.skin, outline=True)
    pen.shade(look)
    pen.line(head, look.skin * 0.55, 0.025)
    _paint_hair(pen, look, head)
    _paint_nose(pen, look, face)
    for side in (-1, 1):
        _paint_eye(pen, look, face, side)
        _paint_brow(pen, look, face, side)
    _paint_wrinkles(pen, look, face)
    _paint_mouth(pen, look, face)


def _head_outline(look: _Look) -> Points:
    t = np.linspace(0, 2 * np.pi, 64)
    x, y = np.cos(t) * look.width, np.sin(t)
    low = np.clip(y, 0, 1)
    x = x * (1 - (1 - look.jaw) * low**1.5)
    x = np.sign(x) * np.abs(x) ** 0.92
    return np.stack([x, np.where(y > 0, y * look.chin, y * 1.4) + 0.02], 1)


def _paint_hair(pen: _Pen, look: _Look, head: Points) -> None:
    """Draw the hair in front: what of the head lies above the hairline."""
    inside = pen.shape_mask(head * [1.02, 1.02])
    x = np.linspace(-1.3, 1.3, 25)
    line = -0.98 + 0.9 * np.clip(np.abs(x) - 0.62, 0, 1) ** 1.2 + look.fringe * 0.12 * np.cos(x * 3 + look.fringe)
    pen.fill(np.concatenate([np.stack([x, line], 1), [[1.3, -2], [-1.3, -2]]]), look.hair, within=inside)
    for start in (-0.5, -0.15, 0.25):
        strand = np.array([[start, -1.38], [start + 0.12, -1.2], [start + 0.16, -1.05]])
        pen.line(strand, min(255, look.hair * 1.25 + 12), 0.03)


def _paint_eye(pen: _Pen, look: _Look, face: _Expression, side: int) -> None:
    """Draw one eye; `side` is -1 for the one on the left of the picture."""
    x, y, rx, ry = side * look.eye_x, look.eye_y, 0.235 * look.eye_size, 0.15 * look.eye_size
    t = np.linspace(-1, 1, 17)
    curve = np.sqrt(1 - t**2)
    inner = -t * side  # 1 at the end beside the nose
    upper = -ry * face.eye_open * curve + face.eye_slant * ry * inner * (0.35 + 0.65 * curve)
    lower = ry * 0.85 * face.eye_low * curve + face.eye_slant * ry * inner * 0.35 * (1 - curve)
    lower = np.maximum(lower, upper + 0.01)
    top, base = np.stack([x + rx * t, y + upper], 1), np.stack([x + rx * t, y + lower], 1)
    shape = np.concatenate([top, base[::-1]])
    inside = pen.shape_mask(shape)
    dark = min(35.0, look.skin * 0.3)
    pen.fill(shape, min(215.0, look.skin * 0.75 + 45), within=inside)
    centre = y + face.gaze - 0.01
    pen.fill(_ellipse(x, centre, 0.13 * face.iris, 0.14 * face.iris), look.iris, within=inside)
    pen.fill(_ellipse(x, centre, 0.075 * face.iris, 0.08 * face.iris), 12, within=inside)
    pen.fill(_ellipse(x - 0.045 * face.iris, centre - 0.05 * face.iris, 0.03, 0.03), 245, within=inside)
    pen.line(base, look.skin * 0.45, 0.03)
    pen.line(top, dark, 0.075)
    crease = np.stack([x + rx * 0.95 * t, y + upper - 0.075 - 0.02 * curve], 1)
    if face.eye_open < 1.1:
        pen.line(crease[2:-2], look.skin * 0.5, 0.025)
    if face.tear > 0.3 and side == 1:
        low = y + 0.28 + 0.1 * face.tear
        t = np.linspace(0, 2 * np.pi, 25)
        drop = np.stack([x + 0.1 + 0.06 * np.sin(t) * np.sin(t / 2), low - 0.09 * np.cos(t)], 1)
        pen.fill(drop, min(250.0, look.skin + 70))
        pen.line(drop, look.skin * 0.55, 0.018)


def _paint_brow(pen: _Pen, look: _Look, face: _Expression, side: int) -> None:
    t = np.linspace(0, 1, 9)  # from the inner end outward
    x = side * (look.eye_x - 0.24 + 0.5 * t)
    rise = face.brow_inner * (1 - t) + face.brow_outer * t + face.brow_arch * 4 * t * (1 - t)
    y = look.eye_y - 0.255 - rise
    half = look.brow_width * (0.6 - 0.35 * t**2)
    tone = min(60.0, look.hair, look.skin * 0.45)
    pen.fill(np.concatenate([np.stack([x, y - half], 1), np.stack([x, y + half], 1)[::-1]]), tone)


def _paint_nose(pen: _Pen, look: _Look, face: _Expression) -> None:
    width, tip = 0.15 * look.nose, 0.26 - 0.05 * face.nose_wrinkle
    t = np.linspace(0, np.pi, 11)
    pen.line(np.stack([np.cos(t) * width, tip + np.sin(t) * 0.07], 1), look.skin * 0.55, 0.035)
    for side in (-1, 1):
        pen.fill(_ellipse(side * width * 0.55, tip + 0.045, 0.045, 0.028), look.skin * 0.35)
        pen.line(np.array([[side * width, tip], [side * (width + 0.02), tip - 0.06]]), look.skin * 0.6, 0.03)


def _paint_wrinkles(pen: _Pen, look: _Look, face: _Expression) -> None:
    """Draw furrows between the brows, a wrinkled nose and the folds beside it, as far as the expression has them."""
    tone = look.skin * 0.5
    for side in (-1, 1):
        if face.furrow > 0.3:
            top = look.eye_y - 0.3
            pen.line(np.array([[side * 0.06, top - 0.1], [side * 0.045, top + 0.12 * face.furrow]]), tone, 0.03)
        if face.nose_wrinkle > 0.3:
            for step in range(3):
                y = look.eye_y + 0.06 + 0.085 * step
                pen.line(np.array([[side * 0.02, y + 0.02], [side * (0.11 + 0.02 * step), y - 0.03]]), tone, 0.03)
        if face.folds > 0.15:
            reach = 0.14 + 0.18 * face.folds
            fold = [[side * 0.2, 0.26], [side * 0.33, 0.26 + reach * 0.4], [side * 0.42, 0.26 + reach]]
            pen.line(np.array(fold), tone if face.folds > 0.6 else look.skin * 0.68, 0.03)


def _paint_mouth(pen: _Pen, look: _Look, face: _Expression) -> None:
    t = np.linspace(-1, 1, 25)
    x = t * 0.36 * look.mouth * face.mouth_width
    middle = 0.57 + face.mouth_y + face.smile * (0.09 - 0.17 * t**2)
    gap = face.mouth_open * np.clip(1 - np.abs(t) ** face.mouth_square, 0, 1) ** (0.5 if face.smile < 0.5 else 0.8)
    sneer = face.sneer * (np.exp(-(((t + 0.45) / 0.4) ** 2)) + 0.25 * np.exp(-(((t - 0.5) / 0.35) ** 2)))
    upper, lower = middle - gap * 0.4 - sneer, middle + gap * 0.6
    inner, outer = np.stack([x, upper], 1), np.stack([x, lower], 1)
    shape = np.concatenate([inner, outer[::-1]])
    lips = look.lips * look.skin
    lip_width = 0.1 if face.mouth_open > 0.08 else 0.085
    pen.line(np.concatenate([shape, shape[:1]]), lips, lip_width)
    if gap.max() + sneer.max() > 0.05:
        inside = pen.shape_mask(shape)
        pen.fill(shape, 22, within=inside)
        if face.tongue > 0.2:
            thick = face.tongue * 0.4 * float((lower - upper).max())
            pen.fill(_ellipse(0, float(lower.max()), 0.2 * face.mouth_width, thick), 95, within=inside)
        if face.teeth > 0.1:
            edge = np.stack([x, upper + (lower - upper) * min(1.0, face.teeth)], 1)
            pen.fill(np.concatenate([inner, edge[::-1]]), 232, within=inside)
            if face.teeth > 0.8:  # clenched: both rows, with the gaps between them
                pen.line(np.stack([x, (upper + lower) / 2], 1)[2:-2], 70, 0.025)
                for k in range(5, 21, 3):
                    pen.line(np.array([[x[k], upper[k]], [x[k], lower[k]]]), 110, 0.018)
    else:
        pen.line(np.stack([x, middle], 1), min(40.0, look.skin * 0.3), 0.045)
    pen.line(
        np.array([[-0.14, 0.0], [0.0, 0.015], [0.14, 0.0]]) + [0, float(lower.max()) + 0.11], look.skin * 0.65, 0.03
    )


def _random_look(rng: np.random.Generator) -> _Look:
    skin = float(rng.uniform(135, 225))
    return _Look(
        skin=skin,
        hair=float(rng.uniform(15, min(95, skin * 0.5))),
        iris=float(rng.uniform(40, 95)),
        lips=float(rng.uniform(0.5, 0.68)),
        width=float(rng.uniform(0.9, 1.02)),
        jaw=float(rng.uniform(0.68, 0.9)),
        chin=float(rng.uniform(1.02, 1.12)),
        eye_x=float(rng.uniform(0.37, 0.43)),
        eye_y=float(rng.uniform(-0.27, -0.2)),
        eye_size=float(rng.uniform(0.92, 1.12)),
        brow_width=float(rng.uniform(0.07, 0.11)),
        nose=float(rng.uniform(0.8, 1.25)),
        mouth=float(rng.uniform(0.92, 1.08)),
        fringe=float(rng.uniform(-1, 1)),
        long_hair=bool(rng.random() < 0.4),
        light=float(rng.uniform(-1, 1)),
        contrast=float(rng.uniform(0.85, 1.15)),
    )


def _expression(emotion: str) -> _Expression:
    try:
        return _EXPRESSIONS[emotion]
    except KeyError:
        raise ValueError(f"there is no emotion {emotion!r}; choose one of: {', '.join(FER2013_LABELS)}") from None


def _blend(then: _Expression, now: _Expression, part: float) -> _Expression:
    """Return the expression that is `part` (0–1, may be more) of the way from `then` to `now`."""
    end = asdict(now)
    return _Expression(**{name: value + (end[name] - value) * part for name, value in asdict(then).items()})


def _vary(face: _Expression, rng: np.random.Generator) -> _Expression:
    """Return the expression somewhat weaker or stronger, with a little chance in every part."""
    face = _blend(_EXPRESSIONS["neutral"], face, float(rng.uniform(0.75, 1.1)))
    changed = {
        name: value * (1 + float(rng.normal(0, 0.08))) for name, value in asdict(face).items() if name != "mouth_square"
    }
    changed["brow_inner"] += float(rng.normal(0, 0.015))
    changed["brow_outer"] += float(rng.normal(0, 0.015))
    changed["smile"] += float(rng.normal(0, 0.06))
    return _Expression(**{**changed, "mouth_square": face.mouth_square})


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1)


def _backdrop(size: int, rng: np.random.Generator) -> Pixels:
    ramp = np.linspace(rng.uniform(40, 220), rng.uniform(40, 220), size)
    return np.tile(ramp.astype(np.uint8), (size, 1))


def _room(width: int, height: int, seed: int) -> Pixels:
    """Return the clip's background, uint8 BGR [h, w, 3]: a soft gradient with a little grain."""
    rng = np.random.default_rng([seed, 99])
    low, high = np.array([150, 128, 104]), np.array([216, 206, 190])
    down = np.linspace(0, 1, height)[:, None, None]
    across = np.linspace(-1, 1, width)[None, :, None]
    wall = high + (low - high) * (0.25 + 0.75 * down) - 18 * across**2
    return np.asarray((wall + rng.normal(0, 1.2, (height, width, 1))).clip(0, 255), np.uint8)


def _place(
    frame: Pixels, look: _Look, face: _Expression, scale: float, angle: float, centre: tuple[float, float]
) -> None:
    """Draw a head with neck and shoulders into `frame`."""
    reach = round(scale * 2.4)
    left, top = round(centre[0]) - reach, round(centre[1]) - reach
    grey, solid = _drawn(look, face, scale, angle, reach, (centre[0] - left - reach, centre[1] - top - reach))
    height, width = frame.shape[:2]
    y0, y1, x0, x1 = max(top, 0), min(top + 2 * reach, height), max(left, 0), min(left + 2 * reach, width)
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    tint = np.array([0.82, 0.96, 1.1], np.float32)
    alpha = (solid[part].astype(np.float32) / 255)[:, :, None]
    there = frame[y0:y1, x0:x1]
    there[:] = (there * (1 - alpha) + grey[part][:, :, None] * tint * alpha).clip(0, 255).astype(np.uint8)


def _drawn(
    look: _Look, face: _Expression, scale: float, angle: float, reach: int, off: tuple[float, float]
) -> tuple[npt.NDArray[np.float32], Pixels]:
    """Return a head with shoulders, float32 grey [2 reach, 2 reach], its middle `off` that of the picture; how solid.

    It is drawn twice as large, so that edges are smooth.
    """
    middle = ((reach + off[0]) * 2, (reach + off[1]) * 2)
    canvas = np.full((reach * 4, reach * 4), 128, np.uint8)
    pen = _Pen(canvas, np.zeros_like(canvas), scale * 2, 0.0, middle)
    pen.fill(_ellipse(0, 2.2, 1.35, 0.95), 62, outline=True)
    pen.fill(
        np.array([[-0.42, 0.6], [0.42, 0.6], [0.46, 1.35], [0, 1.5], [-0.46, 1.35]]), look.skin * 0.68, outline=True
    )
    body = pen.mask.copy()
    pen.mask[:] = 0
    head = _Pen(pen.canvas, pen.mask, scale * 2, angle, middle)
    _paint_head(head, look, face)
    grey = cv2.resize(canvas, (reach * 2, reach * 2), interpolation=cv2.INTER_AREA).astype(np.float32)
    return grey, np.asarray(
        cv2.resize(body | head.mask, (reach * 2, reach * 2), interpolation=cv2.INTER_AREA), np.uint8
    )
