"""The threshold of a detector: as low as false faces allow, at the size that gives most."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.grid import CHANNELS
from edgefer.letterbox import SIZES
from edgefer.train.backend import load_keras
from edgefer.train.detect import network
from edgefer.train.detect.pictures import Picture
from edgefer.train.detect.targets import Labels
from edgefer.train.detect.threshold import choose_threshold, false_scores, how_chosen, lowest

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3 on numpy 2

EVERYWHERE = 10.0
"""Octaves above the stride: so large that all cells mean one face."""


def by_brightness(height: int, width: int, more: float = 0.0, octaves: float = EVERYWHERE) -> Any:
    """Return a network that finds one face in a picture of one grey, the surer the lighter it is."""
    keras = load_keras()
    net = keras.Sequential(
        [keras.Input((height, width, 1)), keras.layers.AveragePooling2D(8), keras.layers.Conv2D(CHANNELS, 1)]
    )
    kernel, bias = np.zeros((1, 1, 1, CHANNELS), np.float32), np.zeros(CHANNELS, np.float32)
    kernel[..., 0], bias[0], bias[3:5] = 20, -10 + more, octaves
    net.layers[-1].set_weights([kernel, bias])
    return net


@pytest.fixture(scope="module")
def one() -> Any:
    return by_brightness(240, 320)


def plain(grey: int, face: bool = False, ignored: bool = False) -> Picture:
    box = np.array([[0, 0, 320, 240]], np.float32)
    boxes, ignore = (box if face else box[:0]), (box * 100 - 10_000 * ignored if ignored else box[:0])
    known = Labels(boxes, np.full((len(boxes), 5, 2), np.nan, np.float32), np.ones(len(boxes), np.float32), ignore)
    return Picture((np.full((240, 320), grey, np.uint8),), known)


def score(grey: int, more: float = 0.0) -> float:
    return 1 / (1 + float(np.exp(10 - 20 * grey / 255 - more)))


GREYS = (170, 140, 128, 120, 90, 0)
"""Scores of .96, .73, .51, .35, .05 and nearly none."""


@given(
    st.lists(st.lists(st.floats(0.2, 1), max_size=6), min_size=1, max_size=3),
    st.sampled_from([0, 0.5, 1, 2, 3.9, 100]),
)
def test_it_is_the_lowest_that_lets_few_enough_false_faces_through_at_every_size(
    scores: list[list[float]], allowed: float
) -> None:
    found = lowest([np.array(some) for some in scores], allowed)
    fine = [t / 100 for t in range(20, 100) if all(sum(s >= t / 100 for s in some) <= allowed for some in scores)]
    assert found == (fine[0] if fine else 0.99)


@given(st.lists(st.integers(110, 200), min_size=1, max_size=6))
@settings(max_examples=25)
def test_false_faces_are_what_is_found_where_there_is_none(one: Any, greys: list[int]) -> None:
    found = false_scores([one], [plain(grey) for grey in greys])
    np.testing.assert_allclose(np.sort(found), sorted(s for s in map(score, greys) if s >= 0.2), atol=1e-4)


def test_what_may_be_ignored_is_not_false(one: Any) -> None:
    assert not len(false_scores([one], [plain(255, ignored=True)]))
    assert len(false_scores([one], [plain(255, ignored=False)])) == 1


@pytest.mark.parametrize(
    ("more", "octaves", "expected"),
    [
        (2.0, EVERYWHERE, score(140, 2.0)),  # the second look is surer of the same face
        (-2.0, EVERYWHERE, score(140)),
        (2.0, 1.0, score(140)),  # its finds of 16 pixels are too small to count
    ],
)
def test_the_second_look_counts_as_on_the_device(one: Any, more: float, octaves: float, expected: float) -> None:
    assert max(false_scores([one, by_brightness(120, 160, more, octaves)], [plain(140)])) == pytest.approx(
        expected, abs=1e-4
    )


def test_every_size_that_is_looked_at_is_asked() -> None:
    keras = load_keras()
    net = network.build(keras, "det-xs", 64, 64)
    kernel, bias = net.get_layer("grid").get_weights()
    bias[0] = 1.0  # a face in every cell, of .73
    net.get_layer("grid").set_weights([kernel * 0, bias])
    asked: list[tuple[int, int]] = []
    scenes, seen = [plain(90)], 32 * len(SIZES)  # finds of 32 pixels side by side: far more than one
    chosen = choose_threshold(keras, "det-xs", net, scenes, 1.0, lambda done, total: asked.append((done, total)))
    assert chosen == 0.74
    assert choose_threshold(keras, "det-xs", net, scenes, 10.0 * seen) == 0.2
    assert asked == [(done, len(SIZES)) for done in range(len(SIZES) + 1)]


def test_how_it_was_chosen_is_told() -> None:
    assert "chosen on 1,729 training pictures" in how_chosen(1729)
    assert "no training picture is without a face" in how_chosen(0)
