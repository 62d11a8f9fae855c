"""`edgefer data inspect`: what it counts, what it draws, what it says of bad paths."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer import cartoon
from edgefer.errors import DataError
from edgefer.labels import FER2013_LABELS
from edgefer.train.data import Dataset, Splits
from edgefer.train.data.inspect import Inspection, findings, inspect
from edgefer.train.data.inspect_page import write_page

PNG = b"\x89PNG\r\n\x1a\n"


def noise(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 48, 48), np.uint8)


@pytest.fixture
def splits() -> Splits:
    train = noise(1, 20)
    validation = noise(2, 8)
    train[3] = train[1]  # exact, other label
    train[9] = (train[8] * 0.8 + 20).astype(np.uint8)  # near
    train[15] = 7  # blank
    validation[0] = train[5]  # exact, same label
    validation[1] = (train[6] * 0.8 + 20).astype(np.uint8)  # near, other label
    labels = np.arange(20) % 2
    labels[3] = 0
    cast = np.zeros((20, 10), np.uint8)
    cast[:, 4] = 8  # anger
    cast[0] = 0
    cast[0, 9] = 9
    return {
        "train": Dataset(train, labels, FER2013_LABELS, skipped=2, votes=cast),
        "validation": Dataset(validation, np.ones(8, np.int64), FER2013_LABELS),
    }


def test_counts(splits: Splits) -> None:
    calls: list[tuple[int, int]] = []
    found = inspect(splits, lambda done, total: calls.append((done, total)))
    train, validation = found.splits
    assert (train.name, train.pictures, train.unreadable, train.blank) == ("train", 20, 2, 1)
    assert (train.per_class["angry"], train.per_class["disgust"], train.per_class["fear"]) == (11, 9, 0)
    assert (train.copies.exact, train.copies.near, train.copies.groups, train.copies.contradictory) == (1, 1, 2, 2)
    assert validation.copies.groups == 0
    assert validation.votes is None
    (shared,) = found.shared
    assert (shared.split, shared.other, shared.exact, shared.near, shared.contradictory) == (
        "train",
        "validation",
        1,
        1,
        1,
    )
    assert train.votes is not None
    assert train.votes.pictures == 19
    assert train.votes.dropped == 1
    assert train.votes.agree == round(10 / 19, 4)
    assert train.votes.per_class["angry"] == 1
    assert train.votes.per_class["fear"] is None
    assert {p.positions for p in found.pairs} == {(1, 3), (8, 9), (5, 0), (6, 1)}
    assert [p.labels[0] != p.labels[1] for p in found.pairs] == [True, True, True, False]
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    json.dumps(found.as_dict(), allow_nan=False)


def test_brightness_is_in_grey_levels() -> None:
    images = np.stack([np.full((48, 48), v, np.uint8) for v in range(100, 200)])
    images[:, ::2] += 20
    brightness = inspect({"all": Dataset(images, np.arange(100) % 2, ("a", "b"))}).splits[0].brightness
    assert brightness.mean == pytest.approx(159.5, abs=0.1)
    assert brightness.contrast == pytest.approx(10, abs=0.1)
    assert (brightness.dark, brightness.bright) == (pytest.approx(115, abs=1), pytest.approx(204, abs=1))


def test_findings_say_what_helps(splits: Splits) -> None:
    text = "\n".join(findings(inspect(splits)))
    for words in (
        "the smallest class is fear, 0 pictures",
        "Files of train that cannot be read and were left out: 2.",
        "Blank pictures in train (one grey level, or nearly): 1.",
        "1 exact and 1 near copies",
        "2 pictures of train also stand in validation",
        'data.seen_in_test = "near"',
        "agrees with 52.6%",
    ):
        assert words in text


def test_splits_with_other_labels_are_refused(splits: Splits) -> None:
    splits["validation"] = Dataset(noise(3, 2), np.array([0, 1]), ("cat", "dog"))
    with pytest.raises(DataError, match="cat, dog"):
        inspect(splits)


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(PNG)
    height, width = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2]
    return height, width


def test_page_holds_everything_and_escapes_names(tmp_path: Path, splits: Splits) -> None:
    names = ("<b>angry</b>", "a$x$ very long name of a class", *FER2013_LABELS[2:])
    odd = {k: Dataset(d.images, d.labels, names) for k, d in splits.items()}
    index = write_page(inspect(odd), odd, "<i>t</i>", tmp_path / "out")
    text = index.read_text()
    assert "<b>angry" not in text
    assert "<i>t" not in text
    assert text.count("data:image/png;base64,") == 3
    assert 'src="http' not in text
    for name in ("classes.png", "samples.png", "copies.png"):
        assert png_size(tmp_path / "out" / name)[1] == 1920
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"index.html", "classes.png", "samples.png", "copies.png"}


def test_page_without_copies(tmp_path: Path) -> None:
    data = {"all": Dataset(noise(5, 6), np.arange(6) % 2, ("happy", "sad"))}
    found: Inspection = inspect(data)
    assert found.pairs == ()
    assert write_page(found, data, "few", tmp_path / "out").exists()


def test_page_that_cannot_be_written(tmp_path: Path, splits: Splits) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="choose another --out"):
        write_page(inspect(splits), splits, "t", tmp_path / "file")


def edgefer(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgefer", "data", "inspect", *arguments]
    env = {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder, env=env)


def test_command_on_a_folder_with_an_unreadable_picture(tmp_path: Path) -> None:
    images, labels = cartoon.dataset(3, 1)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "faces" / FER2013_LABELS[label] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    (tmp_path / "faces" / "happy" / "broken.png").write_bytes(b"no picture")
    done = edgefer(tmp_path, "faces/")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["class", "all", "%"]
    assert ["happy", "3", "14.3"] in [line.split() for line in lines]
    assert "Files of all that cannot be read and were left out: 1." in done.stdout
    assert (tmp_path / "faces.inspect" / "index.html").exists()
    again = edgefer(tmp_path, "faces", "--json", "--out", "there")
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert found["page"] == "there/index.html"
    assert found["splits"][0]["unreadable"] == 1
    assert found["splits"][0]["pictures"] == 21


def test_command_on_a_path_that_is_not_there(tmp_path: Path) -> None:
    done = edgefer(tmp_path, "nothing")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.strip().splitlines()[-1] == "edgefer: there is no data at nothing"
    assert "Traceback" not in done.stderr
    assert edgefer(tmp_path).returncode == 2
