"""Sizes read from headers are what the decoder would make, whatever the bytes are."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.imagesize import jpeg_extent, pnm_maximum, size_of

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
FORMATS = {
    "jpeg": (".jpg", []),
    "progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "restarts": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
    "png": (".png", []),
    "bmp": (".bmp", []),
    "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 60]),
    "webp-lossless": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "tiff": (".tiff", []),
    "ppm": (".ppm", []),
    "pgm": (".pgm", []),
    "ppm-text": (".ppm", [cv2.IMWRITE_PXM_BINARY, 0]),
}
CODED = {
    name: cv2.imencode(suffix, IMAGE[..., 0] if suffix == ".pgm" else IMAGE, flags)[1].tobytes()
    for name, (suffix, flags) in FORMATS.items()
}
CODED["webp-alpha"] = cv2.imencode(".webp", np.dstack([IMAGE, IMAGE[..., :1]]))[1].tobytes()


@pytest.mark.parametrize("name", CODED)
def test_the_size_is_read(name: str) -> None:
    assert size_of(CODED[name]) == (53, 37)


def test_jpegs_end_where_they_end() -> None:
    data = CODED["jpeg"]
    assert jpeg_extent(data + b"\0\0more\xff\xd9") == (53, 37, len(data))
    assert jpeg_extent(data[:-2]) is None
    assert jpeg_extent(data[:-1]) is None
    assert jpeg_extent(b"\xff\xd8\xff\xd9") is None


def test_a_progressive_jpeg_may_have_a_sane_number_of_scans() -> None:
    """Each scan makes a decoder go over all pixels again: 2,000 empty ones of an 8K picture would take a minute."""
    whole = cv2.imencode(".jpg", np.zeros((64, 64), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    scans = whole.count(b"\xff\xda")
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert jpeg_extent(whole[:-2] + last * (100 - scans) + b"\xff\xd9") is not None
    assert jpeg_extent(whole[:-2] + last * (101 - scans) + b"\xff\xd9") is None


@pytest.mark.parametrize(
    "data", [b"", b"GIF89a", b"\0\0\0\x0cjP  ", b"BM", b"II*\0", b"P6\n", b"P5\n3\n", b"RIFF", b"\xff\xd8"]
)
def test_what_is_unknown_or_too_short_has_no_size(data: bytes) -> None:
    assert size_of(data) is None


def test_white_of_grey_maps() -> None:
    assert pnm_maximum(b"P5\n# a\n2 2\n4095\n" + b"\0" * 8) == 4095
    assert pnm_maximum(b"P4\n2 2\n\0\0") is None
    assert pnm_maximum(b"P5\n2 2\n0\n") is None
    assert pnm_maximum(CODED["jpeg"]) is None


@pytest.mark.parametrize("name", CODED)
@settings(max_examples=60)
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4), cut=st.integers(0, 9)
)
def test_no_decoder_makes_more_than_was_seen(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(CODED[name])
    for position, value in changes:
        data[position % len(data)] = value
    size = size_of(bytes(data[: len(data) - cut]))
    if size is None or size[0] * size[1] > 1_000_000:
        return
    picture = cv2.imdecode(np.frombuffer(bytes(data), np.uint8), cv2.IMREAD_COLOR)
    assert picture is None or picture.shape[0] * picture.shape[1] <= size[0] * size[1]


@given(st.sampled_from(sorted({data[:4] for data in CODED.values()})), st.binary(max_size=300))
def test_any_bytes_are_an_answer(start: bytes, rest: bytes) -> None:
    size = size_of(start + rest)
    assert size is None or min(size) > 0


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 8_000_000,
        b"\xff\xd8" + b"\xff\xd0" * 4_000_000,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 2_000_000,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 8_000_000,
        b"P5" + b"#\n" * 4_000_000,
        b"P5" + b"#" * 8_000_000,
        b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 8_000_000,
    ],
    ids=["fill", "restarts", "segments", "chunks", "remarks", "remark", "tags"],
)
def test_hostile_headers_are_quick(data: bytes) -> None:
    begin = time.monotonic()
    assert size_of(data) is None
    assert time.monotonic() - begin < 1
