"""Readers of pictures with face boxes: what they read, and what they say of strangers' files."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer import plugins
from edgefer.errors import DataError
from edgefer.preprocess import read_picture
from edgefer.train import scenes
from edgefer.train.scenes import Scene, _checked, jsonl
from edgefer.train.scenes._size import picture_size

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "detector"
FORMS = ("coco", "jsonl", "retinaface", "wider", "yolo")
NONE = [[math.nan] * 2] * 5


def picture(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    """Write a picture of so many pixels, width and height; what is in it does not matter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((size[1], size[0]), np.uint8))
    return path


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def own(folder: Path, *records: object) -> Path:
    """Write edgefer's own form, with its pictures."""
    for record in records:
        if isinstance(record, dict) and isinstance(record.get("file"), str):
            picture(folder / "pictures" / record["file"])
    text(folder / "pictures.jsonl", *(r if isinstance(r, str) else json.dumps(r) for r in records))
    return folder


def boxes(scene: Scene) -> list[list[float]]:
    return scene.boxes.round(3).tolist()


def test_every_form_has_its_test() -> None:
    assert tuple(plugins.names("edgefer.train.scenes")) == FORMS


# Scene


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((1, 4))}, "boxes must be float32"),
        ({"boxes": np.ones((1, 5), np.float32)}, "boxes must be float32"),
        ({"boxes": np.array([[0, 0, 1, np.nan]], np.float32)}, "boxes must be finite"),
        ({"boxes": np.array([[0, 0, 1, 0]], np.float32)}, "width and height above 0"),
        ({"boxes": np.array([[2e6, 0, 1, 1]], np.float32)}, "at most 1,000,000"),
        ({"landmarks": np.zeros((1, 4, 2), np.float32)}, "landmarks must be float32"),
        ({"landmarks": np.full((1, 5, 2), np.inf, np.float32)}, "landmarks must be finite"),
        ({"landmarks": np.array([[[1, np.nan]] * 5], np.float32)}, "one coordinate without"),
        ({"scores": np.ones(2, np.float32)}, "scores must be float32"),
        ({"scores": np.array([1.5], np.float32)}, "from 0 to 1"),
        ({"ignore": np.array([[0, 0, -1, 1]], np.float32)}, "ignore must have"),
        ({"width": 5}, "5 × 0 is no size"),
        ({"width": -5, "height": -5}, "is no size"),
    ],
)
def test_a_scene_that_is_not_right_is_refused(change: dict[str, object], message: str) -> None:
    right: dict[str, object] = {
        "boxes": np.array([[1, 2, 3, 4]], np.float32),
        "landmarks": np.array([NONE], np.float32),
        "scores": np.ones(1, np.float32),
    }
    Scene("a.jpg", Path("a.jpg"), **right)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        Scene("a.jpg", Path("a.jpg"), **{**right, **change})  # type: ignore[arg-type]


# edgefer's own form


def test_own_form(tmp_path: Path) -> None:
    points = [float(i) for i in range(10)]
    folder = own(
        tmp_path,
        {"file": "a.jpg", "width": 40, "height": 30, "faces": [[1, 2, 3, 4, 0.5, *points]], "ignore": [[5, 6, 7, 8]]},
        {"file": "b.jpg", "faces": [[-1, -2, 3.5, 4], [0, 0, 9, 9, 0.25], [0, 0, 9, 9, 1, None, None, *points[2:]]]},
        {"file": "c.jpg", "faces": [], "kind": "neg"},
    )  # fmt: skip
    for path in (folder, folder / "pictures.jsonl"):
        a, b, c = scenes.read(path)["all"]
        assert (a.name, a.path, a.width, a.height) == ("a.jpg", folder / "pictures" / "a.jpg", 40, 30)
        assert boxes(a) == [[1, 2, 3, 4]]
        assert a.scores.tolist() == [0.5]
        assert a.landmarks.tolist() == [[[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]]
        assert a.ignore.tolist() == [[5, 6, 7, 8]]
        assert b.scores.tolist() == [1, 0.25, 1]
        np.testing.assert_array_equal(np.isnan(b.landmarks).any(2).sum(1), [5, 5, 1])
        assert (b.width, b.height) == (0, 0)
        assert len(c.boxes) == len(c.ignore) == 0


def test_own_form_with_splits(tmp_path: Path) -> None:
    names = ("train", "validation", "test", "train")
    own(tmp_path, *({"file": f"{i}.jpg", "faces": [], "split": split} for i, split in enumerate(names)))
    read = scenes.read(tmp_path)
    assert {name: [s.name for s in some] for name, some in read.items()} == {
        "train": ["0.jpg", "3.jpg"],
        "validation": ["1.jpg"],
        "test": ["2.jpg"],
    }


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["0a1b2c3d", "1234567f", "2bcdef01", "fbcdef01"], {"train": 2, "validation": 2}),
        (["0A1B2C3D", "2bcdef01"], {"train": 1, "validation": 1}),
        (["0a1b2c3d", "2bcdef01", "holiday"], {"all": 3}),
        (["0a1b", "2bcd"], {"all": 2}),  # too short for hashes
        (["00000001", "20000002"], {"all": 2}),  # numbers
        (["0a1b2c3d", "1bcdef01"], {"all": 2}),  # nothing would be left to train on
        (["2a1b2c3d", "3bcdef01"], {"all": 2}),
    ],
)
def test_own_form_is_divided_by_hashes_alone(tmp_path: Path, names: list[str], splits: dict[str, int]) -> None:
    own(tmp_path, *({"file": f"{name}.jpg", "faces": []} for name in names))
    assert {name: len(some) for name, some in scenes.read(tmp_path).items()} == splits


