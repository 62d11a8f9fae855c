"""Pixels to tensor: the one piece of code that everything shares."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer import cartoon
from edgefer.errors import BundleError
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box, Eyes, Pixels, Preprocess, read_picture, tilt

RNG = np.random.default_rng(0)
FER2013 = Path(__file__).parents[1].parent / "shared" / "data" / "fer2013" / "publictest.png"
EYES = ((0.3, 0.38), (0.7, 0.38))
"""Where the eyes of a face crop are about, as fractions of it."""


def test_a_dataset_picture_comes_through_unchanged() -> None:
    face = RNG.integers(0, 256, (48, 48), np.uint8)
    np.testing.assert_array_equal(Preprocess()(face)[..., 0], face)
    np.testing.assert_array_equal(Preprocess()(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR))[..., 0], face)


def test_colour_is_read_as_bgr() -> None:
    blue = np.zeros((48, 48, 3), np.uint8)
    blue[..., 0] = 255
    assert int(Preprocess()(blue)[0, 0, 0]) == 29  # BT.601 luma of blue; 76 would be red


@given(st.integers(-80, 200), st.integers(-80, 200), st.integers(1, 150), st.integers(1, 150), st.booleans())
def test_any_box_gives_a_picture(x: int, y: int, width: int, height: int, colour: bool) -> None:
    picture = RNG.integers(0, 256, (100, 120, 3) if colour else (100, 120), np.uint8)
    result = Preprocess(margin=0.1)(picture, Box(x, y, width, height))
    assert result.shape == (48, 48, 1)
    assert result.dtype == np.uint8


def test_the_box_is_what_is_cut_out() -> None:
    picture = np.zeros((100, 100), np.uint8)
    picture[20:68, 30:78] = RNG.integers(1, 256, (48, 48), np.uint8)
    np.testing.assert_array_equal(Preprocess()(picture, Box(30, 20, 48, 48))[..., 0], picture[20:68, 30:78])
    outside = Preprocess()(picture, Box(-48, 0, 96, 96))
    assert int(outside[:, :24].max()) == 0  # the border is repeated


def test_crops_are_what_they_were() -> None:
    """The golden bytes of method grey-area-v1, from before faces were turned; whole numbers, so the same everywhere."""
    picture = (np.arange(100 * 120 * 3, dtype=np.uint32) * 2654435761 >> 13).astype(np.uint8).reshape(100, 120, 3)
    digest = hashlib.sha256()
    for box in (Box(10, 20, 48, 48), Box(-5, -7, 48, 48), Box(90, 70, 48, 48), Box(31, -40, 48, 48)):
        digest.update(Preprocess()(picture, box).tobytes())
    assert digest.hexdigest() == "269583df1a7694be6f5cf340c8db75f931f42db4c2e9ac8f5382846801e1117b"


def level(angle: float) -> Eyes:
    """Return eyes whose line is tilted by so many degrees."""
    return (50.0, 40.0), (50 + 30 * np.cos(np.radians(angle)), 40 + 30 * np.sin(np.radians(angle)))


@given(st.integers(-80, 200), st.integers(-80, 200), st.integers(1, 150), st.integers(1, 150), st.floats(-4.9, 4.9))
def test_eyes_that_are_almost_level_change_nothing(x: int, y: int, width: int, height: int, angle: float) -> None:
    picture = RNG.integers(0, 256, (100, 120, 3), np.uint8)
    box = Box(x, y, width, height)
    prepare = Preprocess(margin=0.1)
    np.testing.assert_array_equal(prepare(picture, box, level(angle)), prepare(picture, box))


@given(
    st.integers(-300, 300),
    st.integers(-300, 300),
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(-180, 180),
    st.sampled_from([(1, 1), (1, 70), (100, 120), (100, 120, 1), (90, 80, 3)]),
)
def test_any_box_and_eyes_give_a_picture(
    x: int, y: int, width: int, height: int, angle: float, shape: tuple[int, ...]
) -> None:
    picture = np.full(shape, 77, np.uint8)
    result = Preprocess(margin=0.1)(picture, Box(x, y, width, height), level(angle))
    assert result.shape == (48, 48, 1)
    assert result.dtype == np.uint8
    assert np.all(result == 77)  # nothing but the picture's own border beyond it


@pytest.mark.parametrize(("angle", "quarters"), [(90, 1), (180, 2), (-90, 3)])
def test_quarter_turns_are_undone_exactly(angle: float, quarters: int) -> None:
    picture = RNG.integers(0, 256, (130, 140), np.uint8)
    box = Box(40, 30, 48, 48)
    turned = np.rot90(picture[30:78, 40:88], -quarters)  # clockwise
    scene = picture.copy()
    scene[30:78, 40:88] = turned
    np.testing.assert_array_equal(Preprocess()(scene, box, level(angle))[..., 0], picture[30:78, 40:88])


def test_eyes_in_one_place_or_nowhere_turn_nothing() -> None:
    picture = RNG.integers(0, 256, (100, 120), np.uint8)
    for eyes in (((5.0, 5.0), (5.0, 5.0)), ((float("nan"), 0.0), (1.0, 1.0))):
        np.testing.assert_array_equal(
            Preprocess()(picture, Box(9, 9, 60, 60), eyes), Preprocess()(picture, Box(9, 9, 60, 60))
        )


def scene(face: Pixels, angle: float) -> tuple[Pixels, Box, Eyes]:
    """Return a picture of a face turned clockwise, the box about it, and its eyes."""
    side = face.shape[0]
    middle = (side - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), -angle, 1.0)
    turn[:, 2] += side / 2
    picture = cv2.warpAffine(face, turn, (2 * side, 2 * side), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    first, second = (turn @ (x * side, y * side, 1.0) for x, y in EYES)
    eyes = (float(first[0]), float(first[1])), (float(second[0]), float(second[1]))
    return picture, Box(side // 2, side // 2, side, side), eyes


def faces(source: str) -> list[Pixels]:
    if source == "drawn":
        rng = np.random.default_rng(4)
        return [cartoon.draw_face(emotion, rng, 96) for emotion in FER2013_LABELS * 6]
    if not FER2013.is_file():
        pytest.skip(f"needs {FER2013}")
    sheet = cv2.imread(str(FER2013), cv2.IMREAD_GRAYSCALE)[: 48 * 3, : 48 * 20].astype(np.uint8)
    return [np.ascontiguousarray(sheet[y : y + 48, x : x + 48]) for y in range(0, 144, 48) for x in range(0, 960, 48)]


@pytest.mark.parametrize("source", ["drawn", "fer2013"])
def test_the_model_says_of_a_turned_face_with_eyes_what_it_says_of_the_upright_one(source: str) -> None:
    from edgefer.bundle import open_bundle
    from edgefer.runtime.engines import open_engine

    prepare = Preprocess()
    chosen = faces(source)
    with_eyes, without = [], []
    loaded = open_engine(open_bundle(None), "litert", "int8", 1)
    upright = loaded.engine.run(np.stack([prepare(face) for face in chosen])).argmax(axis=1)
    for angle in (30, 60, 90, 120, 150, 180):
        scenes = [scene(face, angle) for face in chosen]
        assert tilt(scenes[0][2]) % 360 == pytest.approx(angle)
        for agrees, inputs in (
            (with_eyes, [prepare(*each) for each in scenes]),
            (without, [prepare(picture, box) for picture, box, _ in scenes]),
        ):
            agrees.append(np.mean(loaded.engine.run(np.stack(inputs)).argmax(axis=1) == upright))
    loaded.engine.close()
    print(f"{source}: with eyes {np.round(with_eyes, 3)}, without {np.round(without, 3)}")
    assert min(with_eyes) > 0.8
    assert np.mean(with_eyes) > np.mean(without) + 0.3


def test_manifest_round_trip_and_refusals() -> None:
    assert Preprocess.from_dict(Preprocess(margin=0.2).as_dict()) == Preprocess(margin=0.2)
    for data in ({}, {"size": "x", "margin": 0, "method": "m"}, {"size": 48, "margin": 0.0, "method": "other"}):
        with pytest.raises(BundleError):
            Preprocess.from_dict(data)


def test_unreadable_pictures_are_none(tmp_path: Path) -> None:
    for content in (b"", b"text", b"\x89PNG\r\n\x1a\n" + b"\0" * 30):
        (tmp_path / "x.png").write_bytes(content)
        assert read_picture(tmp_path / "x.png") is None
    assert read_picture(tmp_path / "missing.png") is None
