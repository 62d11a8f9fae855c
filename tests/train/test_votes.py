"""FER+ votes: the file, how it fits the pictures, what becomes of the votes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS
from edgefer.train.data import Dataset, Splits, read, votes

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
NF = "0,0,0,0,0,0,0,0,0,10"


def ferplus(path: Path, rows: list[str], header: str = HEADER) -> Path:
    path.write_text("\r\n".join([header, *rows]) + "\r\n")
    return path


def faces(n: int, **more: object) -> Dataset:
    images = np.random.default_rng(n).integers(0, 256, (n, 48, 48), np.uint8)
    return Dataset(images, np.arange(n) % 7, FER2013_LABELS, **more)  # type: ignore[arg-type]


def line(usage: str, name: str, i: int) -> str:
    return f"{usage},{name},{i},0,0,0,0,0,0,0,0,0"


def test_votes_stand_in_the_order_of_each_usage(tmp_path: Path) -> None:
    path = ferplus(
        tmp_path / "v.csv",
        [
            line("Training", "fer0000000.png", 1),
            line("PublicTest", "fer0028709.png", 2),
            line("Training", "fer0000003.png", 3),
            line("PrivateTest", "fer0032298.png", 4),
        ],
    )
    splits: Splits = {"train": faces(2), "validation": faces(1)}
    found = votes.attach(splits, path)
    assert found["train"].votes is not None
    assert found["train"].votes[:, 0].tolist() == [1, 3]
    assert found["train"].rows is not None
    assert found["train"].rows.tolist() == [0, 3]
    assert found["validation"].rows is not None
    assert found["validation"].rows.tolist() == [28_709]
    assert splits["train"].votes is None


def test_lines_without_a_name_keep_their_place_and_make_the_position_the_row(tmp_path: Path) -> None:
    # As published: the numbers in the names skip what has none.
    path = ferplus(
        tmp_path / "v.csv",
        [line("Training", "fer0000000.png", 1), f"Training,,{NF}", line("Training", "fer0000001.png", 3)],
    )
    found = votes.attach({"train": faces(3)}, path)["train"]
    assert found.rows is not None
    assert found.votes is not None
    assert found.rows.tolist() == [0, 1, 2]
    assert found.votes[1, 9] == 10


@pytest.mark.parametrize("name", ["picture1.png", "fer0028638.png"])
def test_names_that_cannot_be_rows_give_none(tmp_path: Path, name: str) -> None:
    path = ferplus(tmp_path / "v.csv", [line("PublicTest", name, 1)])
    found = votes.attach({"validation": faces(1)}, path)["validation"]
    assert found.rows is None
    assert found.votes is not None


def test_data_with_rows_is_matched_by_them(tmp_path: Path) -> None:
    path = ferplus(tmp_path / "v.csv", [line("Training", f"fer{i:07}.png", i) for i in range(10)])
    found = votes.attach({"all": faces(3, rows=np.array([7, 2, 9]))}, path)["all"]
    assert found.votes is not None
    assert found.votes[:, 0].tolist() == [7, 2, 9]
    with pytest.raises(DataError, match="lacks 1 of the 2 pictures of the train split, such as row 10"):
        votes.attach({"train": faces(2, rows=np.array([3, 10]))}, path)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = ferplus(tmp_path / "v.csv", [line("Training", f"fer{i:07}.png", i) for i in range(5)])
    with pytest.raises(DataError, match="has 5 Training rows, but the train split has 4 pictures"):
        votes.attach({"train": faces(4)}, path)
    with pytest.raises(DataError, match="has 0 PublicTest rows"):
        votes.attach({"train": faces(5), "validation": faces(1)}, path)
    folder = Dataset(np.zeros((5, 48, 48), np.uint8), np.zeros(5, np.int64), tuple(sorted(FER2013_LABELS)))
    with pytest.raises(DataError, match="not the order of a folder"):
        votes.attach({"train": folder}, path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Training,fer0000001.png,1,2,3", "12 fields expected, found 5"),
        (line("Train", "fer0000001.png", 1), "Usage must be"),
        (line("Training", "fer0000001.png", 100), "neutral must be a count of votes, 0–99, found '100'"),
        (line("Training", "fer0000001.png", -1), "found '-1'"),
        (line("Training", "fer0000001.png", 1).replace(",0", ",x", 1), "found 'x"),
        (line("Training", "f" * 600, 1), "12 fields expected"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: str, message: str) -> None:
    path = ferplus(tmp_path / "v.csv", [line("Training", "fer0000000.png", 1), row])
    with pytest.raises(DataError, match=message) as error:
        votes.read(path)
    assert "line 3" in str(error.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        votes.read(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="first line"):
        votes.read(ferplus(tmp_path / "v.csv", [], "emotion,pixels,Usage"))
    with pytest.raises(DataError, match="no rows"):
        votes.read(ferplus(tmp_path / "v.csv", []))
    twice = [line("Training", "fer0000001.png", 1)] * 2
    with pytest.raises(DataError, match="same image name"):
        votes.read(ferplus(tmp_path / "v.csv", twice))


@given(st.binary(max_size=300), st.booleans())
@settings(deadline=None)
def test_a_file_of_anything_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, header: bool
) -> None:
    path = tmp_path_factory.mktemp("votes") / "any.csv"
    path.write_bytes((HEADER.encode() + b"\n" if header else b"") + content)
    with contextlib.suppress(DataError):
        assert votes.read(path).votes.shape[1] == 10


def one(**cast: int) -> np.ndarray:
    return np.array([[cast.get(choice, 0) for choice in votes.CHOICES]], np.uint8)


@pytest.mark.parametrize(
    ("cast", "own", "expected"),
    [
        ({"anger": 6, "disgust": 4}, "happy", "angry"),
        ({"neutral": 5, "sadness": 5}, "sad", "sad"),
        ({"neutral": 5, "sadness": 5}, "happy", "sad"),  # the first of the names
        ({"contempt": 8, "neutral": 2}, "angry", "neutral"),
        ({"unknown": 4, "fear": 4}, "angry", "fear"),
    ],
)
def test_majority(cast: dict[str, int], own: str, expected: str) -> None:
    labels, keep = votes.majority(one(**cast), FER2013_LABELS, np.array([FER2013_LABELS.index(own)]))
    assert keep.all()
    assert FER2013_LABELS[labels[0]] == expected


@pytest.mark.parametrize(
    "cast",
    [{"NF": 10}, {"unknown": 5, "fear": 4}, {"contempt": 9, "neutral": 1}, {"contempt": 10}, {"anger": 1, "fear": 1}],
)
def test_what_has_no_class_is_not_kept(cast: dict[str, int]) -> None:
    labels, keep = votes.majority(one(**cast), FER2013_LABELS, np.array([2]))
    assert not keep.any()
    assert labels.tolist() == [2]
    assert votes.distribution(one(**cast), FER2013_LABELS)[0].sum() == 0


def test_a_single_vote_is_noise() -> None:
    shares, _ = votes.distribution(one(anger=6, fear=3, disgust=1), FER2013_LABELS)
    np.testing.assert_allclose(shares[0], [2 / 3, 0, 1 / 3, 0, 0, 0, 0], atol=1e-7)


def test_names_without_any_emotion_of_ferplus() -> None:
    with pytest.raises(DataError, match="cat, dog"):
        votes.distribution(one(anger=9), ("cat", "dog"))


@given(arrays.arrays(np.uint8, (20, 10), elements=st.integers(0, 10)), st.permutations(FER2013_LABELS))
@settings(deadline=None)
def test_distributions_add_up_to_one_and_agree_with_the_majority(cast: np.ndarray, names: list[str]) -> None:
    order = tuple(names)
    shares, keep = votes.distribution(cast, order)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[keep].sum(axis=1), 1, atol=1e-6)
    assert not shares[~keep].any()
    labels, same_keep = votes.majority(cast, order, np.zeros(20, np.int64))
    np.testing.assert_array_equal(keep, same_keep)
    kept = np.flatnonzero(keep)
    np.testing.assert_allclose(shares[kept, labels[kept]], shares[kept].max(axis=1))


def test_npz_with_votes_and_rows(tmp_path: Path) -> None:
    data = faces(4)
    cast = np.arange(40, dtype=np.uint8).reshape(4, 10)
    np.savez(tmp_path / "x.npz", images=data.images, labels=data.labels, votes=cast, rows=np.array([5, 3, 9, 0]))
    found = read(tmp_path / "x.npz")["all"]
    np.testing.assert_array_equal(found.votes, cast)
    assert found.rows is not None
    assert found.rows.dtype == np.int64
    assert found.rows.tolist() == [5, 3, 9, 0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"votes": np.zeros((4, 10), np.int64)}, "votes must be uint8"),
        ({"votes": np.zeros((4, 9), np.uint8)}, "4 images but votes of shape"),
        ({"rows": np.zeros(4)}, "rows must be integers"),
        ({"rows": np.arange(3)}, "4 images but rows of shape"),
        ({"rows": np.array([0, 1, 2, 2])}, "differ from one another"),
        ({"rows": np.array([0, 1, 2, -1])}, "0 or more"),
    ],
)
def test_npz_with_votes_or_rows_that_are_not_right(tmp_path: Path, more: dict[str, np.ndarray], message: str) -> None:
    data = faces(4)
    np.savez(tmp_path / "x.npz", images=data.images, labels=data.labels, **more)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "x.npz")
