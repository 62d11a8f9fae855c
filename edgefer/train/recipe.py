"""A training recipe: plain TOML → frozen dataclass, copied into the bundle as it was used."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from edgefer.errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures are disturbed; 0 switches a part off."""

    flip: float = 0.5
    """Probability of a left-right mirror."""
    rotation: float = 12.0
    """Largest rotation, degrees."""
    scale: float = 0.15
    """Largest zoom, as a fraction in and out."""
    shift: float = 0.08
    """Largest shift, as a fraction of the side."""
    shear: float = 0.05
    """Largest shear, as a slope."""
    brightness: float = 0.15
    """Largest change of brightness, on the scale 0–1."""
    contrast: float = 0.3
    """Largest relative change of contrast."""
    erase: float = 0.25
    """Probability that a random rectangle is painted over."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, but for the data."""

    arch: str = "edge-s"
    epochs: int = 40
    batch: int = 128
    optimizer: str = "adamw"
    """`adamw` or `sgd` (Nesterov, momentum 0.9)."""
    learning_rate: float = 2e-3
    """Peak, reached after the warm-up; cosine to zero from there."""
    warmup_epochs: float = 2.0
    weight_decay: float = 2e-2
    """Decoupled; never on batch normalisation or biases."""
    label_smoothing: float = 0.1
    ema: float = 0.999
    """Momentum of the exponential moving average of the weights that is evaluated and kept; 0 switches it off."""
    class_weight_power: float = 0.0
    """Classes weigh (largest count / count) ** power in the loss; 0 = as they come, 1 = balanced."""
    mixed_precision: str = "auto"
    """`auto` (bfloat16 where a GPU is found), `on`, `off`."""
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        checks = {
            "epochs": self.epochs >= 1,
            "batch": self.batch >= 1,
            "optimizer": self.optimizer in ("adamw", "sgd"),
            "learning_rate": self.learning_rate > 0,
            "warmup_epochs": self.warmup_epochs >= 0,
            "weight_decay": self.weight_decay >= 0,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "ema": 0 <= self.ema < 1,
            "class_weight_power": 0 <= self.class_weight_power <= 1,
            "mixed_precision": self.mixed_precision in ("auto", "on", "off"),
            "seed": self.seed >= 0,
        }
        for name, fine in checks.items():
            if not fine:
                raise RecipeError(f"recipe: {name} = {getattr(self, name)!r} is out of range; see docs/train.md")

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as it goes into the manifest."""
        return dataclasses.asdict(self)


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def load_recipe(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a TOML file, or of that name in the package, with `overrides` on top (None = not given).

    Raises RecipeError for a missing or malformed file, an unknown field, or a value of the wrong type or range.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        if name_or_path not in recipe_names():
            raise RecipeError(
                f"there is no recipe called {name_or_path!r};"
                f" choose one of {', '.join(recipe_names())}, or a .toml file"
            )
        text = (resources.files(__package__) / "recipes" / f"{name_or_path}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {name_or_path} is not valid TOML: {error}") from error
    values.update({k: v for k, v in (overrides or {}).items() if v is not None})
    augmentation = values.pop("augmentation", {})
    if not isinstance(augmentation, dict):
        raise RecipeError(f"the recipe {name_or_path}: 'augmentation' must be a table")
    return Recipe(**_checked(Recipe, values), augmentation=Augmentation(**_checked(Augmentation, augmentation)))


def _checked(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with every name known to `cls` and every type right (an int is fine for a float)."""
    types = {f.name: f.type for f in dataclasses.fields(cls)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types or name == "augmentation":
            raise RecipeError(f"recipe: unknown field {name!r}; known: {', '.join(types)}")
        if types[name] == "float" and type(value) is int:
            value = float(value)
        if type(value).__name__ != types[name]:
            raise RecipeError(f"recipe: {name} must be of type {types[name]}, found {value!r}")
        checked[name] = value
    return checked