GOOD = {"file": "a.jpg", "faces": [[1, 2, 3, 4]]}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("[]", "line 2: an object"),
        ({"file": "b.jpg"}, "line 2: faces must be a list"),
        ({"faces": []}, "line 2, file: the name of a picture"),
        ({"file": 3, "faces": []}, "the name of a picture expected, found 3"),
        ({"file": "b.jpg", "faces": [[1, 2, 3]]}, "line 2: a face has 4 numbers.*found 3"),
        ({"file": "b.jpg", "faces": [[1, 2, 3, "4"]]}, "line 2, faces: a number expected, found '4'"),
        ({"file": "b.jpg", "faces": [[1, 2, 3, True]]}, "a number expected, found True"),
        ({"file": "b.jpg", "faces": [[1, 2, None, 4]]}, "a number expected, found None"),
        ({"file": "b.jpg", "faces": [[1, 2, 3, math.nan]]}, "must be finite"),
        ({"file": "b.jpg", "faces": [[1, 2, 3, 10**400]]}, "must be finite and at most"),
        ({"file": "b.jpg", "faces": [[1, 2, -3, 4]]}, "line 2: a box has a negative size"),
        ({"file": "b.jpg", "faces": [[1, 2, 3, 4, 7]]}, "line 2: picture 'b.jpg': scores"),
        ({"file": "b.jpg", "faces": [[1, 2, 3, 4, 1, None, *range(9)]]}, "line 2.*one coordinate without"),
        ({"file": "b.jpg", "faces": [], "ignore": [[1]]}, "line 2: a box to ignore has 4 numbers"),
        ({"file": "b.jpg", "faces": [], "width": 5}, "line 2: width and height must be whole numbers"),
        ({"file": "b.jpg", "faces": [], "width": 5, "height": 0}, "width and height must be whole numbers"),
        ({"file": "b.jpg", "faces": [], "split": "training"}, "line 2: split must be one of"),
        ({"file": "b.jpg", "faces": [], "split": "train"}, "'a.jpg' has no split"),
        ({"file": "b.jpg", "faces": [[0, 0, 1, 1]] * 10_001}, "more than 10,000 boxes"),
        (GOOD, "'a.jpg' stands there twice"),
        ({"file": "b.jpg", "faces": "x" * 10_000_000}, "found 'xxxxxxxxxxxx"),
    ],
)
def test_own_form_with_a_bad_line_says_where(tmp_path: Path, record: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        scenes.read(own(tmp_path, GOOD, record))
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret.jpg", "a/../../secret.jpg", "..\\secret.jpg", "C:\\a.jpg", "\\a.jpg", "a\0.jpg",
     "\ud800.jpg"],
)  # fmt: skip
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "data" / "secret.jpg")
    text(tmp_path / "data" / "pictures.jsonl", json.dumps({"file": name, "faces": []}))
    with pytest.raises(DataError, match="must be the name of a file inside"):
        scenes.read(tmp_path / "data")


@pytest.mark.parametrize("name", ["b.jpg", "", ".", "x" * 900, "sub", "a.jpg/b.jpg", "a" * 1001])
def test_pictures_that_are_not_there_are_named(tmp_path: Path, name: str) -> None:
    own(tmp_path, GOOD)
    (tmp_path / "pictures" / "sub").mkdir()
    text(tmp_path / "pictures.jsonl", json.dumps(GOOD), json.dumps({"file": name, "faces": []}))
    with pytest.raises(DataError, match=r"line 2, file: (there is no picture|the name of a picture)"):
        scenes.read(tmp_path)


