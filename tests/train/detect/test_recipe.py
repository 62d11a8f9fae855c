"""Recipes of detectors: strict about names, types and ranges."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.errors import RecipeError
from edgefer.train.detect.network import VARIANTS
from edgefer.train.detect.recipe import DetectRecipe, Views, from_dict, load_recipe, recipe_names
from edgefer.train.recipe import parse_setting

KINDS = ("whole", "empty", "mosaic", "drawn")
SIZES = ("width", "height", "large_every", "smallest", "largest", "rotation")
PARTS = [field.name for field in dataclasses.fields(Views) if field.name not in (*KINDS, *SIZES)]


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_in_the_package_is_read(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.arch in VARIANTS
    assert from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_the_detector_that_ships_has_a_recipe() -> None:
    assert load_recipe("det-s").arch == "det-s"


@given(
    st.builds(
        DetectRecipe,
        arch=st.sampled_from(list(VARIANTS)),
        steps=st.integers(1, 10**6),
        learning_rate=st.floats(1e-9, 1e3),
        ema=st.floats(0, 0.9999),
        teacher_scores=st.booleans(),
        seed=st.integers(0, 2**31),
        views=st.builds(
            Views,
            width=st.integers(2, 32).map(lambda n: 32 * n),
            smallest=st.floats(4, 100),
            largest=st.floats(100, 1000),
            **{name: st.floats(0, 1) for name in PARTS},
            **{name: st.floats(0, 0.25) for name in KINDS},
        ),
    )
)
def test_a_recipe_comes_back_from_a_manifest(recipe: DetectRecipe) -> None:
    assert from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_overrides_win_and_none_means_not_given() -> None:
    usual = load_recipe("det-s")
    found = load_recipe("det-s", {"steps": 2, "seed": None, "learning_rate": 1, "views.mosaic": 0, "arch": "det-xs"})
    assert (found.steps, found.seed, found.learning_rate, found.arch) == (2, usual.seed, 1.0, "det-xs")
    assert found.views == dataclasses.replace(usual.views, mosaic=0.0)
    assert load_recipe("det-s", {}) == usual


def test_settings_from_the_command_line() -> None:
    settings = ["views.width=96", "teacher_scores=false", "ema = 0.9"]
    found = load_recipe("det-s", dict(parse_setting(s) for s in settings))
    assert (found.views.width, found.teacher_scores, found.ema) == (96, False, 0.9)
    with pytest.raises(RecipeError, match="did you mean 'views'"):
        load_recipe("det-s", {"view.mosaic": 0.1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step = 3", r"unknown field 'step' \(did you mean 'steps'\?\)"),
        ("epochs = 3", "unknown field 'epochs'"),
        ("mosaic = 0.2", "did you mean 'views.mosaic'"),
        ("[views]\nmosaik = 0.2", "did you mean 'views.mosaic'"),
        ("[augmentation]\nflip = 0.5", "unknown field 'augmentation'"),
        ("views = 3", "views must be a table, found 3"),
        ('arch = "det-x"', "arch = 'det-x' is out of range: one of det-xs, det-s"),
        ("steps = 0", "steps = 0 is out of range: 1 to"),
        ("steps = 2.5", "steps must be of type int, found 2.5"),
        ("steps = true", "must be of type int"),
        ('teacher_scores = "yes"', "must be of type bool"),
        ("batch = 0", "batch = 0 is out of range"),
        ("learning_rate = 0", "above 0"),
        ("learning_rate = inf", "above 0"),
        ("learning_rate = nan", "above 0"),
        ("warmup_steps = -1", "at least 0"),
        ("weight_decay = -1", "at least 0"),
        ("gradient_clip = nan", "at least 0"),
        ("ema = 1.0", "0 to below 1"),
        ("picture_side = 32", "64 to 4096"),
        ("check_every = 0", "at least 1"),
        ("false_rate = -1", "0 to 100"),
        ("seed = -1", "at least 0"),
        ("[views]\nwidth = 100", "views.width = 100 is out of range: a multiple of 32, 64 to 1024"),
        ("[views]\nheight = 32", "views.height = 32 is out of range"),
        ("[views]\nheight = 1056", "a multiple of 32"),
        ("[views]\nlarge_every = -1", "views.large_every"),
        ("[views]\nsmallest = 3", "views.smallest = 3.0 is out of range: 4 to 1000"),
        ("[views]\nsmallest = 40\nlargest = 30", "views.largest = 30.0 is out of range: 40 to 1000"),
        ("[views]\nrotation = 181", "0 to 180"),
        ("[views]\nblur = 1.5", "views.blur = 1.5 is out of range: 0 to 1"),
        ("[views]\nhide = nan", "views.hide = nan"),
        ("[views]\nwhole = 0.5\nempty = 0.3\nmosaic = 0.2\ndrawn = 0.1", "add up to 1.1; 1 is all views"),
        ("steps = ", r"r\.toml is not valid TOML"),
    ],
)
def test_a_recipe_that_is_not_right(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "r.toml"))


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_a_part_is_from_0_to_1(name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"views\.{name} = .* is out of range: 0 to 1"):
        Views(**{name: value})


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no detector recipe called 'det-z' \(did you mean 'det-s'\?\)"):
        load_recipe("det-z")
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(str(tmp_path / "no.toml"))


def test_kinds_that_are_all_views_are_fine() -> None:
    parts: dict[str, Any] = {"whole": 0.1, "empty": 0.2, "mosaic": 0.3, "drawn": 0.4}
    assert Views(**parts).drawn == 0.4
