"""Training of a detector: it learns, it can be repeated and killed, and the bundle is what was trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.boxes import iou
from edgefer.bundle import DetectorBundle, open_detector_bundle
from edgefer.errors import TrainError
from edgefer.letterbox import SIZES
from edgefer.runtime.detectors import edge
from edgefer.train import scenes
from edgefer.train.backend import load_keras
from edgefer.train.detect import fit as fitting
from edgefer.train.detect import make, network, threshold
from edgefer.train.detect.fit import DetectFit, LookReport
from edgefer.train.detect.pictures import Picture, read_pictures
from edgefer.train.detect.recipe import DetectRecipe, Views, from_dict
from edgefer.train.detect.targets import Labels
from edgefer.train.unfinished import state_file
from edgefer.train.written import HISTORY

VIEWS = Views(width=96, height=96, large_every=0, smallest=28, largest=80, mosaic=0, drawn=0, dark=0, rotation=10)
RECIPE = DetectRecipe("det-xs", 60, 8, 6e-3, 8, check_every=30, views=VIEWS)
TINY = dataclasses.replace(
    RECIPE, steps=7, batch=2, check_every=3, views=Views(width=64, height=64, large_every=3, smallest=20, largest=60)
)


pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3 on numpy 2


class Killed(Exception):
    pass


def split(folder: Path) -> tuple[list[Picture], list[Picture]]:
    splits = scenes.read(folder)
    return read_pictures(splits["train"], 640), read_pictures(splits["validation"], 640)


@pytest.fixture(scope="module")
def drawn(draw_scenes: Any) -> tuple[list[Picture], list[Picture]]:
    return split(draw_scenes(train=24, validation=8, empty=4))


@pytest.fixture(scope="module")
def few(draw_scenes: Any) -> tuple[list[Picture], list[Picture]]:
    return split(draw_scenes(train=3, validation=2, empty=1, seed=1))


@pytest.fixture(scope="module")
def trained(
    drawn: tuple[list[Picture], list[Picture]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[DetectorBundle, DetectFit]:
    out = tmp_path_factory.mktemp("trained") / "drawn.edgefer"
    found = make.train_detector(*drawn, RECIPE, out)
    assert not state_file(out).parent.exists()
    return found


def test_it_learns_to_find_drawn_heads(trained: tuple[DetectorBundle, DetectFit]) -> None:
    bundle, result = trained
    (figures,) = bundle.metrics.values()
    assert figures["average_precision"] > 0.7  # .99 when this was written
    assert figures["recall"] > 0.7
    assert result.history[-1].loss < result.history[0].loss
    assert [report.step for report in result.history] == [30, 60]
    assert result.history[-1].learning_rate == pytest.approx(0, abs=1e-6)
    assert result.model.input_shape == (None, 240, 320, 1)


def test_the_bundle_holds_what_was_trained(
    trained: tuple[DetectorBundle, DetectFit], drawn: tuple[list[Picture], list[Picture]], tmp_path: Path
) -> None:
    bundle, result = trained
    opened = open_detector_bundle(bundle.path)
    opened.verify()
    assert opened.threshold == bundle.threshold
    assert from_dict(dict(opened.recipe)) == RECIPE
    (figures,) = opened.metrics.values()
    assert (figures["pictures"], figures["empty"], figures["train_pictures"]) == (12, 4, 28)
    assert figures["train_faces"] == sum(len(picture.labels.boxes) for picture in drawn[0])
    assert figures["parameters"] == network.VARIANTS["det-xs"].parameters
    history = json.loads((bundle.path / HISTORY).read_text())
    assert history == [dataclasses.asdict(report) for report in result.history]
    (tmp_path / "again.weights.h5").write_bytes(opened.read(opened.artifacts[0].file))
    net = network.build(load_keras(), "det-xs", 240, 320)
    net.load_weights(tmp_path / "again.weights.h5")
    again = make.judge(net, drawn[1], bundle.threshold)
    assert again.average_precision == pytest.approx(figures["average_precision"], abs=1e-6)
    assert again.average_precision == pytest.approx(result.best.average_precision, abs=1e-6)
    without = [picture for picture in drawn[0] if not len(picture.labels.boxes)]
    assert figures["threshold_scenes"] == len(without) == 4
    assert threshold.choose_threshold(load_keras(), "det-xs", net, without, RECIPE.false_rate) == bundle.threshold


def test_what_is_found_is_in_pixels_of_the_picture(
    trained: tuple[DetectorBundle, DetectFit], drawn: tuple[list[Picture], list[Picture]]
) -> None:
    _, result = trained
    picture = drawn[1][0]
    double = cv2.resize(picture.levels[0], (640, 480), interpolation=cv2.INTER_NEAREST)
    once, twice = fitting.find(result.model, [picture, Picture((np.asarray(double, np.uint8),), picture.labels)])
    np.testing.assert_allclose(twice.boxes, 2 * once.boxes, rtol=0.01, atol=0.5)
    np.testing.assert_allclose(twice.landmarks, 2 * once.landmarks, rtol=0.01, atol=0.5)
    np.testing.assert_allclose(twice.scores, once.scores, atol=0.01)
    assert iou(once.boxes[:1], picture.labels.boxes).max() > 0.5


@pytest.mark.slow
def test_a_run_killed_at_any_step_and_resumed_gives_what_an_unbroken_one_gives(
    few: tuple[list[Picture], list[Picture]], tmp_path: Path
) -> None:
    whole = fitting.fit(*few, TINY, tmp_path / "whole.npz")
    state, kills, seen = tmp_path / "broken.npz", [5], list[int]()

    def kill(step: int, steps: int, loss: float) -> None:
        assert steps == TINY.steps
        seen.append(step)
        if kills and step == kills[0]:
            kills.pop(0)
            raise Killed

    with pytest.raises(Killed):
        fitting.fit(*few, TINY, state, on_step=kill)
    other = dataclasses.replace(TINY, weight_decay=0.0)
    before = state.read_bytes()
    with pytest.raises(TrainError, match="state of another run"):
        fitting.fit(*few, other, state, resume=True)
    with pytest.raises(TrainError, match="--resume"):
        fitting.fit(*few, TINY, state)
    assert state.read_bytes() == before
    looks = list[LookReport]()
    resumed = fitting.fit(*few, TINY, state, resume=True, on_step=kill, on_look=lambda report, _: looks.append(report))
    assert seen == [1, 2, 3, 4, 5, 4, 5, 6, 7]  # from the last look on
    assert [report.step for report in looks] == [6, 7]
    assert [report.step for report in whole.history] == [3, 6, 7]
    same = ("step", "loss", "average_precision", "learning_rate")
    for one, two in zip(whole.history, resumed.history, strict=True):
        assert [getattr(one, name) for name in same] == [getattr(two, name) for name in same]
    for ours, theirs in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    state.write_bytes(b"PK cut short")
    with pytest.raises(TrainError, match="not a readable"):
        fitting.fit(*few, TINY, state, resume=True)


def test_what_decides_a_run_decides_its_fingerprint(few: tuple[list[Picture], list[Picture]]) -> None:
    train, validation = few
    one = fitting.fingerprint(train, validation, TINY)
    assert fitting.fingerprint(list(train), list(validation), dataclasses.replace(TINY)) == one
    levels, known = train[0].levels, train[0].labels
    changed = levels[0].copy()
    changed[5, 7] ^= 1
    scored = dataclasses.replace(known, scores=known.scores * np.float32(0.5))
    ignored = dataclasses.replace(known, ignore=np.float32([[1, 2, 3, 4]]))
    others = [
        fitting.fingerprint([Picture((changed, *levels[1:]), known), *train[1:]], validation, TINY),
        fitting.fingerprint([Picture(levels, scored), *train[1:]], validation, TINY),
        fitting.fingerprint(train, [Picture(levels, ignored), *validation], TINY),
        fitting.fingerprint(train, validation, dataclasses.replace(TINY, seed=2)),
        fitting.fingerprint(train, validation, dataclasses.replace(TINY, views=dataclasses.replace(VIEWS, flip=0.1))),
        fitting.fingerprint(validation, train, TINY),
    ]
    assert len({one, *others}) == 1 + len(others)


def test_a_loss_that_is_not_finite_ends_the_run_and_leaves_nothing(
    few: tuple[list[Picture], list[Picture]], tmp_path: Path
) -> None:
    recipe = dataclasses.replace(TINY, learning_rate=1e30, gradient_clip=0.0, warmup_steps=0, check_every=100)
    with pytest.raises(TrainError, match=r"the loss is .* at step \d; take a lower learning_rate"):
        make.train_detector(*few, recipe, tmp_path / "x.edgefer")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("which", ["training", "validation"])
def test_scenes_without_any_face_are_refused(
    which: str, few: tuple[list[Picture], list[Picture]], tmp_path: Path
) -> None:
    train, validation = few
    bare = [scene for scene in train if not len(scene.labels.boxes)]
    with pytest.raises(TrainError, match=f"none of the 1 {which} scenes has a face"):
        make.train_detector(
            bare if which == "training" else train, bare if which == "validation" else validation, TINY, tmp_path / "x"
        )
    assert not list(tmp_path.iterdir())


def test_resume_without_a_run(few: tuple[list[Picture], list[Picture]], tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nothing to resume"):
        make.train_detector(*few, TINY, tmp_path / "no.edgefer", resume=True)
    assert not list(tmp_path.iterdir())


def test_the_last_of_the_best_looks_is_kept() -> None:
    reports = tuple(LookReport(step, 1.0, ap, 1e-3, 1.0) for step, ap in ((1, 0.2), (2, 0.5), (3, 0.5), (4, 0.4)))
    assert DetectFit(None, reports, "tensorflow", 1.0).best.step == 3


class Network:
    """A Keras network as an engine of the runtime."""

    provider = version = "keras"

    def __init__(self, model: Any) -> None:
        self.model = model

    def run(self, pictures: Any) -> Any:
        return np.asarray(self.model.predict_on_batch(pictures.astype(np.float32) / np.float32(255)))

    def close(self) -> None:
        """Nothing is open."""


def test_the_threshold_is_for_what_the_device_finds(
    trained: tuple[DetectorBundle, DetectFit], drawn: tuple[list[Picture], list[Picture]]
) -> None:
    none = Labels(*(np.empty(shape, np.float32) for shape in ((0, 4), (0, 5, 2), (0,), (0, 4))))
    without = [Picture(picture.levels, none) for picture in drawn[1]]  # whatever is found is false now
    keras, net = load_keras(), trained[1].model
    sizes = sorted(SIZES, reverse=True)
    networks = [network.build(keras, "det-xs", *size, of=net) for size in sizes]
    device = edge.Edge([edge.Look(Network(model), size) for model, size in zip(networks, sizes, strict=True)], 0.5)
    found = [device.find(picture.levels[0], threshold.LOWEST).scores for picture in without]
    assert sum(map(len, found)) > 5
    chosen_on = threshold.false_scores(networks, without)
    np.testing.assert_allclose(np.sort(chosen_on)[-8:], np.sort(np.concatenate(found))[-8:], atol=0.03)


def test_without_scenes_to_choose_it_on_the_threshold_is_the_usual_one_and_that_is_told(
    few: tuple[list[Picture], list[Picture]], tmp_path: Path
) -> None:
    with_faces = [picture for picture in few[0] if len(picture.labels.boxes)]
    recipe = dataclasses.replace(TINY, steps=1)
    bundle, _ = make.train_detector(with_faces, few[1], recipe, tmp_path / "usual.edgefer")
    (figures,) = bundle.metrics.values()
    assert (bundle.threshold, figures["threshold_scenes"]) == (0.5, 0)


def test_another_division_of_the_same_pictures_is_another_run(few: tuple[list[Picture], list[Picture]]) -> None:
    train, validation = few
    same = fitting.fingerprint(train, validation, TINY)
    assert fitting.fingerprint(list(train), list(validation), TINY) == same
    assert fitting.fingerprint(train[:-1], [train[-1], *validation], TINY) != same
    on_its_side = Picture((train[0].levels[0].reshape(train[0].levels[0].shape[::-1]),), train[0].labels)
    assert fitting.fingerprint([on_its_side, *train[1:]], validation, TINY) != same