def rounded(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


FACES = st.tuples(
    st.lists(rounded(-1000, 1000), min_size=2, max_size=2),
    st.lists(rounded(2**-9, 1000), min_size=2, max_size=2),
    rounded(0, 1),
    st.lists(st.none() | st.tuples(rounded(-1000, 1000), rounded(-1000, 1000)), min_size=5, max_size=5),
)


@given(st.lists(st.tuples(st.lists(FACES, max_size=3), st.lists(FACES, max_size=2)), min_size=1, max_size=3))
def test_own_form_gives_back_what_was_written(pictures: list[tuple[list[tuple], list[tuple]]]) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        records = []
        for i, (faces, ignore) in enumerate(pictures):
            flat = [
                [*at, *size, score, *(v for p in points for v in (p or (None, None)))]
                for at, size, score, points in faces
            ]
            records.append({"file": f"{i}.png", "faces": flat, "ignore": [[*at, *size] for at, size, _, _ in ignore]})
        read = scenes.read(own(Path(folder), *records))["all"]
        assert [s.name for s in read] == [r["file"] for r in records]
        for scene, (faces, ignore) in zip(read, pictures, strict=True):
            np.testing.assert_array_equal(scene.boxes, np.array([[*f[0], *f[1]] for f in faces]).reshape(-1, 4))
            np.testing.assert_array_equal(scene.scores, np.array([f[2] for f in faces]))
            points = [[p or (math.nan, math.nan) for p in f[3]] for f in faces]
            np.testing.assert_array_equal(scene.landmarks, np.array(points).reshape(-1, 5, 2))
            np.testing.assert_array_equal(scene.ignore, np.array([[*f[0], *f[1]] for f in ignore]).reshape(-1, 4))


# WIDER FACE and RetinaFace's labels of it

WIDER = (
    "0--Parade/a.jpg",
    "1",
    "449 330 122 149 0 0 0 0 0 0 ",
    "0--Parade/b.jpg",
    "3",
    "78 221 7 8 2 0 0 0 0 0 ",
    "78 238 14 17 2 0 0 1 0 0 ",
    "9 9 0 5 2 0 0 1 0 0 ",
    "1--Handshaking/c.jpg",
    "0",
    "0 0 0 0 0 0 0 0 0 0 ",
    "1--Handshaking/d.jpg",
    "1",
    "1 2 3 4",
)


def wider(folder: Path, split: str = "train", *lines: str) -> Path:
    for line in lines or WIDER:
        if line.endswith(".jpg"):
            picture(folder / f"WIDER_{split}" / "images" / line)
    return text(folder / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt", *(lines or WIDER))


def test_wider_face(tmp_path: Path) -> None:
    train = wider(tmp_path)
    wider(tmp_path, "val", "x.jpg", "1", "1 2 3 4 0 0 0 0 0 0")
    text(tmp_path / "wider_face_split" / "wider_face_test_filelist.txt", "y.jpg")
    for path in (tmp_path, tmp_path / "wider_face_split"):
        read = scenes.read(path)
        assert {name: len(some) for name, some in read.items()} == {"train": 4, "validation": 1}
        assert [s.name for s in read["train"]] == [line for line in WIDER if line.endswith(".jpg")]
        assert [boxes(s) for s in read["train"]] == [[[449, 330, 122, 149]], [[78, 221, 7, 8]], [], [[1, 2, 3, 4]]]
        assert [s.ignore.tolist() for s in read["train"]] == [[], [[78, 238, 14, 17]], [], []]
        assert np.isnan(read["train"][0].landmarks).all()
        assert read["train"][0].path == tmp_path / "WIDER_train" / "images" / "0--Parade" / "a.jpg"
        assert read["validation"][0].path == tmp_path / "WIDER_val" / "images" / "x.jpg"
    assert list(scenes.read(train)) == ["train"]


def test_wider_face_without_the_line_of_zeros(tmp_path: Path) -> None:
    wider(tmp_path, "train", "a.jpg", "0", "b.jpg", "0", "0 0 0 0 0 0 0 0 0 0", "c.jpg", "0")
    assert [len(s.boxes) for s in scenes.read(tmp_path)["train"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg"], "line 2: the number of faces expected"),
        (["a.jpg", "-1"], "line 2: the number of faces expected"),
        (["a.jpg", "99999999999"], "line 2: the number of faces expected"),
        (["a.jpg", "10001"], "line 2: the number of faces expected"),
        (["a.jpg", "1"], "line 1: 1 faces are announced, and the file is cut short"),
        (["a.jpg", "2", "1 2 3 4", "b.jpg", "0"], "line 4: a number expected, found 'b.jpg'"),
        (["a.jpg", "1", "1 2 3"], "line 3: a face has 10 numbers"),
        (["a.jpg", "1", "1 2 3 4e9"], "line 3: numbers must be finite"),
        (["a.jpg", "1", "1 2 3 nan"], "line 3: a number expected, found 'nan'"),
        (["a.jpg", "1", "1 2 3 1_0"], "line 3: a number expected"),
        (["a.jpg", "1", "1 2 3 -4"], "line 3: a box has a negative size"),
        (["a.jpg", "0", "a.jpg", "0"], "'a.jpg' stands there twice"),
        (["a.jpg", "0", "", "../b.jpg", "0"], "line 4: '../b.jpg' must be"),
    ],
)
def test_wider_face_with_a_bad_line_says_where(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scenes.read(wider(tmp_path, "train", *lines))


def test_wider_face_without_its_pictures(tmp_path: Path) -> None:
    wider(tmp_path)
    (tmp_path / "WIDER_train" / "images" / "0--Parade" / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"line 4: there is no picture '0--Parade/b.jpg'"):
        scenes.read(tmp_path)
    shutil.rmtree(tmp_path / "WIDER_train")
    with pytest.raises(DataError, match=r"its pictures are expected in .*WIDER_train"):
        scenes.read(tmp_path)


def retinaface(folder: Path, *lines: str) -> Path:
    for line in lines:
        if line.startswith("# ") and line.endswith(".jpg"):
            picture(folder / "images" / line[2:])
    return text(folder / "label.txt", *lines)


RETINAFACE = (
    "# 0--Parade/a.jpg",
    "449 330 122 149 488.5 373.5 0.0 542.5 376.5 0.0 515 412 1.0 485 425 0.0 538 431 0.0 0.82",
    "# 0--Parade/b.jpg",
    "78 221 7 8 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 0.2",
    "5 5 0 8 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1",
    "# 0--Parade/c.jpg",
)


def test_retinaface(tmp_path: Path) -> None:
    train = retinaface(tmp_path / "train", *RETINAFACE)
    retinaface(tmp_path / "val", "# x.jpg", "1 2 3 4")
    retinaface(tmp_path / "test", "# y.jpg")
    read = scenes.read(tmp_path)
    assert {name: len(some) for name, some in read.items()} == {"train": 3, "validation": 1}
    a, b, c = read["train"]
    assert boxes(a) == [[449, 330, 122, 149]]
    assert a.landmarks.tolist() == [[[488.5, 373.5], [542.5, 376.5], [515, 412], [485, 425], [538, 431]]]
    assert boxes(b) == [[78, 221, 7, 8]]
    assert np.isnan(b.landmarks).all()
    assert boxes(c) == []
    assert boxes(read["validation"][0]) == [[1, 2, 3, 4]]
    assert list(scenes.read(train)) == ["train"]
    assert list(scenes.read(tmp_path / "val")) == ["validation"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1 2 3 4", "# a.jpg"], "line 1: a line `# picture` must come first|there is no picture"),
        (["# a.jpg", "1 2 3 4 5"], "line 2: a face has 4 numbers, or 20"),
        (["# a.jpg", "1 2 3 x"], "line 2: a number expected"),
        (["# a.jpg", "# a.jpg"], "stands there twice"),
        (["#"], "line 1: the name of a picture expected"),
        (["# /etc/passwd"], "line 1: '/etc/passwd' must be"),
    ],
)
def test_retinaface_with_a_bad_line_says_where(tmp_path: Path, lines: list[str], message: str) -> None:
    retinaface(tmp_path, *lines)
    with pytest.raises(DataError, match=message):
        scenes.read(tmp_path)


# COCO


def coco(file: Path, pictures: Path, **change: object) -> Path:
    content: dict[str, object] = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}, {"id": 9, "file_name": "sub/b.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "Face"}],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4.5], "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 3, "bbox": [5, 6, 7, 8], "iscrowd": 1},
            {"id": 3, "image_id": 9, "category_id": 1, "bbox": [0, 0, 20, 20]},
            {"id": 4, "image_id": 9, "category_id": 3, "bbox": [9, 9, 9, 9],
             "keypoints": [1, 2, 2, 3, 4, 1, 0, 0, 0, 7, 8, 2, 9, 10, 2]},
        ],
        **change,
    }  # fmt: skip
    for name in ("a.jpg", "sub/b.jpg"):
        picture(pictures / name)
    return text(file, json.dumps(content))


