"""A training recipe: plain TOML → frozen dataclass, copied into the bundle as it was used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgefer import toml
from edgefer.errors import RecipeError
from edgefer.train.fields import at_least, between, build, check, one_of, plain, read_recipe, recipes_in


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures are disturbed; 0 switches a part off."""

    flip: float = 0.5
    """Probability of a left-right mirror."""
    rotation: float = 12.0
    """Largest rotation, degrees."""
    scale: float = 0.15
    """Largest zoom, as a fraction in and out."""
    crop: float = 0.0
    """Largest part of the side that a random crop cuts away."""
    shift: float = 0.08
    """Largest shift, as a fraction of the side."""
    shear: float = 0.05
    """Largest shear, as a slope."""
    brightness: float = 0.15
    """Largest change of brightness, on the scale 0–1."""
    contrast: float = 0.3
    """Largest relative change of contrast."""
    noise: float = 0.0
    """Largest standard deviation of a sensor's noise, on the scale 0–1; half of the pictures have none."""
    erase: float = 0.25
    """Probability that a random rectangle is painted over."""
    mixup: float = 0.0
    """α of the beta distribution that two pictures and their labels are blended by (Zhang et al., 2018)."""
    cutmix: float = 0.0
    """α of the beta distribution of the area that is pasted from another picture (Yun et al., 2019)."""
    off_epochs: int = 0
    """In so many last epochs nothing is erased, noisy or mixed: pictures look as they do in the data."""

    def at_the_end(self) -> Augmentation:
        """Return what is left for fine-tuning a trained network: nothing mixed, and as in the last epochs if set."""
        left = dataclasses.replace(self, mixup=0.0, cutmix=0.0)
        return dataclasses.replace(left, noise=0.0, erase=0.0) if self.off_epochs else left

    def __post_init__(self) -> None:
        check(
            "augmentation.",
            {
                "flip": between(self.flip, 0, 1),
                "rotation": between(self.rotation, 0, 180),
                "scale": between(self.scale, 0, 2),
                "crop": between(self.crop, 0, 0.9),
                "shift": between(self.shift, 0, 1),
                "shear": between(self.shear, 0, 2),
                "brightness": between(self.brightness, 0, 1),
                "contrast": between(self.contrast, 0, 1),
                "noise": between(self.noise, 0, 1),
                "erase": between(self.erase, 0, 1),
                "mixup": between(self.mixup, 0, 10),
                "cutmix": between(self.cutmix, 0, 10),
                "off_epochs": at_least(self.off_epochs, 0),
            },
        )


@dataclass(frozen=True)
class DataSettings:
    """What is done to the pictures and labels before training."""

    votes: str = "none"
    """What FER+ votes become: `none`; `majority`, the label; `soft`, a distribution to train towards."""
    votes_weight: float = 1.0
    """With `soft`: how much of the target is the votes; the rest is the label of the data set."""
    merge: tuple[str, ...] = ()
    """Labels to be one: `sad+neutral`, or `sad+neutral=low` to name it."""
    duplicates: str = "keep"
    """Copies within the training pictures: `keep`; one of them stays when `exact` or `near` (perceptual hash)."""
    seen_in_test: str = "keep"
    """Training pictures that also stand in another split: `keep`, drop `exact` copies or `near` ones too."""
    split: tuple[float, ...] = ()
    """Fractions (train, validation) or (train, validation, test) into which all pictures are divided anew, class by
    class; empty = as the data comes."""
    split_seed: int = 1
    balance: str = "none"
    """`none`; `resample`: each class is drawn to `balance_to` pictures, once; `sampling`: anew for every epoch, in
    equal parts. Weights in the loss are `class_weight_power`."""
    balance_to: int = 0
    """Pictures of each class after `resample`; 0 = the mean."""

    def __post_init__(self) -> None:
        check(
            "data.",
            {
                "votes": one_of(self.votes, "none", "majority", "soft"),
                "votes_weight": between(self.votes_weight, 0, 1),
                "merge": (list(self.merge), all("+" in m for m in self.merge), "labels joined by +, as sad+neutral"),
                "duplicates": one_of(self.duplicates, "keep", "exact", "near"),
                "seen_in_test": one_of(self.seen_in_test, "keep", "exact", "near"),
                "split": (
                    list(self.split),
                    not self.split
                    or (len(self.split) in (2, 3) and min(self.split) > 0 and abs(sum(self.split) - 1) < 1e-6),
                    "2 or 3 fractions that add up to 1",
                ),
                "split_seed": at_least(self.split_seed, 0),
                "balance": one_of(self.balance, "none", "resample", "sampling"),
                "balance_to": between(self.balance_to, 0, 1_000_000),
            },
        )


