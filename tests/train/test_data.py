"""Readers of labelled faces: what they read, and what they say of bad input."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS
from edgefer.train import data


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 48, 48), np.uint8)


def row(label: object, face: np.ndarray, usage: str = "Training") -> str:
    return f"{label},{' '.join(map(str, face.ravel()))},{usage}"


def csv(path: Path, rows: list[str]) -> Path:
    path.write_text("emotion,pixels,Usage\n" + "\n".join(rows) + "\n")
    return path


def test_csv_gives_the_pixels_and_labels_of_each_split(tmp_path: Path, faces: np.ndarray, cache: Path) -> None:
    usages = ["Training", "PublicTest", "PrivateTest"]
    path = csv(tmp_path / "fer2013.csv", [row(i % 7, face, usages[i % 3]) for i, face in enumerate(faces)])
    for attempt in range(2):  # parsed, then from the cache
        splits = data.read(path)
        assert list(splits) == ["train", "validation", "test"]
        np.testing.assert_array_equal(splits["train"].images, faces[0::3])
        np.testing.assert_array_equal(splits["test"].labels, [2, 5, 1])
        assert splits["train"].names == FER2013_LABELS
        assert len(list(cache.rglob("*.npz"))) == 1, attempt


def test_csv_changed_after_caching_is_read_anew(tmp_path: Path, faces: np.ndarray) -> None:
    path = csv(tmp_path / "fer2013.csv", [row(0, faces[0])])
    assert len(data.read(path)["train"]) == 1
    csv(path, [row(0, faces[0]), row(1, faces[1])])
    assert len(data.read(path)["train"]) == 2


def test_broken_cache_is_read_anew(tmp_path: Path, faces: np.ndarray, cache: Path) -> None:
    path = csv(tmp_path / "fer2013.csv", [row(0, faces[0])])
    data.read(path)
    next(cache.rglob("*.npz")).write_bytes(b"PK\x03\x04 cut short")
    assert len(data.read(path)["train"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.replace("0,", "7,", 1), "line 3: emotion must be 0–6, found '7'"),
        (lambda r: r.replace("0,", "x,", 1), "emotion must be 0–6, found 'x'"),
        (lambda r: r.replace(" ", "  1 ", 1), "2304 pixels expected, found 2305"),
        (lambda r: " ".join(r.split(" ")[:-1]) + ",Training", "2304 pixels expected, found 2303"),
        (lambda r: r.replace(" ", " a", 1), "whole numbers 0–255, found 'a"),
        (lambda r: r.replace(" ", " 256", 1), "whole numbers 0–255, found '256"),
        (lambda r: r[: len(r) // 2], "cut short"),
        (lambda r: r[:-3], "cut short"),
        (lambda r: r + ",more", "3 fields expected"),
    ],
)
def test_csv_with_a_bad_row_says_where(tmp_path: Path, faces: np.ndarray, change, message: str) -> None:  # type: ignore[no-untyped-def]
    path = csv(tmp_path / "fer2013.csv", [row(1, faces[0]), change(row(0, faces[1]))])
    with pytest.raises(DataError, match=message) as error:
        data.read(path)
    assert "line 3" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"emotion,pixels\n", b"emotion,pixels,Usage\n", b"\x00\xff" * 50])
def test_csv_without_rows_or_header(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fer2013.csv").write_bytes(content)
    with pytest.raises(DataError):
        data.read(tmp_path / "fer2013.csv")


@given(st.binary(max_size=400))
def test_csv_of_anything_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    path.write_bytes(b"emotion,pixels,Usage\n" + content)
    with pytest.raises(DataError):  # 400 bytes never hold a row
        data.read(path)


def test_missing_and_unknown_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data"):
        data.read(tmp_path / "nothing.csv")
    (tmp_path / "faces.txt").write_text("x")
    with pytest.raises(DataError, match="neither"):
        data.read(tmp_path / "faces.txt")


def pictures(folder: Path, count: int, size: tuple[int, int] = (60, 50)) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((*size, 3), i * 10, np.uint8))


def test_folder_with_splits_is_alphabetical_and_counts_the_unreadable(tmp_path: Path) -> None:
    for split in ("train", "validation"):
        for name in ("Happiness", "angry"):
            pictures(tmp_path / split / name, 3)
    (tmp_path / "train" / "angry" / "broken.png").write_bytes(b"not a picture")
    (tmp_path / "train" / "angry" / "empty.jpg").write_bytes(b"")
    splits = data.read(tmp_path)
    assert splits["train"].names == ("angry", "happy")
    assert len(splits["train"]) == 6
    assert splits["train"].skipped == 2
    assert splits["train"].images.shape == (6, 48, 48)


def test_folder_without_splits_is_divided_by_class(tmp_path: Path) -> None:
    pictures(tmp_path / "sad", 20)
    pictures(tmp_path / "happy", 10)
    train, validation = data.for_training(data.read(tmp_path), seed=1)
    assert np.bincount(validation.labels).tolist() == [1, 2]
    assert len(train) == 27


def test_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class folders"):
        data.read(tmp_path)
    (tmp_path / "happy").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        data.read(tmp_path)


def test_folder_in_which_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "sad").mkdir()
    (tmp_path / "sad" / "1.png").write_bytes(b"x")
    with pytest.raises(DataError, match="none of the 1 pictures"):
        data.read(tmp_path)


def test_npz(tmp_path: Path, faces: np.ndarray) -> None:
    labels = np.arange(9, dtype=np.uint8) % 7
    np.savez(tmp_path / "some.npz", images=faces[..., None], labels=labels)
    splits = data.read(tmp_path / "some.npz")
    np.testing.assert_array_equal(splits["all"].images, faces)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.savez(folder / "train.npz", images=faces, labels=labels)
    np.savez(folder / "publictest.npz", images=faces, labels=labels)
    assert list(data.read(folder)) == ["validation", "train"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 48, 48), np.uint8)}, "lacks the array labels"),
        ({"images": np.zeros((2, 48, 48), np.float32), "labels": np.zeros(2, int)}, "must be uint8"),
        ({"images": np.zeros((2, 47, 48), np.uint8), "labels": np.zeros(2, int)}, "must be uint8"),
        ({"images": np.zeros((2, 48, 48), np.uint8), "labels": np.zeros(3, int)}, "labels of shape"),
        ({"images": np.zeros((2, 48, 48), np.uint8), "labels": np.array([0, 7])}, "label 7 is out of range"),
        ({"images": np.zeros((2, 48, 48), np.uint8), "labels": np.array([0, -1])}, "label -1 is out of range"),
        ({"images": np.zeros((2, 48, 48), np.uint8), "labels": np.zeros(2)}, "must be integers"),
        ({"images": np.zeros((0, 48, 48), np.uint8), "labels": np.zeros(0, int)}, "no pictures"),
        ({"images": np.array([{}], dtype=object), "labels": np.zeros(1, int)}, "not a readable"),
    ],
)
def test_npz_that_is_not_right(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=message):
        data.read(tmp_path / "x.npz")


def test_npz_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match="not a readable"):
        data.read(tmp_path / "x.npz")


def test_labels_in_another_order_are_put_right(faces: np.ndarray) -> None:
    alphabetical = data.Dataset(faces[:3], np.array([0, 1, 2]), ("angry", "happy", "sad"))
    assert alphabetical.ordered(FER2013_LABELS).labels.tolist() == [0, 3, 4]
    with pytest.raises(DataError, match="contempt"):
        data.Dataset(faces[:1], np.array([0]), ("contempt",)).ordered(FER2013_LABELS)


def test_pick_prefers_what_was_held_out() -> None:
    splits = {"train": 1, "validation": 2}
    assert data.pick(splits, None) == ("validation", 2)
    assert data.pick(splits, "train") == ("train", 1)
    with pytest.raises(DataError, match="no split 'test'"):
        data.pick(splits, "test")
