"""Draws one cartoon head in face units: the square from -1 to 1, y downward, is about the box of a face detector."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.cartoon.look import Expression, Look
from edgefer.preprocess import Pixels

Points = npt.NDArray[np.float64]

_SUBPIXEL = 4  # OpenCV draws with this many fractional bits


class Pen:
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

    def shade(self, look: Look) -> None:
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


def paint_head(pen: Pen, look: Look, face: Expression) -> None:
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
    head = head_outline(look)
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


def head_outline(look: Look) -> Points:
    """Return the outline of a head without its hair, a polygon [n, 2] in face units."""
    t = np.linspace(0, 2 * np.pi, 64)
    x, y = np.cos(t) * look.width, np.sin(t)
    low = np.clip(y, 0, 1)
    x = x * (1 - (1 - look.jaw) * low**1.5)
    x = np.sign(x) * np.abs(x) ** 0.92
    return np.stack([x, np.where(y > 0, y * look.chin, y * 1.4) + 0.02], 1)


def _paint_hair(pen: Pen, look: Look, head: Points) -> None:
    """Draw the hair in front: what of the head lies above the hairline."""
    inside = pen.shape_mask(head * [1.02, 1.02])
    x = np.linspace(-1.3, 1.3, 25)
    line = -0.98 + 0.9 * np.clip(np.abs(x) - 0.62, 0, 1) ** 1.2 + look.fringe * 0.12 * np.cos(x * 3 + look.fringe)
    pen.fill(np.concatenate([np.stack([x, line], 1), [[1.3, -2], [-1.3, -2]]]), look.hair, within=inside)
    for start in (-0.5, -0.15, 0.25):
        strand = np.array([[start, -1.38], [start + 0.12, -1.2], [start + 0.16, -1.05]])
        pen.line(strand, min(255, look.hair * 1.25 + 12), 0.03)


def _paint_eye(pen: Pen, look: Look, face: Expression, side: int) -> None:
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


def _paint_brow(pen: Pen, look: Look, face: Expression, side: int) -> None:
    t = np.linspace(0, 1, 9)  # from the inner end outward
    x = side * (look.eye_x - 0.24 + 0.5 * t)
    rise = face.brow_inner * (1 - t) + face.brow_outer * t + face.brow_arch * 4 * t * (1 - t)
    y = look.eye_y - 0.255 - rise
    half = look.brow_width * (0.6 - 0.35 * t**2)
    tone = min(60.0, look.hair, look.skin * 0.45)
    pen.fill(np.concatenate([np.stack([x, y - half], 1), np.stack([x, y + half], 1)[::-1]]), tone)


def _paint_nose(pen: Pen, look: Look, face: Expression) -> None:
    width, tip = 0.15 * look.nose, 0.26 - 0.05 * face.nose_wrinkle
    t = np.linspace(0, np.pi, 11)
    pen.line(np.stack([np.cos(t) * width, tip + np.sin(t) * 0.07], 1), look.skin * 0.55, 0.035)
    for side in (-1, 1):
        pen.fill(_ellipse(side * width * 0.55, tip + 0.045, 0.045, 0.028), look.skin * 0.35)
        pen.line(np.array([[side * width, tip], [side * (width + 0.02), tip - 0.06]]), look.skin * 0.6, 0.03)


def _paint_wrinkles(pen: Pen, look: Look, face: Expression) -> None:
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


def _paint_mouth(pen: Pen, look: Look, face: Expression) -> None:
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


def paint_bust(
    look: Look, face: Expression, scale: float, angle: float, reach: int, off: tuple[float, float]
) -> tuple[npt.NDArray[np.float32], Pixels]:
    """Return a head with shoulders, float32 grey [2 reach, 2 reach], its middle `off` that of the picture; how solid.

    It is drawn twice as large, so that edges are smooth.
    """
    middle = ((reach + off[0]) * 2, (reach + off[1]) * 2)
    canvas = np.full((reach * 4, reach * 4), 128, np.uint8)
    pen = Pen(canvas, np.zeros_like(canvas), scale * 2, 0.0, middle)
    pen.fill(_ellipse(0, 2.2, 1.35, 0.95), 62, outline=True)
    pen.fill(
        np.array([[-0.42, 0.6], [0.42, 0.6], [0.46, 1.35], [0, 1.5], [-0.46, 1.35]]), look.skin * 0.68, outline=True
    )
    body = pen.mask.copy()
    pen.mask[:] = 0
    head = Pen(pen.canvas, pen.mask, scale * 2, angle, middle)
    paint_head(head, look, face)
    grey = cv2.resize(canvas, (reach * 2, reach * 2), interpolation=cv2.INTER_AREA).astype(np.float32)
    return grey, np.asarray(
        cv2.resize(body | head.mask, (reach * 2, reach * 2), interpolation=cv2.INTER_AREA), np.uint8
    )


def _ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], 1)
