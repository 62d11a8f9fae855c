"""Preparation of the data: each setting does what it says, to the training pictures alone, and says so."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS
from edgefer.train.data import Dataset, Splits, divide
from edgefer.train.data.prepare import merge, merged_names, prepare, read_drop_rows, resample
from edgefer.train.recipe import DataSettings

COUNTS = (30, 10, 20, 50, 40, 30, 20)


def faces(seed: int, counts: tuple[int, ...] = COUNTS, **more: object) -> Dataset:
    """Pictures of noise, so that none is like another."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    images = rng.integers(0, 256, (len(labels), 48, 48), np.uint8)
    return Dataset(images, labels, FER2013_LABELS[: len(counts)], **more)  # type: ignore[arg-type]


def marked(seed: int, counts: tuple[int, ...] = COUNTS) -> Dataset:
    """Pictures with rows, votes and targets that all tell which picture it is."""
    data = faces(seed, counts)
    n = len(data)
    votes = np.zeros((n, 10), np.uint8)
    votes[np.arange(n), 0] = data.images[:, 0, 0] % 10
    targets = np.eye(len(counts), dtype=np.float32)[data.labels]
    return Dataset(data.images, data.labels, data.names, 0, votes, np.arange(n) + 1000, targets)


def belongs(data: Dataset, source: Dataset) -> None:
    """Check that what stands beside each picture is what stood beside it in `source`."""
    assert data.rows is not None
    assert data.votes is not None
    assert data.targets is not None
    assert source.votes is not None
    assert source.targets is not None
    at = data.rows - 1000
    np.testing.assert_array_equal(data.images, source.images[at])
    np.testing.assert_array_equal(data.labels, source.labels[at])
    np.testing.assert_array_equal(data.votes, source.votes[at])
    np.testing.assert_array_equal(data.targets, source.targets[at])


@pytest.fixture
def splits() -> Splits:
    return {"train": faces(1), "validation": faces(2), "test": faces(3)}


def test_default_settings_change_nothing(splits: Splits) -> None:
    done = prepare(splits, DataSettings(), 1)
    assert done.train is splits["train"]
    np.testing.assert_array_equal(done.validation.images, splits["validation"].images)
    assert done.test is not None
    np.testing.assert_array_equal(done.test.labels, splits["test"].labels)
    assert done.notes == ()


def test_a_tenth_is_held_out_where_there_is_no_validation() -> None:
    done = prepare({"all": faces(1)}, DataSettings(), 1)
    assert np.bincount(done.validation.labels).tolist() == [3, 1, 2, 5, 4, 3, 2]
    assert len(done.train) == 180
    assert done.test is None
    assert "held out 20 pictures" in done.notes[0]


def test_division_is_by_class_seeded_and_takes_every_picture_once() -> None:
    data = marked(1)
    splits = {"train": data.take(np.arange(150)), "validation": data.take(np.arange(150, 200))}
    tenths = DataSettings(split=(0.8, 0.1, 0.1), split_seed=3)
    done = prepare(splits, tenths, 1)
    assert done.test is not None
    parts = (done.train, done.validation, done.test)
    assert [len(p) for p in parts] == [160, 20, 20]
    assert np.bincount(done.test.labels).tolist() == [3, 1, 2, 5, 4, 3, 2]
    rows = np.concatenate([p.rows for p in parts if p.rows is not None])
    assert sorted(rows.tolist()) == list(range(1000, 1200))
    again = prepare(splits, tenths, 2)
    np.testing.assert_array_equal(again.train.images, done.train.images)
    other = prepare(splits, DataSettings(split=(0.8, 0.1, 0.1), split_seed=4), 1)
    assert (other.train.images != done.train.images).any()


def test_division_keeps_votes_only_where_all_have_them() -> None:
    splits = {"train": marked(1), "validation": faces(2)}
    done = prepare(splits, DataSettings(split=(0.5, 0.5)), 1)
    assert done.train.votes is None
    assert done.test is None


@given(
    st.lists(st.integers(3, 30), min_size=1, max_size=7),
    st.lists(st.floats(0.05, 0.45), min_size=1, max_size=2),
    st.integers(0, 100),
)
@settings(deadline=None)
def test_divide_leaves_each_part_some_of_each_class(counts: list[int], held: list[float], seed: int) -> None:
    data = marked(0, tuple(counts))
    parts = divide(data, held, seed)
    assert sum(map(len, parts)) == len(data)
    for part in parts:
        assert np.bincount(part.labels, minlength=len(counts)).min() >= 1
        belongs(part, data)


def test_divide_refuses_a_class_that_is_too_small() -> None:
    with pytest.raises(DataError, match="only 2 pictures of 'disgust'; at least 3 are needed"):
        divide(faces(1, (5, 2)), (0.1, 0.1), 1)
    with pytest.raises(DataError, match="a single picture of 'angry'; at least 2"):
        prepare({"all": faces(1, (1, 5))}, DataSettings(), 1)


