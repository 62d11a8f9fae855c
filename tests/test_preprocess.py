"""Pixels to tensor: the one piece of code that everything shares."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.errors import BundleError
from edgefer.preprocess import Box, Preprocess, read_picture

RNG = np.random.default_rng(0)


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
