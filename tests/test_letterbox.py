"""Frames into a detector's input, and its boxes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.letterbox import FILL, METHOD, Letterbox, Pixels

SIDES = st.integers(1, 700)
INPUTS = st.sampled_from([(120, 160), (240, 320), (480, 640), (320, 240), (8, 8), (33, 17)])


def noise(height: int, width: int, *channels: int) -> Pixels:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, *channels), np.uint8)


@given(INPUTS, SIDES, SIDES, st.sampled_from([(), (1,), (3,)]))
def test_any_picture_fills_one_side_of_the_input_and_the_rest_is_grey(
    size: tuple[int, int], height: int, width: int, channels: tuple[int, ...]
) -> None:
    picture = noise(height, width, *channels)
    before = picture.copy()
    canvas, placed = Letterbox(*size)(picture)
    np.testing.assert_array_equal(picture, before)
    assert canvas.shape == (*size, 1)
    assert canvas.dtype == np.uint8
    high, wide = placed.scale_y * height, placed.scale_x * width
    assert high == pytest.approx(round(high))
    assert wide == pytest.approx(round(wide))
    high, wide = round(high), round(wide)
    assert 1 <= high <= size[0]
    assert 1 <= wide <= size[1]
    assert high == size[0] or wide == size[1]
    scale = min(size[0] / height, size[1] / width)
    assert (high, wide) == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert (canvas[high:] == FILL).all()
    assert (canvas[:, wide:] == FILL).all()


@given(INPUTS, st.integers(2, 700), st.integers(2, 700), st.data())
def test_boxes_and_points_come_back_within_a_pixel(
    size: tuple[int, int], height: int, width: int, data: st.DataObject
) -> None:
    x, y = data.draw(st.floats(0, width)), data.draw(st.floats(0, height))
    box = np.array([[x, y, width - x, height - y]], np.float32)
    _, placed = Letterbox(*size)(np.zeros((height, width), np.uint8))
    there = box * np.array([placed.scale_x, placed.scale_y] * 2, np.float32)
    assert (there[:, :2] + there[:, 2:] <= np.array(size[::-1]) + 1e-2).all()
    np.testing.assert_allclose(placed.boxes(there), box, atol=0.01)
    np.testing.assert_allclose(placed.points(there[:, :2]), box[:, :2], atol=0.01)
    assert placed.boxes(there).dtype == placed.points(there[:, :2]).dtype == np.float32
    # Laid in whole pixels of the input, a place is off by half of one at most.
    np.testing.assert_allclose(
        placed.points(np.round(there[:, :2])), box[:, :2], atol=0.501 / min(placed.scale_x, placed.scale_y)
    )


@pytest.mark.parametrize("shape", [(360, 640), (480, 640), (1080, 1920), (640, 360), (90, 120), (50, 300)])
def test_what_is_drawn_is_where_the_box_says(shape: tuple[int, int]) -> None:
    height, width = shape
    picture = np.zeros((height, width, 3), np.uint8)
    x, y, w, h = width // 3, height // 4, width // 4, height // 3
    picture[y : y + h, x : x + w] = 255
    canvas, placed = Letterbox(240, 320)(picture)
    inside = canvas[: round(height * placed.scale_y), : round(width * placed.scale_x), 0] > 127
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    drawn = np.array([columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]], np.float32)
    np.testing.assert_allclose(placed.boxes(drawn), [x, y, w, h], atol=1.01 / min(placed.scale_x, placed.scale_y, 1))


def test_grey_of_the_right_size_comes_through_as_it_is() -> None:
    picture = noise(240, 320)
    for given_ in (picture, picture[:, :, None]):
        canvas, placed = Letterbox(240, 320)(given_)
        np.testing.assert_array_equal(canvas[:, :, 0], picture)
        assert (placed.scale_x, placed.scale_y) == (1.0, 1.0)


def test_colour_is_made_grey_as_opencv_does() -> None:
    picture = noise(240, 320, 3)
    canvas, _ = Letterbox(240, 320)(picture)
    np.testing.assert_array_equal(canvas[:, :, 0], cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    grey = noise(480, 640)
    np.testing.assert_array_equal(
        Letterbox(240, 320)(np.repeat(grey[:, :, None], 3, axis=2))[0], Letterbox(240, 320)(grey)[0]
    )


def test_it_averages_when_it_shrinks_and_blends_when_it_grows() -> None:
    picture = noise(480, 640)
    canvas, _ = Letterbox(240, 320)(picture)
    means = picture.reshape(240, 2, 320, 2).mean(axis=(1, 3))
    assert np.abs(canvas[:, :, 0] - means).max() <= 1
    small = noise(60, 80)
    np.testing.assert_array_equal(
        Letterbox(240, 320)(small)[0][:, :, 0], cv2.resize(small, (320, 240), interpolation=cv2.INTER_LINEAR)
    )


def test_pictures_that_are_not_contiguous_are_taken() -> None:
    picture = noise(300, 500, 3)[::-1, ::2, ::-1]
    np.testing.assert_array_equal(Letterbox(120, 160)(picture)[0], Letterbox(120, 160)(picture.copy())[0])


def test_the_name_of_this_code_stays() -> None:
    assert METHOD == "grey-letterbox-v1"  # bundles name it, and refuse another (test_detector_bundle.py)