def voted() -> Splits:
    cast = np.zeros((200, 10), np.uint8)
    cast[:, 1] = 6  # happiness
    cast[:, 3] = 4  # sadness
    cast[:5] = 0
    cast[:5, 9] = 10  # not a face
    return {"train": faces(1, votes=cast), "validation": faces(2, votes=cast)}


def test_votes_of_the_majority_become_the_labels_of_train_alone() -> None:
    splits = voted()
    done = prepare(splits, DataSettings(votes="majority"), 1)
    assert len(done.train) == 195
    assert (done.train.labels == FER2013_LABELS.index("happy")).all()
    assert done.train.targets is None
    np.testing.assert_array_equal(done.validation.labels, splits["validation"].labels)
    assert len(done.validation) == 200
    assert "dropped 5 that are no face" in done.notes[0]


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_soft_votes_become_targets(weight: float) -> None:
    splits = voted()
    done = prepare(splits, DataSettings(votes="soft", votes_weight=weight), 1)
    assert done.train.targets is not None
    assert done.train.targets.dtype == np.float32
    np.testing.assert_array_equal(done.train.labels, splits["train"].labels[5:])
    expected = (1 - weight) * np.eye(7)[done.train.labels]
    expected[:, 3] += 0.6 * weight
    expected[:, 4] += 0.4 * weight
    np.testing.assert_allclose(done.train.targets, expected, atol=1e-6)
    assert done.validation.targets is None


def test_votes_are_merged_with_their_labels() -> None:
    done = prepare(voted(), DataSettings(votes="soft", merge=("sad+happy=low",)), 1)
    assert done.train.targets is not None
    np.testing.assert_allclose(done.train.targets[:, done.train.names.index("low")], 1, atol=1e-6)


@pytest.mark.parametrize("votes", ["soft", "majority"])
def test_votes_that_are_not_there(splits: Splits, votes: str) -> None:
    with pytest.raises(DataError, match="--votes"):
        prepare(splits, DataSettings(votes=votes), 1)


def test_nothing_left_to_train_on() -> None:
    cast = np.zeros((200, 10), np.uint8)
    cast[:, 9] = 10
    with pytest.raises(DataError, match="nothing is left"):
        prepare({"train": faces(1, votes=cast), "validation": faces(2)}, DataSettings(votes="soft"), 1)


