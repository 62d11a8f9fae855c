"""Corruptions are what they say, the same each time; robustness counts what is left."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bench.accuracy import evaluate
from edgefer.bench.corruptions import CORRUPTIONS, corrupted
from edgefer.bench.robustness import Level, Robustness, Row, robustness, table
from edgefer.bundle import Bundle
from edgefer.labels import FER2013_LABELS
from edgefer.runtime.engines import LoadedEngine, open_engine
from edgefer.train.data import Dataset

FACES = cartoon.dataset(2, 5)
FACE = FACES[0][3]
EVERY = [(name, strength) for name, c in CORRUPTIONS.items() for strength in c.strengths]


@pytest.fixture(scope="module")
def loaded(tiny_bundle: Bundle) -> Iterator[LoadedEngine]:
    found = open_engine(tiny_bundle, "litert")
    yield found
    found.engine.close()


@pytest.mark.parametrize(("name", "strength"), EVERY)
def test_a_corruption_changes_a_picture_the_same_way_each_time(name: str, strength: float) -> None:
    before = FACE.copy()
    one, again = corrupted(FACE, name, strength, 7), corrupted(FACE.copy(), name, strength, 7)
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(FACE, before)
    assert (one.dtype, one.shape) == (np.uint8, FACE.shape)
    assert not np.array_equal(one, FACE)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_more_strength_is_further_from_the_picture(name: str) -> None:
    faces = FACES[0].astype(int)
    far = [
        np.mean([np.abs(corrupted(face, name, s).astype(int) - face).mean() for face in FACES[0]])
        for s in CORRUPTIONS[name].strengths
    ]
    assert far == sorted(far)
    assert far[-1] > 1.5 * far[0]
    assert len(faces) == 14


@pytest.mark.parametrize("name", ["noise", "dark", "rotation", "motion", "occlusion"])
def test_chance_is_another_for_each_picture_and_seed(name: str) -> None:
    strength = CORRUPTIONS[name].strengths[2]
    assert len({corrupted(FACE, name, strength, seed).tobytes() for seed in range(8)}) > 1
    flat = [np.full((48, 48), 128 + i, np.uint8) for i in range(8)]
    if name in ("noise", "occlusion"):
        moved = {(corrupted(picture, name, strength).astype(int) == picture).tobytes() for picture in flat}
        assert len(moved) > 1


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(64, 40), (9, 200), (1, 1)])
def test_pictures_of_any_shape_keep_it(name: str, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for strength in CORRUPTIONS[name].strengths:
        assert corrupted(picture[::-1], name, strength).shape == shape


def test_what_is_no_grey_picture_is_refused() -> None:
    for bad in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"a picture to corrupt is uint8 \[h, w\]"):
            corrupted(bad, "blur", 1.0)
    with pytest.raises(KeyError):
        corrupted(FACE, "snow", 1.0)


def test_blur_has_its_standard_deviation() -> None:
    point = np.zeros((49, 49), np.uint8)
    point[24, 24] = 255
    spread = corrupted(np.where(np.arange(49)[None] >= 24, 255, 0).repeat(49, 0).astype(np.uint8), "blur", 2.0)
    slope = np.diff(spread[24].astype(float))
    centre = (slope * np.arange(48)).sum() / slope.sum()
    assert np.sqrt((slope * (np.arange(48) - centre) ** 2).sum() / slope.sum()) == pytest.approx(2.0, abs=0.15)
    assert corrupted(point, "blur", 2.0)[24, 24] < 255 / 20


def test_motion_is_a_mean_along_a_line() -> None:
    point = np.zeros((49, 49), np.uint8)
    point[24, 24] = 255
    for seed in range(20):
        moved = corrupted(point, "motion", 9, seed).astype(float)
        weights = moved / moved.sum()
        grid = np.indices(moved.shape).reshape(2, -1)
        values = np.linalg.eigvalsh(np.cov(grid, aweights=weights.ravel()))
        assert np.sqrt(12 * values[1]) == pytest.approx(9, abs=0.9)  # a uniform line of length 9
        assert values[0] < 0.3
        assert np.abs((grid * weights.ravel()).sum(axis=1) - 24).max() < 0.15


def test_noise_has_its_deviation_and_changes_no_mean() -> None:
    spoilt = corrupted(np.full((200, 200), 128, np.uint8), "noise", 20).astype(float)
    assert spoilt.std() == pytest.approx(20, rel=0.02)
    assert spoilt.mean() == pytest.approx(128, abs=0.5)


def test_dark_is_darker_by_its_gain_with_more_noise_where_there_is_light() -> None:
    light, dim = (corrupted(np.full((200, 200), v, np.uint8), "dark", 0.5).astype(float) for v in (240, 40))
    assert light.mean() == pytest.approx(120, abs=0.5)
    assert dim.mean() == pytest.approx(20, abs=0.5)
    assert light.var() == pytest.approx(1 + 0.1 * 120 + 1 / 12, rel=0.05)
    assert dim.var() == pytest.approx(1 + 0.1 * 20 + 1 / 12, rel=0.05)


def test_low_resolution_leaves_so_many_pixels() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (48, 24))
    assert np.ptp(corrupted(stripes, "low resolution", 24)) <= 1  # a pair of stripes is one pixel
    assert np.ptp(corrupted(stripes, "low resolution", 48)) == 255


def test_a_rotation_turns_about_the_middle_by_its_angle_either_way() -> None:
    bar = np.zeros((101, 101), np.uint8)
    bar[49:52, 20:81] = 255
    angles = set()
    for seed in range(12):
        y, x = np.nonzero(corrupted(bar, "rotation", 30, seed) > 127)
        assert (x.mean(), y.mean()) == pytest.approx((50, 50), abs=0.5)
        angles.add(round(float(np.degrees(np.arctan2(np.polyfit(x, y, 1)[0], 1)))))
    assert len(angles) == 2
    assert all(abs(abs(angle) - 30) <= 2 for angle in angles)


def test_an_occlusion_covers_its_share_within_the_picture() -> None:
    white = np.full((48, 48), 255, np.uint8)
    shades = set()
    for seed in range(12):
        spoilt = corrupted(white, "occlusion", 0.25, seed)
        rows, columns = np.nonzero(spoilt < 255)
        assert len(rows) == 24 * 24 == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        shades |= set(np.unique(spoilt[spoilt < 255]).tolist())
    assert shades == {0, 128}


def test_robustness_counts_what_is_left(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    data = Dataset(*FACES, FER2013_LABELS)
    seen: list[tuple[int, int]] = []
    found = robustness(tiny_bundle, data, loaded, progress=lambda *at: seen.append(at))
    assert (found.n, found.seed) == (14, 0)
    assert found.clean == evaluate(tiny_bundle, data, loaded).accuracy.accuracy
    assert [(row.name, tuple(level.strength for level in row.levels)) for row in found.rows] == [
        (name, c.strengths) for name, c in CORRUPTIONS.items()
    ]
    assert seen[-1] == (14 * 41, 14 * 41)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    for name in ("noise", "occlusion"):
        row = next(row for row in found.rows if row.name == name)
        spoilt = np.stack([corrupted(face, name, row.levels[3].strength) for face in data.images])
        right = loaded.engine.run(spoilt[..., None]).argmax(1) == data.ordered(tiny_bundle.labels).labels
        assert row.levels[3].hits == right.sum()
    assert robustness(tiny_bundle, data, loaded) == found
    assert Robustness.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_some_faces_are_drawn_with_the_seed(tiny_bundle: Bundle, loaded: LoadedEngine) -> None:
    data = Dataset(*FACES, FER2013_LABELS)
    assert robustness(tiny_bundle, data, loaded, faces=3).n == 3
    assert robustness(tiny_bundle, data, loaded, faces=1000).n == 14
    with pytest.raises(ValueError, match="found 0"):
        robustness(tiny_bundle, data, loaded, faces=0)


def example() -> Robustness:
    levels = tuple(Level(float(s), hits, 10) for s, hits in enumerate((8, 6, 4), start=1))
    return Robustness(0, 10, 8, (Row("blur", "px", levels), Row("dark", "of the light", (Level(0.5, 2, 10),))))


def test_means_and_parts_of_the_clean_accuracy() -> None:
    found = example()
    assert [row.mean for row in found.rows] == pytest.approx([0.6, 0.2])
    assert found.mean == pytest.approx(0.4)
    assert found.relative == pytest.approx(0.5)
    assert found.part(0.6) == pytest.approx(0.75)
    assert Robustness(0, 10, 0, found.rows).relative == 0
    rows = table(found)
    assert rows[1] == ["blur", "1, 2, 3 px", "0.800", "0.600", "0.400", "0.600", "75 %"]
    assert rows[2] == ["dark", "0.5 of the light", "0.200", "", "", "0.200", "25 %"]
    assert rows[3] == ["all", "", "", "", "", "0.400", "50 %"]
