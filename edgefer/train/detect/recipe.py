"""A recipe for training a face detector: plain TOML → frozen dataclass, copied into the bundle as it was used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgefer.errors import RecipeError
from edgefer.train.detect.network import VARIANTS
from edgefer.train.fields import at_least, between, build, check, one_of, plain, read_recipe, recipes_in


@dataclass(frozen=True)
class Views:
    """What is cut from the scenes, and how far it is disturbed. Parts are probabilities, 0–1."""

    width: int = 160
    height: int = 128
    large_every: int = 4
    """Every so many steps, views are twice as wide and high, and a quarter as many; 0 = never."""
    smallest: float = 9.0
    """Pixels: side of the smallest face (square root of its area) that a view is cut about."""
    largest: float = 150.0
    """Side of the largest one; in large views twice that, at most what fits."""
    whole: float = 0.12
    """Part of the views that show a whole scene, as the camera's frames are shown."""
    empty: float = 0.18
    """Part that is cut from scenes without a face."""
    mosaic: float = 0.12
    """Part made of four views."""
    drawn: float = 0.03
    """Part with drawn faces, those of `edgefer demo`, on scenes without a face."""
    flip: float = 0.5
    rotation: float = 30.0
    """Largest rotation, degrees; most views have less than a third of it."""
    light: float = 0.8
    """Other brightness, contrast and gamma."""
    dark: float = 0.08
    """Nearly no light, with the noise that comes of it."""
    shadow: float = 0.12
    """Light from one side."""
    blur: float = 0.12
    motion: float = 0.1
    """Blur of a moving camera or head."""
    coarse: float = 0.1
    """As if from fewer pixels."""
    noise: float = 0.2
    jpeg: float = 0.2
    hide: float = 0.15
    """Of each face: a part of it is covered, as by a hand, a mask or a head in front."""

    def __post_init__(self) -> None:
        """Raise RecipeError for a value out of range."""
        parts = [f.name for f in dataclasses.fields(self) if f.name not in _NO_PARTS]
        check(
            "views.",
            {
                "width": (self.width, 64 <= self.width <= 1024 and not self.width % 32, "a multiple of 32, 64 to 1024"),
                "height": (
                    self.height,
                    64 <= self.height <= 1024 and not self.height % 32,
                    "a multiple of 32, 64 to 1024",
                ),
                "large_every": at_least(self.large_every, 0),
                "smallest": between(self.smallest, 4, 1000),
                "largest": between(self.largest, self.smallest, 1000),
                "rotation": between(self.rotation, 0, 180),
                **{name: between(getattr(self, name), 0, 1) for name in parts},
            },
        )
        kinds = self.whole + self.empty + self.mosaic + self.drawn
        if kinds > 1:
            raise RecipeError(f"recipe: views.whole, empty, mosaic and drawn add up to {kinds:g}; 1 is all views")


_NO_PARTS = ("width", "height", "large_every", "smallest", "largest", "rotation")


@dataclass(frozen=True)
class DetectRecipe:
    """Everything that decides a training run of a detector, but for the pictures."""

    arch: str = "det-s"
    steps: int = 20_000
    batch: int = 64
    """Views of a step."""
    learning_rate: float = 2e-3
    """Peak of a cosine that ends at 0."""
    warmup_steps: int = 500
    weight_decay: float = 2e-2
    """Decoupled (AdamW); never on batch normalisation or biases."""
    gradient_clip: float = 10.0
    """Largest norm of the whole gradient; 0 = any."""
    ema: float = 0.999
    """Momentum of the exponential moving average of the weights that is evaluated and kept; 0 switches it off."""
    teacher_scores: bool = True
    """Whether a face's score in the labels (a teacher's) is what the network aims at; else 1."""
    picture_side: int = 640
    """Pixels: longer side that larger pictures are brought down to when they are read, to hold them in memory."""
    check_every: int = 1000
    """Steps from one look at the validation scenes to the next."""
    false_rate: float = 0.0025
    """False faces in a training picture without a face that the bundle's threshold allows, on average, at any size."""
    seed: int = 1
    views: Views = field(default_factory=Views)

    def __post_init__(self) -> None:
        """Raise RecipeError for a value out of range."""
        check(
            "",
            {
                "arch": one_of(self.arch, *VARIANTS),
                "steps": between(self.steps, 1, 100_000_000),
                "batch": between(self.batch, 1, 100_000),
                "learning_rate": (self.learning_rate, 0 < self.learning_rate < float("inf"), "above 0"),
                "warmup_steps": at_least(self.warmup_steps, 0),
                "weight_decay": at_least(self.weight_decay, 0),
                "gradient_clip": at_least(self.gradient_clip, 0),
                "ema": (self.ema, 0 <= self.ema < 1, "0 to below 1"),
                "picture_side": between(self.picture_side, 64, 4096),
                "check_every": at_least(self.check_every, 1),
                "false_rate": between(self.false_rate, 0, 100),
                "seed": at_least(self.seed, 0),
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as it goes into the manifest."""
        return {name: plain(value) for name, value in dataclasses.asdict(self).items()}


TABLES: dict[str, type] = {"views": Views}


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    return recipes_in(__package__)


def load_recipe(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> DetectRecipe:
    """Return the recipe of a TOML file, or of that name in the package, with `overrides` on top (None = not given).

    An override's name is dotted where it stands in a table: `views.mosaic`. Raises RecipeError for a missing or
    malformed file, an unknown field, or a value of the wrong type or range.
    """
    return from_dict(read_recipe(name_or_path, __package__, "detector recipe"), overrides)


def from_dict(values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> DetectRecipe:
    """Return the recipe of plain data, as `as_dict` gives it and a manifest holds it; raises as `load_recipe` does."""
    return build(DetectRecipe, TABLES, values, overrides)