def test_merge_in_every_split(splits: Splits) -> None:
    done = prepare(splits, DataSettings(merge=("sadness+neutral", "angry+disgust=bad")), 1)
    names = ("bad", "fear", "happy", "sad+neutral", "surprise")
    for part in (done.train, done.validation, done.test):
        assert part is not None
        assert part.names == names
        assert np.bincount(part.labels).tolist() == [40, 20, 50, 60, 30]


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        (["sad+netural"], r"no label 'netural' \(did you mean 'neutral'\?\)"),
        (["sad+sad"], "'sad' is merged twice"),
        (["sad+neutral", "sad+fear"], "'sad' is merged twice"),
        (["sad+neutral=happy"], "there is a label 'happy' already"),
        (["sad=low"], "write labels joined by"),
        (["sad+neutral="], "write labels joined by"),
        (["sad+"], "no label ''"),
        (["+".join(FER2013_LABELS)], "leaves one label"),
    ],
)
def test_merges_that_cannot_be(merges: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        merged_names(FER2013_LABELS, merges)


def test_merged_label_may_have_the_name_of_a_part() -> None:
    names, index = merged_names(FER2013_LABELS, ["neutral+sad=sad"])
    assert names == ("angry", "disgust", "fear", "happy", "sad", "surprise")
    assert index.tolist() == [0, 1, 2, 3, 4, 5, 4]


@given(st.permutations(FER2013_LABELS), st.integers(2, 6))
@settings(deadline=None)
def test_merge_keeps_counts_and_sums(order: list[str], size: int) -> None:
    data = marked(1)
    names, index = merged_names(data.names, ["+".join(order[:size]) + "=new"])
    done = merge(data, names, index)
    before = dict(zip(data.names, COUNTS, strict=True))
    after = dict(zip(names, np.bincount(done.labels, minlength=len(names)).tolist(), strict=True))
    assert after.pop("new") == sum(before.pop(name) for name in order[:size])
    assert after == before
    assert done.targets is not None
    np.testing.assert_allclose(done.targets.sum(axis=1), 1)
    np.testing.assert_array_equal(done.targets.argmax(axis=1), done.labels)


def brighter(image: np.ndarray) -> np.ndarray:
    return (image * 0.8 + 20).astype(np.uint8)


@pytest.mark.parametrize(("setting", "left"), [("keep", 202), ("exact", 200), ("near", 199)])
def test_pictures_seen_in_other_splits_leave_train(setting: str, left: int) -> None:
    train, validation, test = faces(1), faces(2), faces(3)
    images = np.concatenate([train.images, validation.images[:1], test.images[:1]])
    images[7] = brighter(test.images[5])
    train = Dataset(images, np.append(train.labels, [0, 0]), train.names)
    splits = {"train": train, "validation": validation, "test": test}
    done = prepare(splits, DataSettings(seen_in_test=setting), 1)
    assert len(done.train) == left
    assert len(done.validation) == len(validation)


def test_rows_to_drop() -> None:
    data = marked(1)
    done = prepare({"train": data, "validation": faces(2)}, DataSettings(), 1, {1000, 1005, 7})
    belongs(done.train, data)
    assert done.train.rows is not None
    assert set(done.train.rows.tolist()) == set(range(1000, 1200)) - {1000, 1005}
    assert done.notes == ("dropped 2 training pictures by their rows, of 3 listed",)
    with pytest.raises(DataError, match="does not tell its rows"):
        prepare({"train": faces(1), "validation": faces(2)}, DataSettings(), 1, {1})


def test_of_copies_the_first_with_the_most_frequent_label_stays() -> None:
    a, b, c = np.random.default_rng(1).integers(0, 256, (3, 48, 48), np.uint8)
    images = np.stack([a, a, b, a, c, c, brighter(b)])
    labels = np.array([5, 2, 3, 2, 6, 1, 3])
    splits = {"train": Dataset(images, labels, FER2013_LABELS), "validation": faces(2)}
    exact = prepare(splits, DataSettings(duplicates="exact"), 1)
    assert exact.train.labels.tolist() == [2, 3, 6, 3]  # of a: the first that is 2; of c, a tie: the first
    near = prepare(splits, DataSettings(duplicates="near"), 1)
    assert near.train.labels.tolist() == [2, 3, 6]
    assert "dropped 4" in near.notes[0]
    assert "in 2 of them the labels differ" in near.notes[0]


@given(st.lists(st.integers(1, 40), min_size=2, max_size=7), st.integers(1, 60), st.integers(0, 9))
@settings(deadline=None)
def test_resample_gives_exactly_as_many_of_each(counts: list[int], count: int, seed: int) -> None:
    data = marked(0, tuple(counts))
    done = resample(data, count, seed)
    assert np.bincount(done.labels).tolist() == [count] * len(counts)
    belongs(done, data)
    np.testing.assert_array_equal(done.images, resample(data, count, seed).images)
    assert done.rows is not None
    for label, had in enumerate(counts):
        times = np.unique(done.rows[done.labels == label], return_counts=True)[1]
        assert len(times) == min(had, count), "drawn twice while others were not drawn"
        assert times.max() - times.min() <= 1


def test_resample_to_the_mean_by_default(splits: Splits) -> None:
    done = prepare(splits, DataSettings(balance="resample"), 1)
    assert np.bincount(done.train.labels).tolist() == [29] * 7
    assert len(done.validation) == 200
    to = prepare(splits, DataSettings(balance="resample", balance_to=12), 1)
    assert np.bincount(to.train.labels).tolist() == [12] * 7


def test_resample_without_a_class(splits: Splits) -> None:
    data = splits["train"]
    splits["train"] = data.take(np.flatnonzero(data.labels != 1))
    with pytest.raises(DataError, match="no training picture of 'disgust'"):
        prepare(splits, DataSettings(balance="resample"), 1)


@given(st.permutations(range(7)), st.permutations(FER2013_LABELS))
@settings(deadline=None)
def test_take_and_ordered_keep_what_belongs_together(index: list[int], names: list[str]) -> None:
    data = marked(1, (1,) * 7)
    belongs(data.take(np.array(index)), data)
    ordered = data.ordered(tuple(names))
    assert [names[i] for i in ordered.labels] == [data.names[i] for i in data.labels]
    assert ordered.targets is not None
    np.testing.assert_array_equal(ordered.targets.argmax(axis=1), ordered.labels)


def test_read_drop_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("split,row\nPublicTest,49\nPrivateTest,49\n\nPublicTest, 81\n")
    assert read_drop_rows(path) == {49, 81}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a column `row`"),
        (b"rows\n1\n", "a column `row`"),
        (b"row\n", "no rows"),
        (b"row\n1\n-2\n", "line 3"),
        (b"row\nx\n", "line 2"),
        (b"row,kind\n1\n", "line 2"),
        (b"row\n1.5\n", "line 2"),
        ("row\n²\n".encode(), "line 2"),
        (b"row\n\xff\n", "UTF-8"),
        (b'row\n"1\n', "readable CSV"),
    ],
)
def test_read_drop_rows_refuses(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_drop_rows(path)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_rows_of_anything_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_bytes(b"row\n" + content)
    with contextlib.suppress(DataError):
        assert all(isinstance(row, int) for row in read_drop_rows(path))


def test_rows_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_drop_rows(tmp_path / "none.csv")
