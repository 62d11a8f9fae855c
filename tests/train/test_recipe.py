"""Recipes: strict about names, types and ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefer.errors import RecipeError
from edgefer.train.recipe import Recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_in_the_package_is_read(name: str) -> None:
    assert load_recipe(name).as_dict()["augmentation"]["flip"] == 0.5


def test_overrides_win_and_none_means_not_given() -> None:
    recipe = load_recipe("edge-s", {"epochs": 2, "seed": None, "learning_rate": 1})
    assert (recipe.epochs, recipe.seed, recipe.learning_rate) == (2, Recipe().seed, 1.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown field 'epoch'"),
        ("epochs = 0", "epochs = 0 is out of range"),
        ("epochs = 2.5", "must be of type int"),
        ("epochs = true", "must be of type int"),
        ('optimizer = "lion"', "optimizer"),
        ("label_smoothing = 1.0", "out of range"),
        ("[augmentation]\nspin = 3.0", "unknown field 'spin'"),
        ("augmentation = 3", "must be a table"),
        ("epochs = ", "not valid TOML"),
    ],
)
def test_a_recipe_that_is_not_right(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "r.toml"))


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="choose one of"):
        load_recipe("no-such")
    with pytest.raises(RecipeError, match="cannot read"):
        load_recipe(str(tmp_path / "no.toml"))
