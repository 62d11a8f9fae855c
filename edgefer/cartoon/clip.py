"""A clip of cartoon heads that sway and change emotion, for trials that need no camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgefer.cartoon.look import Expression, Look, blend, expression_of, random_look
from edgefer.cartoon.paint import paint_bust
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Pixels

FPS = 25.0
"""Frames a second at which `clip` is meant to be shown."""

_HOLD = 50  # frames that an emotion lasts in the clip
_BLEND = 6  # frames in which one emotion turns into the next


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


class _Actor:
    """One person of the clip: a look, and a list of emotions that goes round."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.look = random_look(rng)
        self.phase = float(rng.uniform(0, 6))
        self.order = [str(name) for name in rng.permutation(FER2013_LABELS)]

    def act(self, index: int, number: int) -> tuple[Expression, str]:
        """Return the expression at frame `index` and the emotion that it shows."""
        turn, since = divmod(index + number * 17, _HOLD)
        emotion, before = self.order[turn % 7], self.order[(turn - 1) % 7]
        now, then = expression_of(emotion), expression_of(before)
        part = 1.0 if turn == 0 else min(1.0, 0.5 + since / _BLEND)
        after = (turn + 1, since + _BLEND // 2 - _HOLD)
        if after[1] > 0:  # the first half of the next change
            now, then, part = expression_of(self.order[after[0] % 7]), now, after[1] / _BLEND
        return blend(then, now, part), emotion


def _room(width: int, height: int, seed: int) -> Pixels:
    """Return the clip's background, uint8 BGR [h, w, 3]: a soft gradient with a little grain."""
    rng = np.random.default_rng([seed, 99])
    low, high = np.array([150, 128, 104]), np.array([216, 206, 190])
    down = np.linspace(0, 1, height)[:, None, None]
    across = np.linspace(-1, 1, width)[None, :, None]
    wall = high + (low - high) * (0.25 + 0.75 * down) - 18 * across**2
    return np.asarray((wall + rng.normal(0, 1.2, (height, width, 1))).clip(0, 255), np.uint8)


def _place(
    frame: Pixels, look: Look, face: Expression, scale: float, angle: float, centre: tuple[float, float]
) -> None:
    """Draw a head with neck and shoulders into `frame`."""
    reach = round(scale * 2.4)
    left, top = round(centre[0]) - reach, round(centre[1]) - reach
    grey, solid = paint_bust(look, face, scale, angle, reach, (centre[0] - left - reach, centre[1] - top - reach))
    height, width = frame.shape[:2]
    y0, y1, x0, x1 = max(top, 0), min(top + 2 * reach, height), max(left, 0), min(left + 2 * reach, width)
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    tint = np.array([0.82, 0.96, 1.1], np.float32)
    alpha = (solid[part].astype(np.float32) / 255)[:, :, None]
    there = frame[y0:y1, x0:x1]
    there[:] = (there * (1 - alpha) + grey[part][:, :, None] * tint * alpha).clip(0, 255).astype(np.uint8)
