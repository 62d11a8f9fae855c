"""What happens to pictures on their way from a face to a file: light, blur, noise, compression, things in front."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgefer.preprocess import Pixels
from edgefer.train.detect.recipe import Views
from edgefer.train.detect.targets import Floats

_LEVELS = np.arange(256, dtype=np.float32)


def disturb(rng: np.random.Generator, pixels: Pixels, settings: Views) -> Pixels:
    """Return a view, uint8 [h, w], disturbed as far as the settings say; it may be the very array that came in."""
    s = settings
    if rng.random() < s.coarse:
        pixels = _coarse(rng, pixels)
    if rng.random() < s.blur:
        pixels = _uint8(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.4, 1.6))))
    if rng.random() < s.motion:
        pixels = _motion(rng, pixels)
    if rng.random() < s.shadow:
        pixels = _shadow(rng, pixels)
    dark = rng.random() < s.dark
    if dark or rng.random() < s.light:
        pixels = _uint8(cv2.LUT(pixels, _curve(rng, dark)))
    if dark or rng.random() < s.noise:
        pixels = _noisy(rng, pixels, float(rng.uniform(2, 8) if dark else rng.uniform(1, 14)))
    if rng.random() < s.jpeg:
        coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 80))])[1]
        pixels = _uint8(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE))
    return pixels


def hide(rng: np.random.Generator, pixels: Pixels, boxes: Floats, part: float) -> Pixels:
    """Return a view in which a part of some faces is covered: below as by a mask, a side, or a piece anywhere."""
    height, width = pixels.shape
    for x, y, w, h in boxes:
        if rng.random() >= part:
            continue
        kind = rng.integers(3)
        if kind == 0:
            left, top, wide, high = x, y + h * rng.uniform(0.5, 0.7), w, h * 0.55
        elif kind == 1:
            wide = w * rng.uniform(0.2, 0.4)
            left, top, high = x if rng.random() < 0.5 else x + w - wide, y, h
        else:
            wide, high = w * rng.uniform(0.2, 0.5), h * rng.uniform(0.2, 0.5)
            left, top = x + rng.uniform(0, w - wide), y + rng.uniform(0, h - high)
        x0, x1 = (int(np.clip(round(v), 0, width)) for v in (left, left + wide))
        y0, y1 = (int(np.clip(round(v), 0, height)) for v in (top, top + high))
        if x0 >= x1 or y0 >= y1:
            continue
        if rng.random() < 0.5:  # something plain
            pixels[y0:y1, x0:x1] = rng.integers(256)
        else:  # another piece of the picture
            sx, sy = int(rng.integers(0, width - (x1 - x0) + 1)), int(rng.integers(0, height - (y1 - y0) + 1))
            pixels[y0:y1, x0:x1] = pixels[sy : sy + y1 - y0, sx : sx + x1 - x0].copy()
    return pixels


def _curve(rng: np.random.Generator, dark: bool) -> Pixels:
    """Return what each grey level becomes, uint8 [256]."""
    if dark:
        return (_LEVELS * rng.uniform(0.06, 0.4) + rng.uniform(0, 12)).clip(0, 255).astype(np.uint8)
    levels: npt.NDArray[np.floating[Any]] = _LEVELS
    if rng.random() < 0.35:
        levels = 255 * (levels / 255) ** np.float32(np.exp(rng.normal(0, 0.45)))
    levels = (levels - 128) * rng.uniform(0.45, 1.45) + 128 + rng.normal(0, 28)
    if rng.random() < 0.01:
        levels = 255 - levels
    return levels.clip(0, 255).astype(np.uint8)


def _coarse(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    height, width = pixels.shape
    part = rng.uniform(0.4, 0.9)
    few = cv2.resize(pixels, (max(8, int(width * part)), max(8, int(height * part))), interpolation=cv2.INTER_AREA)
    return _uint8(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR))


def _motion(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Blur along a line of 3 to 11 pixels in any direction."""
    length, angle = rng.uniform(1.5, 5.5), rng.uniform(0, np.pi)
    kernel = np.zeros((11, 11), np.float32)
    by = np.array([np.cos(angle), np.sin(angle)]) * length
    start, end = (tuple(int(v) for v in np.rint((5 + sign * by) * 256)) for sign in (-1, 1))
    cv2.line(kernel, start, end, (1.0,), 1, cv2.LINE_8, 8)
    return _uint8(cv2.filter2D(pixels, -1, kernel / max(float(kernel.sum()), 1e-6)))


def _shadow(rng: np.random.Generator, pixels: Pixels) -> Pixels:
    """Darken towards one side."""
    height, width = pixels.shape
    angle, deepest = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.7)
    ramp = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle))
    ramp = ramp + np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    light = 1 - np.float32(1 - deepest) / (1 + np.exp(-ramp * np.float32(rng.uniform(1, 8))))
    return _uint8(cv2.multiply(pixels, light.astype(np.float32), dtype=cv2.CV_8U))


def _noisy(rng: np.random.Generator, pixels: Pixels, sigma: float) -> Pixels:
    noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(sigma)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def _uint8(values: object) -> npt.NDArray[np.uint8]:
    return np.asarray(values, np.uint8)