@pytest.mark.parametrize(
    ("file", "pictures", "given", "split"),
    [
        ("faces.json", ".", "faces.json", "all"),
        ("faces.json", "images", "faces.json", "all"),
        ("annotations/instances_train2017.json", "train2017", ".", "train"),
        ("annotations/instances_val2017.json", "images/val2017", ".", "validation"),
        ("annotations/test.json", "images", "annotations/test.json", "test"),
        ("valid/_annotations.coco.json", "valid", ".", "validation"),
        ("train/_annotations.coco.json", "train", "train", "train"),
    ],
)
def test_coco(tmp_path: Path, file: str, pictures: str, given: str, split: str) -> None:
    coco(tmp_path / file, tmp_path / pictures)
    text(tmp_path / "annotations" / "captions.json", "[]") if "instances" in file else None
    read = scenes.read(tmp_path / given)
    assert list(read) == [split]
    a, b = read[split]
    assert (a.name, a.width, a.height, boxes(a)) == ("a.jpg", 40, 30, [])
    assert b.path == tmp_path / pictures / "sub" / "b.jpg"
    assert boxes(b) == [[1, 2, 3, 4.5], [9, 9, 9, 9]]
    assert b.ignore.tolist() == [[5, 6, 7, 8]]
    np.testing.assert_array_equal(b.landmarks, [NONE, [[1, 2], [3, 4], [math.nan] * 2, [7, 8], [9, 10]]])


