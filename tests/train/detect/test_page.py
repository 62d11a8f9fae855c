"""The page of a detector's training: complete, in one file, and safe with any text."""

from __future__ import annotations

import base64
import dataclasses
import re
import warnings
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("keras", reason="needs edgefer[train]")
pytest.importorskip("matplotlib", reason="needs edgefer[train]")

from edgefer.bundle import Artifact, DetectorBundle, describe
from edgefer.errors import TrainError
from edgefer.grid import CHANNELS
from edgefer.train.backend import load_keras
from edgefer.train.detect import make
from edgefer.train.detect.fit import DetectFit, LookReport
from edgefer.train.detect.page import GAP, SIDE, write_detect_page
from edgefer.train.detect.pictures import Picture
from edgefer.train.detect.recipe import DetectRecipe
from edgefer.train.detect.targets import Labels

ALL = ["curves.png", "false.png", "missed.png", "sizes.png"]
SQUARE = 64.0
"""Pixels: the side of what the network below finds."""


@pytest.fixture(scope="module")
def net() -> Any:
    """A network that finds a face of `SQUARE` pixels about each bright spot of a dark picture."""
    keras = load_keras()
    model = keras.Sequential(
        [keras.Input((240, 320, 1)), keras.layers.MaxPooling2D(8), keras.layers.Conv2D(CHANNELS, 1)]
    )
    kernel, bias = np.zeros((1, 1, 1, CHANNELS), np.float32), np.zeros(CHANNELS, np.float32)
    kernel[..., 0], bias[0], bias[3:5] = 20, -10, np.log2(SQUARE / 8)
    model.layers[-1].set_weights([kernel, bias])
    return model


def scene(
    spots: list[tuple[int, int, int]], faces: Sequence[tuple[int, int]] = (), ignore: Sequence[tuple[int, int]] = ()
) -> Picture:
    """Return a picture with spots of a grey in cells (row, column, grey), and the labels of faces about cells."""
    pixels = np.full((240, 320), 30, np.uint8)
    for row, column, grey in spots:
        pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = grey

    def boxes(cells: Sequence[tuple[int, int]], side: float) -> np.ndarray:
        found = [(8 * c + 4 - side / 2, 8 * r + 4 - side / 2, side, side) for r, c in cells]
        return np.array(found, np.float32).reshape(-1, 4)

    count = len(faces)
    known = Labels(
        boxes(faces, SQUARE), np.full((count, 5, 2), np.nan, np.float32), np.ones(count, np.float32), boxes(ignore, 150)
    )
    return Picture((pixels,), known)


RIGHT = scene([(10, 10, 250)], [(10, 10)])
MISSED = scene([(10, 10, 240)], [(10, 10), (12, 30)])
FALSE = scene([(15, 20, 245), (8, 8, 200)])
IGNORED = scene([(15, 20, 245)], [], [(15, 20)])
HISTORY = tuple(LookReport(step, 2 / step, 0.1 * step, 1e-3 / step, 3700.0 * step) for step in (1, 2, 3))


def run_of(net: Any, scenes: list[Picture], name: str = "x.edgefer") -> tuple[DetectorBundle, DetectFit]:
    figures = make.judge(net, scenes, 0.5).as_dict() | {"least_face": 24.0, "threshold_scenes": 12}
    weights = b"weights"
    bundle = DetectorBundle(
        path=Path(name),
        architecture="det-xs",
        threshold=0.5,
        artifacts=(Artifact(describe("a.weights.h5", weights), "keras", "fp32"),),
        metrics={"a.weights.h5": figures},
        recipe=dataclasses.replace(DetectRecipe(), learning_rate=0.00125).as_dict(),
        versions={},
    )
    return bundle, DetectFit(net, HISTORY, "tensorflow", HISTORY[-1].seconds)


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[bytes] = []
        self.widths: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        assert "href" not in found
        if tag == "img":
            self.pictures.append(base64.b64decode((found["src"] or "").removeprefix("data:image/png;base64,")))
            self.widths.append(found.get("width"))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def written(net: Any, scenes: list[Picture], folder: Path, name: str = "x.edgefer") -> Reader:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="__array__ implementation")  # Keras 3 on numpy 2
        index = write_detect_page(*run_of(net, scenes, name), scenes, folder)
    assert index == folder / "index.html"
    read = Reader(index.read_text(encoding="utf-8"))
    beside = sorted(path for path in folder.iterdir() if path.suffix == ".png")
    assert sorted(read.pictures) == sorted(path.read_bytes() for path in beside)
    assert len(list(folder.iterdir())) == len(beside) + 1
    return read


def test_the_page_holds_every_drawing_and_says_the_figures(net: Any, tmp_path: Path) -> None:
    read = written(net, [RIGHT, MISSED, FALSE], tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").glob("*.png")) == ALL
    assert read.widths.count("960") == 2
    text = " ".join(read.texts)
    assert re.search(r"0\.\d{4} \(95 % interval .* – .*; 3 faces of 24 pixels and more at 320×240", text)
    assert "0.667 and 0.500" in text  # two of three faces, two of four finds
    assert "2 in 1 pictures without a face" in text
    assert "after step 3 of 3" in text
    assert "3 h 5 min" in text
    assert {"learning_rate", "0.00125", "views.mosaic", "0.12", "None."} & set(read.texts) == {
        "learning_rate",
        "0.00125",
        "views.mosaic",
        "0.12",
    }


def sheet(folder: Path, name: str) -> np.ndarray:
    found = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
    assert found is not None
    return found


def test_what_is_missed_and_what_is_made_up_is_shown(net: Any, tmp_path: Path) -> None:
    written(net, [RIGHT, MISSED, FALSE, IGNORED], tmp_path)
    missed, false = sheet(tmp_path, "missed.png"), sheet(tmp_path, "false.png")
    step = SIDE + GAP
    assert missed.shape == false.shape == (SIDE, 8 * step - GAP)
    assert [bool((part[:, :SIDE] < 100).any()) for part in np.split(np.pad(missed, ((0, 0), (0, GAP))), 8, axis=1)] == (
        [True] + [False] * 7
    )
    middle = SIDE // 2
    assert missed[middle, middle] == 30, "no spot was there to be found"
    assert [false[middle, middle + i * step] for i in range(3)] == [245, 200, 255], "the surest first, and no more"
    edge = round(middle - SIDE / 4)
    assert false[middle, edge] == 255, "the box, half as wide as the picture"
    assert false[middle, edge - 3] == 0


def test_a_perfect_network_has_nothing_to_show(net: Any, tmp_path: Path) -> None:
    read = written(net, [RIGHT, IGNORED], tmp_path)
    assert read.texts.count("None.") == 2
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["curves.png", "sizes.png"]


def test_many_mistakes_are_no_longer_page(net: Any, tmp_path: Path) -> None:
    written(net, [RIGHT, *[FALSE] * 30, *[MISSED] * 30], tmp_path)
    for name in ("missed.png", "false.png"):
        assert sheet(tmp_path, name).shape[0] == 3 * (SIDE + GAP) - GAP


def test_no_text_becomes_markup(net: Any, tmp_path: Path) -> None:
    read = written(net, [RIGHT], tmp_path, "<script>$\\frac{.edgefer")
    assert "script" not in read.tags
    assert "det-xs: <script>$\\frac{.edgefer" in read.texts


def test_what_cannot_be_written_is_refused(net: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match="cannot write"):
        write_detect_page(*run_of(net, [RIGHT]), [RIGHT], tmp_path / "file")
