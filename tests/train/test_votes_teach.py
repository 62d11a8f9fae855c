"""FER+ votes as a teacher: what pictures with such votes, and such answers of the teachers, are labelled."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgefer import cartoon
from edgefer.bundle import open_bundle, shipped
from edgefer.commands.train import command
from edgefer.errors import TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.train import distill
from edgefer.train.data import Dataset
from edgefer.train.data.votes import CHOICES
from edgefer.train.recipe import Distillation, Recipe, load_recipe, of_bundle

for package in ("keras", "sklearn"):
    pytest.importorskip(package, reason="needs edgefer[train]")

RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 3, 600)
SAID = np.where(RNG.random(600) < 0.8, LABELS, RNG.integers(0, 3, 600))
"""What eight of ten voters said: the label, four times in five."""
VOTES = np.zeros((600, len(CHOICES)), np.uint8)
VOTES[np.arange(600), SAID] = 8
VOTES[np.arange(600), (SAID + 1) % 3] = 2


def test_votes_become_the_shares_of_the_labels_that_such_pictures_have() -> None:
    found = distill.with_votes(VOTES, LABELS, 4, None, temperature=1.0)
    assert found.dtype == np.float32
    assert found.shape == (600, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    for said in range(3):
        here = said == SAID
        shares = np.bincount(LABELS[here], minlength=4) / here.sum()
        np.testing.assert_allclose(found[here].mean(axis=0), shares, atol=0.03)
    assert not found[:, 3].any()  # no training picture has that label


def test_the_temperature_softens_and_leaves_the_order() -> None:
    sharp = distill.with_votes(VOTES, LABELS, 3, None, temperature=1.0)
    soft = distill.with_votes(VOTES, LABELS, 3, None, temperature=3.0)
    expected = sharp ** (1 / 3)
    np.testing.assert_allclose(soft, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_teachers_and_votes_together_know_more_than_either() -> None:
    guess = np.where(RNG.random(600) < 0.8, LABELS, RNG.integers(0, 3, 600))
    answers = np.where(np.eye(3)[guess] > 0, 0.8, 0.1).astype(np.float32)

    def right(taught: np.ndarray) -> float:
        return float((taught.argmax(axis=1) == LABELS).mean())

    alone = right(distill.with_votes(VOTES, LABELS, 3, None, 1.0))
    both = distill.with_votes(VOTES, LABELS, 3, answers, 1.0)
    agreed = (guess == SAID) & (SAID == LABELS)
    assert both[agreed, LABELS[agreed]].mean() > 0.9 > alone
    blind = np.zeros_like(VOTES)  # nobody voted: the teachers' answers are all there is
    assert right(distill.with_votes(blind, LABELS, 3, answers, 1.0)) == pytest.approx(right(answers), abs=0.02)


def test_a_single_label_is_refused() -> None:
    with pytest.raises(TrainError, match="two labels or more"):
        distill.with_votes(VOTES, np.zeros(600, np.int64), 3, None, 1.0)


def test_data_without_votes_is_refused() -> None:
    faces = Dataset(*cartoon.dataset(2, seed=0), FER2013_LABELS)
    with pytest.raises(TrainError, match="the data has no votes: give FER"):
        distill.answers((), faces, Recipe(distill=Distillation(votes=True)))


def test_votes_teach_in_a_real_run_and_are_asked_with_the_teachers(tmp_path: Path) -> None:
    images, labels = cartoon.dataset(8, seed=0)
    votes = np.zeros((len(labels), len(CHOICES)), np.uint8)
    votes[np.arange(len(labels)), labels] = 10
    np.savez(tmp_path / "voted.npz", images=images, labels=labels, votes=votes)
    np.savez(tmp_path / "plain.npz", images=images, labels=labels)
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'arch = "edge-xs"\nepochs = 1\nbatch = 16\nrecall_floor = 0.1\n[distill]\nvotes = true\nviews = 1\n'
    )
    call = ["--recipe", str(recipe), "--no-page", "--json"]
    taught = CliRunner().invoke(
        command,
        [*call, "--data", str(tmp_path / "voted.npz"), "--teacher", "edge-xs", "--out", str(tmp_path / "a.edgefer")],
        env={"EDGEFER_CACHE_DIR": str(tmp_path / "cache")},
    )
    assert taught.exit_code == 0, taught.output
    found = open_bundle(tmp_path / "a.edgefer").recipe["distill"]
    assert (found["votes"], found["teachers"]) == (True, ["edge-xs"])
    alone = CliRunner().invoke(
        command, [*call, "--data", str(tmp_path / "plain.npz"), "--out", str(tmp_path / "b.edgefer")]
    )
    assert alone.exit_code == 0, alone.output
    assert "the data has none (--votes): it learns from labels alone" in alone.stderr
    assert "before biases were moved for recall_floor" in alone.stderr
    assert open_bundle(tmp_path / "b.edgefer").recipe["distill"]["votes"] is False
    assert json.loads(alone.stdout)["train_pictures"] < len(labels)


def test_the_recipes_of_the_models_that_ship_are_what_trained_them() -> None:
    for name in ("edge-m", "edge-s", "edge-xs"):
        used = of_bundle(open_bundle(shipped(name)).recipe)
        named = dataclasses.replace(used.distill, teachers=())  # by --teacher, and the start by --weights
        assert load_recipe(name) == dataclasses.replace(used, distill=named, weights="none"), name
