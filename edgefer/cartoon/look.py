"""What a cartoon head looks like: an expression, which its emotion gives, and a look, which stays one person's."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from edgefer.labels import FER2013_LABELS


@dataclass(frozen=True)
class Expression:
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
    "angry": Expression(
        brow_inner=-0.17, brow_outer=0.12, brow_arch=0.0, eye_open=0.7, eye_low=0.75, eye_slant=0.5, iris=0.9,
        smile=-0.75, mouth_open=0.2, mouth_width=0.95, mouth_square=6.0, teeth=1.0, furrow=1.0, folds=0.3,
    ),
    "disgust": Expression(
        brow_inner=-0.1, brow_outer=-0.05, brow_arch=-0.02, eye_open=0.4, eye_low=0.35, eye_slant=0.1, gaze=0.02,
        smile=-0.45, mouth_open=0.2, mouth_width=0.85, mouth_y=-0.02, sneer=0.15, tongue=1.0, nose_wrinkle=1.0,
        folds=1.0,
    ),
    "fear": Expression(
        brow_inner=0.22, brow_outer=0.0, brow_arch=0.02, eye_open=1.25, eye_low=1.05, eye_slant=-0.15, iris=0.7,
        smile=-0.7, mouth_open=0.27, mouth_width=1.15, mouth_square=4.0, teeth=0.35, mouth_y=0.03,
    ),
    "happy": Expression(
        brow_inner=0.02, brow_outer=0.0, brow_arch=0.09, eye_open=0.85, eye_low=0.1, gaze=-0.03, smile=1.2,
        mouth_open=0.26, mouth_width=1.25, teeth=0.55, tongue=0.5, mouth_y=-0.02, folds=0.35,
    ),
    "sad": Expression(
        brow_inner=0.17, brow_outer=-0.13, brow_arch=0.0, eye_open=0.65, eye_low=0.9, eye_slant=-0.45, gaze=0.04,
        smile=-1.0, mouth_open=0.0, mouth_width=0.75, mouth_y=0.05, tear=1.0,
    ),
    "surprise": Expression(
        brow_inner=0.04, brow_outer=0.03, brow_arch=0.12, eye_open=1.15, eye_low=1.0, iris=0.8, smile=0.0,
        mouth_open=0.4, mouth_width=0.75, mouth_y=0.06, tongue=0.5,
    ),
    "neutral": Expression(),
}  # fmt: skip


@dataclass(frozen=True)
class Look:
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


def random_look(rng: np.random.Generator) -> Look:
    """Return one person's look."""
    skin = float(rng.uniform(135, 225))
    return Look(
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


def expression_of(emotion: str) -> Expression:
    """Return what an emotion looks like; raises ValueError for one that is not in FER2013_LABELS."""
    try:
        return _EXPRESSIONS[emotion]
    except KeyError:
        raise ValueError(f"there is no emotion {emotion!r}; choose one of: {', '.join(FER2013_LABELS)}") from None


def blend(then: Expression, now: Expression, part: float) -> Expression:
    """Return the expression that is `part` (0–1, may be more) of the way from `then` to `now`."""
    end = asdict(now)
    return Expression(**{name: value + (end[name] - value) * part for name, value in asdict(then).items()})


def varied(face: Expression, rng: np.random.Generator) -> Expression:
    """Return the expression somewhat weaker or stronger, with a little chance in every part."""
    face = blend(_EXPRESSIONS["neutral"], face, float(rng.uniform(0.75, 1.1)))
    changed = {
        name: value * (1 + float(rng.normal(0, 0.08))) for name, value in asdict(face).items() if name != "mouth_square"
    }
    changed["brow_inner"] += float(rng.normal(0, 0.015))
    changed["brow_outer"] += float(rng.normal(0, 0.015))
    changed["smile"] += float(rng.normal(0, 0.06))
    return Expression(**{**changed, "mouth_square": face.mouth_square})
