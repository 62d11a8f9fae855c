"""Recipes: strict about names, types and ranges."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edgefer.errors import RecipeError
from edgefer.toml import MAX_BYTES
from edgefer.train.architectures import architecture_names
from edgefer.train.recipe import Augmentation, Recipe, from_dict, load_recipe, parse_setting, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_in_the_package_is_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.arch == name.removesuffix("-first")
    assert from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_every_architecture_has_a_recipe_of_its_name() -> None:
    first = {name for name in recipe_names() if name.endswith("-first")}  # of two stages
    assert sorted(set(recipe_names()) - first) == architecture_names()
    assert first == {"edge-m-first", "edge-s-first", "edge-xs-first"}


def test_fine_tuning_sees_pictures_as_the_last_epochs_do() -> None:
    told = Augmentation(rotation=9, noise=0.1, erase=0.3, mixup=0.2, cutmix=1.0)
    assert told.at_the_end() == Augmentation(rotation=9, noise=0.1, erase=0.3)
    assert dataclasses.replace(told, off_epochs=4).at_the_end() == Augmentation(
        rotation=9, noise=0, erase=0, off_epochs=4
    )


def test_overrides_win_and_none_means_not_given() -> None:
    recipe = load_recipe("edge-s-first", {"epochs": 2, "seed": None, "learning_rate": 1})
    assert (recipe.epochs, recipe.seed, recipe.learning_rate) == (2, Recipe().seed, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown field 'epoch' \\(did you mean 'epochs'\\?\\)"),
        ("mixup = 0.2", "did you mean 'augmentation.mixup'"),
        ('optimiser = "sgd"', "did you mean 'optimizer'"),
        ('schedule = "cosin"', "did you mean 'cosine'"),
        ("[data]\nbalence = 'resample'", "did you mean 'data.balance'"),
        ("[data]\nsplit = [0.5, 0.4]", "fractions that add up to 1"),
        ("[data]\nsplit = 0.5", "data.split must be a list"),
        ("[data]\nmerge = ['sad']", r"sad\+neutral"),
        ("[distil]\nweight = 1.0", "did you mean 'distill'"),
        ("[distill]\nteachers = [3]", "distill.teachers must be of type str"),
        ("[distill]\ntemperature = 0", "0.1 to 100"),
        ("[distill]\nvotes = true\nteachers = ['x']", "needs distill.views"),
        ("[augmentation]\nflip = 2", "augmentation.flip = 2.0 is out of range"),
        ("epochs = 0", "epochs = 0 is out of range"),
        ("epochs = 2.5", "must be of type int"),
        ("epochs = true", "must be of type int"),
        ('optimizer = "lion"', "optimizer"),
        ("label_smoothing = 1.0", "out of range"),
        ("[augmentation]\nspin = 3.0", "unknown field 'augmentation.spin'"),
        ("augmentation = 3", "must be a table"),
        ("epochs = ", "r.toml is not valid TOML"),
        ("epochs = " + "[" * 5000, "r.toml is not valid TOML: too many brackets"),
        ("epochs = " + "9" * 5000, "r.toml is not valid TOML"),
        ("# " + "x" * MAX_BYTES, "r.toml has more than 65536 bytes"),
    ],
)
def test_a_recipe_that_is_not_right(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "r.toml"))


def test_a_recipe_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(b'arch = "\xff"')
    with pytest.raises(RecipeError, match=r"r\.toml is not UTF-8 text \(byte 8\)"):
        load_recipe(str(tmp_path / "r.toml"))


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="choose one of"):
        load_recipe("no-such")
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe(str(tmp_path / "no.toml"))


def test_settings_from_the_command_line() -> None:
    settings = ["augmentation.mixup=0.2", "optimizer=sgd", "data.merge=['sad+neutral']", "ema = 0.9"]
    recipe = load_recipe("edge-s", dict(parse_setting(s) for s in settings))
    assert (recipe.augmentation.mixup, recipe.optimizer, recipe.ema) == (0.2, "sgd", 0.9)
    assert recipe.data.merge == ("sad+neutral",)
    assert parse_setting("arch=" + "[" * 5000) == ("arch", "[" * 5000)
    with pytest.raises(RecipeError, match="NAME=VALUE"):
        parse_setting("mixup")
    with pytest.raises(RecipeError, match="did you mean 'augmentation'"):
        load_recipe("edge-s", {"augmentations.mixup": 0.1})