@dataclass(frozen=True)
class Distillation:
    """Learning from trained bundles besides the labels (Hinton et al., 2015)."""

    teachers: tuple[str, ...] = ()
    """Bundles; their probabilities are averaged. Empty = no distillation."""
    weight: float = 0.7
    """Of the teachers in the loss; the labels have the rest."""
    temperature: float = 3.0
    """Both sides' logits are divided by it; the loss is multiplied by its square."""
    votes: bool = False
    """Whether FER+ votes teach too: the answer for a picture becomes what pictures with such votes, and such answers of
    the teachers, are labelled in the training data (`distill.with_votes`). Teachers then need `views`."""
    views: int = 0
    """0: the teachers see the very crop that the student sees, in the same step. More: their answer is averaged over
    so many random views of each picture once, and kept in the cache."""

    def __post_init__(self) -> None:
        check(
            "distill.",
            {
                "weight": between(self.weight, 0, 1),
                "temperature": between(self.temperature, 0.1, 100),
                "views": between(self.views, 0, 1000),
            },
        )
        if self.votes and self.teachers and not self.views:
            raise RecipeError("recipe: distill.votes with teachers needs distill.views, such as 8: answers to be kept")

    @property
    def on(self) -> bool:
        """Whether there is anything to learn from besides the labels."""
        return self.votes or bool(self.teachers)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, but for the pictures."""

    arch: str = "edge-s"
    weights: str = "none"
    """What training starts from: `none` is random weights; a pretrained part has `imagenet` or a Keras weights file
    (.h5); a trained bundle of the same architecture gives all weights that fit (`start`)."""
    unfreeze: int = -1
    """How many of the last layers of the pretrained part are trained; -1 = all."""
    epochs: int = 40
    batch: int = 128
    optimizer: str = "adamw"
    """`adamw`, `adam` or `sgd` (Nesterov, momentum 0.9)."""
    learning_rate: float = 2e-3
    """Peak, reached after the warm-up."""
    schedule: str = "cosine"
    """`cosine` to zero; `constant`; `plateau`: times `plateau_factor` after `plateau_patience` epochs without a lower
    validation loss."""
    warmup_epochs: float = 2.0
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    learning_rate_decay: float = 0.0
    """With `constant` and `plateau`: the rate is divided by 1 + this × steps done (`decay` of older Keras)."""
    early_stopping: int = 0
    """Ends after so many epochs without a better validation accuracy; 0 = never."""
    weight_decay: float = 2e-2
    """Decoupled; never on batch normalisation or biases."""
    gradient_clip: float = 0.0
    """Largest norm of the whole gradient; 0 = any."""
    label_smoothing: float = 0.1
    ema: float = 0.999
    """Momentum of the exponential moving average of the weights that is evaluated and kept; 0 switches it off."""
    class_weight_power: float = 0.0
    """Classes weigh (largest count / count) ** power in the loss; 0 = as they come, 1 = balanced."""
    recall_floor: float = 0.0
    """Lowest recall that a class may have on the validation pictures: biases of classes that are overlooked more often
    are raised after training until they have it (`floor`); 0 = as trained."""
    mixed_precision: str = "auto"
    """`auto` (bfloat16 where a GPU is found), `on`, `off`."""
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    data: DataSettings = field(default_factory=DataSettings)
    distill: Distillation = field(default_factory=Distillation)

    def __post_init__(self) -> None:
        check(
            "",
            {
                "unfreeze": at_least(self.unfreeze, -1),
                "epochs": between(self.epochs, 1, 100_000),
                "batch": between(self.batch, 1, 1_000_000),
                "optimizer": one_of(self.optimizer, "adamw", "adam", "sgd"),
                "learning_rate": (self.learning_rate, 0 < self.learning_rate < float("inf"), "above 0"),
                "schedule": one_of(self.schedule, "cosine", "plateau", "constant"),
                "warmup_epochs": at_least(self.warmup_epochs, 0),
                "plateau_factor": (self.plateau_factor, 0 < self.plateau_factor < 1, "between 0 and 1"),
                "plateau_patience": at_least(self.plateau_patience, 1),
                "learning_rate_decay": at_least(self.learning_rate_decay, 0),
                "early_stopping": at_least(self.early_stopping, 0),
                "weight_decay": at_least(self.weight_decay, 0),
                "gradient_clip": at_least(self.gradient_clip, 0),
                "label_smoothing": (self.label_smoothing, 0 <= self.label_smoothing < 1, "0 to below 1"),
                "ema": (self.ema, 0 <= self.ema < 1, "0 to below 1"),
                "class_weight_power": between(self.class_weight_power, 0, 1),
                "recall_floor": between(self.recall_floor, 0, 1),
                "mixed_precision": one_of(self.mixed_precision, "auto", "on", "off"),
                "seed": at_least(self.seed, 0),
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as it goes into the manifest."""
        return {k: plain(v) for k, v in dataclasses.asdict(self).items()}


TABLES: dict[str, type] = {"augmentation": Augmentation, "data": DataSettings, "distill": Distillation}


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    return recipes_in(__package__)


def load_recipe(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a TOML file, or of that name in the package, with `overrides` on top (None = not given).

    An override's name is dotted where it stands in a table: `augmentation.mixup`. Raises RecipeError for a missing or
    malformed file, an unknown field (naming the nearest known one), or a value of the wrong type or range.
    """
    return from_dict(read_recipe(name_or_path, __package__), overrides)


def from_dict(values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of plain data, as `as_dict` gives it and a manifest holds it; raises as `load_recipe` does."""
    return build(Recipe, TABLES, values, overrides)


def of_bundle(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that a bundle's manifest holds; a model that was trained elsewhere has the defaults.

    Raises RecipeError when it cannot be read.
    """
    return Recipe() if "imported" in values else from_dict(values)


def parse_setting(text: str) -> tuple[str, Any]:
    """Return (name, value) of `name=value`, where the value is TOML, or else taken as a string.

    Raises RecipeError when there is no `=`.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RecipeError(f"{text!r} is no setting; write NAME=VALUE, such as augmentation.mixup=0.2")
    try:
        return name.strip(), toml.parse(f"v = {value}")["v"]
    except ValueError:
        return name.strip(), value.strip()