def test_coco_with_both_splits(tmp_path: Path) -> None:
    coco(tmp_path / "annotations" / "faces_train.json", tmp_path / "faces_train")
    coco(tmp_path / "annotations" / "faces_val.json", tmp_path / "faces_val")
    assert {name: len(some) for name, some in scenes.read(tmp_path).items()} == {"train": 2, "validation": 2}
    (tmp_path / "annotations" / "faces_val.json").rename(tmp_path / "annotations" / "more.json")
    with pytest.raises(DataError, match="does not tell whether"):
        scenes.read(tmp_path)
    (tmp_path / "annotations" / "more.json").rename(tmp_path / "annotations" / "training.json")
    with pytest.raises(DataError, match="both for the split 'train'"):
        scenes.read(tmp_path)


def test_the_same_pictures_in_two_splits_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        coco(tmp_path / "annotations" / f"{split}.json", tmp_path / "images")
    with pytest.raises(DataError, match=r"'a.jpg' stands there twice"):
        scenes.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]}, "found: 'person', 'car'"),
        ({"categories": []}, "found: none"),
        ({"categories": {}}, "categories must be a list"),
        ({"images": None}, "images must be a list"),
        ({"images": [3]}, "images 1: an object expected, found 3"),
        ({"images": [{"id": [], "file_name": "a.jpg"}]}, "images 1: an id"),
        ({"images": [{"id": 9, "file_name": "a.jpg"}] * 2}, "images 2: the id 9 stands there twice"),
        ({"images": [{"id": i, "file_name": "a.jpg"} for i in (8, 9)]}, "'a.jpg' stands there twice"),
        ({"images": [{"id": 9, "file_name": "no.jpg"}]}, "there is no picture 'no.jpg' in any of"),
        ({"images": [{"id": 9, "file_name": "a.jpg"}, {"id": 1}]}, "images 2: the name of a picture"),
        ({"images": [{"id": 9, "file_name": "a.jpg", "width": 1.5, "height": 2}]}, "images 1: width and height"),
        ({"annotations": [{"image_id": 1, "category_id": 3}]}, "annotations 1: there is no image with the id 1"),
        ({"annotations": [{"image_id": 9, "category_id": 3}]}, "annotations 1, bbox: a list of numbers"),
        ({"annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3]}]}, "bbox has 4 numbers"),
        ({"annotations": [{"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, -1]}]}, "negative size"),
        ({"annotations": [{"image_id": 9, "bbox": [1, 2, 3, 4]}]}, "annotations 1: an id"),
    ],
)
def test_coco_that_is_not_right_says_where(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scenes.read(coco(tmp_path / "faces.json", tmp_path, **change))


def test_coco_with_one_category_of_any_name(tmp_path: Path) -> None:
    file = coco(tmp_path / "faces.json", tmp_path, categories=[{"id": 3, "name": "head"}])
    assert len(scenes.read(file)["all"][1].boxes) == 2


# YOLO


@pytest.mark.parametrize(
    ("images", "labels", "split"),
    [
        ("images", "labels", "all"),
        ("images/train", "labels/train", "train"),
        ("images/val", "labels/val", "validation"),
        ("valid/images", "valid/labels", "validation"),
    ],
)
def test_yolo(tmp_path: Path, images: str, labels: str, split: str) -> None:
    picture(tmp_path / images / "sub" / "a.jpg", (200, 100))
    picture(tmp_path / images / "b.png")
    picture(tmp_path / images / "c.png")
    points = "0.1 0.2 2 0.3 0.4 1 0 0 0 0.5 0.6 2 0.7 0.8 2"
    text(
        tmp_path / labels / "sub" / "a.txt",
        "0 0.5 0.5 0.25 0.5",
        "",
        f"0 .5 .5 1 1 {points}",
        "0 .5 .5 .5 .5" + " 0" * 10,
    )
    text(tmp_path / labels / "b.txt")
    text(tmp_path / labels / "classes.txt", "face")
    read = scenes.read(tmp_path)
    assert list(read) == [split]
    b, c, a = read[split]
    assert (a.name, a.path, a.width, a.height) == ("sub/a.jpg", tmp_path / images / "sub" / "a.jpg", 200, 100)
    assert boxes(a) == [[75, 25, 50, 50], [0, 0, 200, 100], [50, 25, 100, 50]]
    expected = [[20, 20], [60, 40], [math.nan] * 2, [100, 60], [140, 80]]
    np.testing.assert_allclose(a.landmarks, [NONE, expected, NONE], rtol=1e-6)
    assert [(s.name, len(s.boxes), s.width) for s in (b, c)] == [("b.png", 0, 0), ("c.png", 0, 0)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0 .5 .5 .1 .1", "1 .5 .5 .1 .1"], r"line 2: class 1, but .*line 1: class 0; only one may occur"),
        (["0 .5 .5 .1"], "line 1: a face has 5 or 15 or 20 numbers; found 4"),
        (["0.5 .5 .5 .1 .1"], "line 1: the class must be a whole number"),
        (["0 120 80 40 40"], "line 1: the box must be in fractions"),
        (["0 .5 .5 -.1 .1"], "line 1: the box must be in fractions"),
        (["0 .5 .5 x .1"], "line 1: a number expected"),
        (["0 .5 .5 .1 .1"] * 10_001, "line 10001: more than 10,000 boxes"),
    ],
)
def test_yolo_with_a_bad_line_says_where(tmp_path: Path, lines: list[str], message: str) -> None:
    picture(tmp_path / "images" / "a.jpg")
    text(tmp_path / "labels" / "a.txt", *lines)
    with pytest.raises(DataError, match=message):
        scenes.read(tmp_path)


def test_yolo_without_labels_or_without_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match="has no label files"):
        scenes.read(tmp_path)
    text(tmp_path / "labels" / "b.txt", "0 .5 .5 .1 .1")
    with pytest.raises(DataError, match=r"b\.txt: there is no picture for it"):
        scenes.read(tmp_path)
    (tmp_path / "images" / "b.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"b\.png is no picture"):
        scenes.read(tmp_path)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_picture_as_it_is_read(tmp_path: Path, orientation: int, order: str) -> None:
    path = picture(tmp_path / "a.jpg", (48, 16))

    def number(value: int, length: int) -> bytes:
        return value.to_bytes(length, order)  # type: ignore[arg-type]

    tag = number(274, 2) + number(3, 2) + number(1, 4) + number(orientation, 2) + bytes(2)
    tiff = (b"II" if order == "little" else b"MM") + number(42, 2) + number(8, 4) + number(1, 2) + tag + bytes(4)
    exif = b"Exif\0\0" + tiff
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    read = read_picture(path)
    assert read is not None
    assert picture_size(path) == (read.shape[1], read.shape[0]) == ((16, 48) if orientation > 4 else (48, 16))


# What all forms have in common


def test_what_is_no_form_is_told_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no data"):
        scenes.read(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"an empty folder.*WIDER FACE"):
        scenes.read(tmp_path)
    for i in range(20):
        text(tmp_path / f"{i:02}.csv")
    with pytest.raises(DataError, match=r"'00\.csv', .* and 12 more\. Possible: .*COCO.*edgefer's own.*YOLO"):
        scenes.read(tmp_path)
    with pytest.raises(DataError, match=r"a file '00\.csv'"):
        scenes.read(tmp_path / "00.csv")


def test_two_forms_in_one_folder_are_told_apart_by_the_user(tmp_path: Path) -> None:
    own(tmp_path, GOOD)
    wider(tmp_path)
    with pytest.raises(DataError, match=r"looks like several forms: .*edgefer's own.*WIDER"):
        scenes.read(tmp_path)
    assert len(scenes.read(tmp_path / "pictures.jsonl")["all"]) == 1


def test_labels_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.jsonl", "a.txt"):
        with pytest.raises(DataError, match="holds no pictures"):
            scenes.read(text(tmp_path / name))
    with pytest.raises(DataError, match="holds no pictures"):
        scenes.read(
            text(tmp_path / "a.json", '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "face"}]}')
        )


def test_labels_beyond_all_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(tmp_path, GOOD)
    monkeypatch.setattr(_checked, "MAX_LINES", 0)
    with pytest.raises(DataError, match="more than 0 lines"):
        scenes.read(tmp_path)
    monkeypatch.setattr(_checked, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="larger than 10 bytes"):
        scenes.read(tmp_path)


def test_labels_that_are_no_text_or_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"file": "\xff"}')
    with pytest.raises(DataError, match="byte 10 is 0xff"):
        scenes.read(tmp_path / "a.jsonl")
    os.mkfifo(tmp_path / "b.jsonl")
    with pytest.raises(DataError, match="there is no label file"):
        scenes.read(tmp_path / "b.jsonl")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    own(tmp_path, GOOD)
    (tmp_path / "pictures.jsonl").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        scenes.read(tmp_path)


def test_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    file = wider(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert len(scenes.read(tmp_path)["train"]) == 4


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    wider(tmp_path / "wider")
    own(tmp_path / "own", GOOD)
    retinaface(tmp_path / "retinaface", *RETINAFACE)
    coco(tmp_path / "coco" / "faces.json", tmp_path / "coco")
    picture(tmp_path / "yolo" / "images" / "a.jpg")
    text(tmp_path / "yolo" / "labels" / "a.txt")
    for path in (
        *(tmp_path / name for name in ("wider", "own", "retinaface", "yolo")),
        tmp_path / "coco" / "faces.json",
    ):
        seen: list[tuple[int, int]] = []
        scenes.read(path, lambda done, total, seen=seen: seen.append((done, total)))  # type: ignore[misc]
        assert seen[-1][0] == seen[-1][1] > 0


NAMES = st.sampled_from(["a.jpg", "b.jpg", "", "../a.jpg", "/a.jpg", "# a.jpg", "#", "face"])
NUMBERS = st.one_of(
    st.integers(-3, 12).map(str),
    st.floats().map(str),
    st.sampled_from(["0.5", "1e9", "-0", "1_0", "٣", "9" * 400, "nan", "1e-300"]),
)
LINES = st.one_of(NAMES, st.lists(NUMBERS, min_size=1, max_size=20).map(" ".join), st.text(max_size=20))
GARBAGE = st.one_of(
    st.binary(max_size=200),
    st.lists(LINES, max_size=8).map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")),
)
KEYS = ["file", "faces", "ignore", "split", "width", "height", "id", "file_name", "images", "annotations", "categories",
        "name", "image_id", "category_id", "bbox", "iscrowd", "keypoints"]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.text(max_size=5) | st.integers(0, 3)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


@st.composite
def nearly(draw: st.DrawFn, right: object) -> object:
    """What is right but for some values somewhere in it, of any depth."""

    def change(value: object) -> object:
        if draw(st.integers(0, 25)) == 25:
            return draw(VALUES)
        if isinstance(value, dict):
            return {key: change(inner) for key, inner in value.items()}
        return [change(inner) for inner in value] if isinstance(value, list) else value

    return change(right)


@st.composite
def rows(draw: st.DrawFn, *lengths: int) -> list[str]:
    """Lines of so many numbers, of which one may be wrong."""
    good = st.sampled_from(["0", "1", "0.5", ".25", "1e-3"])
    lines = [draw(st.lists(good, min_size=n, max_size=n)) for n in draw(st.lists(st.sampled_from(lengths), max_size=4))]
    if lines and draw(st.booleans()):
        draw(st.sampled_from(lines))[draw(st.integers(0, min(lengths) - 1))] = draw(NUMBERS)
    return [" ".join(line) for line in lines]


OWN = [
    {"file": "a.jpg", "faces": [[1, 2, 3, 4, 0.5, *range(10)]], "ignore": [[1, 2, 3, 4]], "width": 9, "height": 9},
    {"file": "b.jpg", "faces": [[1, 2, 3, 4]]},
]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}, {"id": "2", "file_name": "b.jpg"}],
    "categories": [{"id": 1, "name": "face"}],
    "annotations": [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [*range(15)]},
        {"image_id": "2", "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1},
    ],
}


@pytest.fixture(scope="module")
def grounds() -> Iterator[Path]:
    """Give a folder for each form with pictures and no labels yet."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ("own/pictures", "WIDER_train/images", "retinaface/images", "coco", "yolo/images"):
            picture(root / folder / "a.jpg")
            picture(root / folder / "b.jpg")
        yield root


def read_or_refused(file: Path, content: bytes, path: Path | None = None) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    try:
        read = scenes.read(path or file)
    except DataError as error:
        str(error).encode("utf-8")  # so that it can be printed
        return
    assert all(isinstance(scene, Scene) and scene.path.is_file() for some in read.values() for scene in some)


@given(GARBAGE)
def test_any_text_is_read_or_refused(grounds: Path, content: bytes) -> None:
    read_or_refused(grounds / "wider_face_split" / "wider_face_train_bbx_gt.txt", content)
    read_or_refused(grounds / "retinaface" / "label.txt", b"#" + content)
    read_or_refused(grounds / "yolo" / "labels" / "a.txt", content, grounds / "yolo")
    read_or_refused(grounds / "own" / "pictures.jsonl", content)
    read_or_refused(grounds / "coco" / "faces.json", content)


@given(rows(4, 10), rows(4, 19, 20), rows(5, 15, 20))
def test_lines_that_are_nearly_right_are_read_or_refused(
    grounds: Path, ten: list[str], twenty: list[str], fractions: list[str]
) -> None:
    lines = ["a.jpg", str(len(ten)), *ten, "b.jpg", "0"]
    read_or_refused(grounds / "wider_face_split" / "wider_face_train_bbx_gt.txt", "\n".join(lines).encode())
    read_or_refused(grounds / "retinaface" / "label.txt", "\n".join(["# a.jpg", *twenty, "# b.jpg"]).encode())
    read_or_refused(grounds / "yolo" / "labels" / "a.txt", "\n".join(fractions).encode(), grounds / "yolo")


@given(nearly(OWN) | st.lists(VALUES, max_size=3), nearly(COCO) | VALUES)
def test_json_that_is_nearly_right_is_read_or_refused(grounds: Path, records: object, whole: object) -> None:
    records = records if isinstance(records, list) else [records]
    read_or_refused(grounds / "own" / "pictures.jsonl", "\n".join(map(json.dumps, records)).encode())
    read_or_refused(grounds / "coco" / "faces.json", json.dumps(whole).encode())


@pytest.mark.parametrize("depth", [100, 900, 5000, 200_000])
def test_json_of_any_depth_is_refused(grounds: Path, depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    for content in (deep, b'{"file": "a.jpg", "faces": %s}' % deep, b'{"images": %s, "categories": %s}' % (deep, deep)):
        for file in ("own/pictures.jsonl", "coco/faces.json"):
            (grounds / file).write_bytes(content)
            with pytest.raises(DataError):
                scenes.read(grounds / file)


# Splits


def some(count: int, faces: bool = True, name: str = "") -> list[Scene]:
    face = np.array([[0, 0, 5, 5]], np.float32)
    arrays = (face, np.full((1, 5, 2), np.nan, np.float32), np.ones(1, np.float32)) if faces else ()
    return [Scene(f"{name}{i}{faces}", Path(f"{name}{i}{faces}"), *arrays) for i in range(count)]


def test_what_is_not_divided_is_divided_for_training() -> None:
    splits = {"all": some(100) + some(50, False)}
    train, validation = scenes.for_training(splits, seed=3)
    assert (len(train), len(validation)) == (135, 15)
    assert sum(len(s.boxes) for s in validation) == 10
    assert {s.name for s in train}.isdisjoint(s.name for s in validation)
    assert [s.name for s in scenes.for_training(splits, 3)[1]] == [s.name for s in validation]
    assert [s.name for s in scenes.for_training(splits, 4)[1]] != [s.name for s in validation]
    assert len(scenes.for_training(splits, 3, 0.4)[1]) == 60


def test_what_is_divided_stays_so() -> None:
    splits = {"train": some(5), "validation": some(2, name="v")}
    assert scenes.for_training(splits, 0) == (splits["train"], splits["validation"])
    assert len(scenes.for_training({"train": some(5)}, 0)[1]) == 1


@given(st.integers(2, 9), st.integers(0, 9), st.floats(0.01, 0.99))
def test_both_parts_have_faces(faces: int, without: int, fraction: float) -> None:
    whole = some(faces) + some(without, False)
    parts = scenes.for_training({"all": whole}, 1, fraction)
    assert all(sum(len(s.boxes) for s in part) > 0 for part in parts)
    assert sorted(s.name for part in parts for s in part) == sorted(s.name for s in whole)


def test_too_little_to_divide_or_nothing_to_train_on() -> None:
    with pytest.raises(DataError, match="fewer than 2 pictures with faces"):
        scenes.for_training({"all": some(1) + some(9, False)}, 0)
    with pytest.raises(DataError, match="no split 'all'"):
        scenes.for_training({"validation": some(5)}, 0)


@pytest.mark.skipif(not (SHARED / jsonl.LABELS).is_file(), reason="needs ../shared/data/detector")
def test_the_pictures_that_the_shipped_detector_learnt_from() -> None:
    splits = scenes.read(SHARED)
    assert {name: len(some) for name, some in splits.items()} == {"train": 5493, "validation": 865}
    everything = [scene for some in splits.values() for scene in some]
    assert sum(len(s.boxes) for s in everything) == 8708
    assert not any(np.isnan(s.landmarks).any() for s in everything)
    assert all(s.name[0] in "01" for s in splits["validation"])
    for scene in everything[::400]:
        assert picture_size(scene.path) == (scene.width, scene.height)
