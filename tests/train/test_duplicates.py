"""Copies: found when they are copies, and not when they merely look alike."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer import cartoon
from edgefer.train.data import duplicates

FER2013 = Path(__file__).parents[3] / "shared" / "data" / "fer2013"

Change = Callable[[np.ndarray], np.ndarray]


def shifted(face: np.ndarray) -> np.ndarray:
    return np.pad(face, ((1, 0), (0, 1)), mode="edge")[:48, 1:]


def brighter(face: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(face, alpha=0.8, beta=40).astype(np.uint8)


def watermarked(face: np.ndarray) -> np.ndarray:
    text = cv2.putText(face.copy(), "stock", (4, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
    return cv2.addWeighted(face, 0.7, text, 0.3, 0).astype(np.uint8)


def mirrored(face: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(face[:, ::-1])


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Noise that is about as smooth as photographs are; drawn faces lack texture and look too much alike."""
    rng = np.random.default_rng(1)
    rough = rng.normal(0, 1, (300, 48, 48)).astype(np.float32)
    smooth = [cv2.GaussianBlur(r, (0, 0), 5) * 20 + cv2.GaussianBlur(r, (0, 0), 1.5) for r in rough]
    return np.stack([cv2.normalize(s, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U) for s in smooth]).astype(np.uint8)


def enlarged(face: np.ndarray) -> np.ndarray:
    return cv2.resize(face, (50, 50), interpolation=cv2.INTER_LINEAR)[1:49, 1:49].astype(np.uint8)


@pytest.mark.parametrize("change", [shifted, enlarged, brighter, watermarked, mirrored])
def test_a_changed_picture_is_a_near_copy_of_itself_alone(faces: np.ndarray, change: Change) -> None:
    changed = np.stack([change(face) for face in faces])
    pairs, values = duplicates.near_pairs(changed, faces)
    found = dict(pairs.tolist())
    assert len(found) >= 0.95 * len(faces), "some are missed"
    assert all(i == j for i, j in found.items())
    assert values.min() >= duplicates.MIN_CORRELATION
    assert not duplicates.copies_of(changed, faces, near=False).any()
    assert duplicates.copies_of(changed, faces, near=True).mean() >= 0.95


def test_drawn_faces_of_different_looks_are_no_exact_copies() -> None:
    images, _ = cartoon.dataset(10, 1)
    assert duplicates.exact_groups(images) == []


def test_groups(faces: np.ndarray) -> None:
    images = np.stack([faces[0], faces[1], faces[0], brighter(faces[0]), faces[2], faces[2]])
    assert [g.tolist() for g in duplicates.exact_groups(images)] == [[0, 2], [4, 5]]
    assert [g.tolist() for g in duplicates.near_groups(images)] == [[0, 2, 3], [4, 5]]


def test_pictures_of_one_grey_level_are_exact_copies_only() -> None:
    images = np.stack([np.full((48, 48), v, np.uint8) for v in (0, 0, 90, 255)])
    assert [g.tolist() for g in duplicates.near_groups(images)] == [[0, 1]]
    assert duplicates.copies_of(images, images[:1], near=True).tolist() == [True, True, False, False]


def test_one_picture_has_no_copies(faces: np.ndarray) -> None:
    assert duplicates.near_groups(faces[:1]) == []


def test_search_is_whole_where_it_goes_by_parts(faces: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.concatenate([faces, np.stack([brighter(f) for f in faces])])
    whole, _ = duplicates.near_pairs(images)
    monkeypatch.setattr(duplicates, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(duplicates, "PICTURES_AT_ONCE", 11)
    np.testing.assert_array_equal(duplicates.near_pairs(images)[0], whole)
    assert len(whole) >= 0.95 * len(faces)


def test_correlation_finds_the_shift_and_knows_no_flat_picture(faces: np.ndarray) -> None:
    flat = np.full((48, 48), 9, np.uint8)
    assert duplicates.correlation(faces[0], np.roll(faces[0], (2, -2), (0, 1))) == pytest.approx(1, abs=1e-4)
    assert duplicates.correlation(faces[0], np.roll(faces[0], (3, 0), (0, 1))) < 0.999
    assert duplicates.correlation(flat, faces[0]) == duplicates.correlation(faces[0], flat) == 0
    assert duplicates.correlation(flat, flat) == 0


def test_progress_ends_at_the_total(faces: np.ndarray) -> None:
    calls: list[tuple[int, int]] = []
    duplicates.near_pairs(faces, progress=lambda done, total: calls.append((done, total)))
    assert calls == sorted(calls)
    assert calls[-1] == (600, 600)


def test_hash_of_the_mirror_image_is_the_mirrored_hash(faces: np.ndarray) -> None:
    mirror = np.ascontiguousarray(faces[:, :, ::-1])
    apart = duplicates.bit_count(duplicates.perceptual_hashes(faces)[1] ^ duplicates.perceptual_hashes(mirror)[0])
    assert apart.max() <= 2  # rounding


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_bits_are_counted_with_and_without_numpy_2(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    expected = [v.bit_count() for v in values]
    assert duplicates.bit_count(array).tolist() == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(np, "bitwise_count", raising=False)
        assert duplicates.bit_count(array).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
@settings(deadline=None)
def test_grouped_is_the_reach_of_the_pairs(pairs: list[tuple[int, int]]) -> None:
    groups = duplicates.grouped(10, [], np.array(pairs, np.int64).reshape(-1, 2))
    place = {int(i): k for k, group in enumerate(groups) for i in group}
    assert all(len(g) > 1 and (np.diff(g) > 0).all() for g in groups)
    assert all(i == j or place[i] == place[j] for i, j in pairs)
    assert set(place) == {i for pair in pairs if pair[0] != pair[1] for i in pair}
    reach = np.eye(10, dtype=bool)
    for i, j in pairs:
        reach[i, j] = reach[j, i] = True
    reach = np.linalg.matrix_power(reach.astype(int), 10) > 0
    for i, j in np.argwhere(reach):
        assert i == j or place[int(i)] == place[int(j)]
    assert sum(len(g) ** 2 for g in groups) + (10 - len(place)) == int(reach.sum())


def fer2013(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures and rows of a split from its contact sheet."""
    with (FER2013 / f"{split}.csv").open(newline="") as file:
        rows = np.array([int(record["row"]) for record in csv.DictReader(file)])
    sheet = cv2.imread(str(FER2013 / f"{split}.png"), cv2.IMREAD_GRAYSCALE)
    across = sheet.shape[1] // 48
    tiles = sheet.reshape(-1, 48, across, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48)
    return np.ascontiguousarray(tiles[: len(rows)]), rows


@pytest.mark.slow
@pytest.mark.skipif(not FER2013.is_dir(), reason="needs ../shared/data/fer2013")
def test_copies_that_are_known_in_fer2013_are_found() -> None:
    with (FER2013 / "train_rows_seen_in_test.csv").open(newline="") as file:
        known = {int(r["row"]): r["kind"] for r in csv.DictReader(file) if r["split"] == "PublicTest"}
    images, rows = fer2013("training")
    listed = np.isin(rows, list(known))
    some = listed | (np.arange(len(rows)) < 3000)
    images, rows, listed = images[some], rows[some], listed[some]
    reference, _ = fer2013("publictest")
    exactly = np.array([known.get(row) == "exact" for row in rows.tolist()])
    np.testing.assert_array_equal(duplicates.copies_of(images, reference, near=False), exactly)
    near = duplicates.copies_of(images, reference, near=True)
    assert near[listed].all()
    assert near[~listed].mean() < 0.03  # the list is stricter: these, too, are single photographs
