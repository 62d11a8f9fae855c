"""The models inside the package are what their cards say, and small, calibrated and blind to no emotion."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer.bench.accuracy import evaluate
from edgefer.bundle import DEFAULT, open_bundle, shipped, shipped_names
from edgefer.labels import FER2013_LABELS
from edgefer.runtime.engines import installed_engines, open_engine
from edgefer.train.data import Dataset

FER2013 = Path(__file__).parents[2] / "shared" / "data" / "fer2013"
LIMITS = {"edge-m": (1_000_000, 0.68), "edge-s": (400_000, 0.66), "edge-xs": (100_000, 0.645)}
"""Most bytes of the int8 TFLite file, and the least accuracy on PublicTest."""
ROW = re.compile(r"^\| (edge-\S+) \| ([\d,]+) \| (\S+) (\S+) \| (0\.\d{4}) \|", re.MULTILINE)


def card(name: str) -> dict[tuple[str, str], tuple[int, float]]:
    """Return artifact and engine → bytes and accuracy, as the model card tells them."""
    text = (shipped(name) / "MODEL_CARD.md").read_text(encoding="utf-8")
    return {(r[0], r[2]): (int(r[1].replace(",", "")), float(r[4])) for r in ROW.findall(text)}


def recalls(name: str) -> list[float]:
    """Return the recall of each emotion, as the model card tells it."""
    text = (shipped(name) / "MODEL_CARD.md").read_text(encoding="utf-8")
    return [
        float(r) for r in re.findall(r"^\| [a-z]+ \| 0\.\d{3} \| (0\.\d{3}) \| 0\.\d{3} \| \d+ \|$", text, re.MULTILINE)
    ]


def test_three_models_come_with_edgefer_and_are_known_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_names() == sorted(LIMITS)
    assert open_bundle().name == DEFAULT == "edge-m"
    assert open_bundle("edge-xs").path == shipped("edge-xs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge-xs").symlink_to(shipped("edge-s"))
    assert open_bundle("edge-xs").architecture == "edge-s"  # a path that is there comes before a name


@pytest.mark.parametrize("name", LIMITS)
def test_a_model_is_whole_small_and_as_accurate_in_every_engine(name: str) -> None:
    bundle = open_bundle(name).verify()
    most, least = LIMITS[name]
    assert bundle.labels == FER2013_LABELS
    assert bundle.artifact("tflite", "int8").bytes <= most
    told = {a.format: bundle.metrics[a.path]["accuracy"] for a in bundle.artifacts if a.precision == "int8"}
    assert set(told) == {"tflite", "onnx", "openvino"}
    assert told["tflite"] >= least
    assert max(told.values()) - min(told.values()) <= 0.003


@pytest.mark.parametrize("name", LIMITS)
def test_the_card_says_what_the_manifest_says(name: str) -> None:
    bundle, told = open_bundle(name), card(name)
    assert len(told) == 6
    for (path, engine), (size, accuracy) in told.items():
        figures = bundle.metrics[path]
        (artifact,) = (a for a in bundle.artifacts if a.path == path)
        assert (artifact.bytes, figures["engine"]) == (size, engine)
        assert figures["accuracy"] == pytest.approx(accuracy, abs=5e-5)


@pytest.mark.parametrize("name", LIMITS)
def test_no_emotion_is_overlooked(name: str) -> None:
    found = recalls(name)
    assert len(found) == len(FER2013_LABELS)
    assert min(found) >= 0.45


@pytest.fixture(scope="module")
def public_test() -> Dataset:
    if not FER2013.is_dir():
        pytest.skip("needs ../shared/data/fer2013")
    with (FER2013 / "publictest.csv").open(newline="") as file:
        labels = [int(record["emotion"]) for record in csv.DictReader(file)]
    sheet = cv2.imread(str(FER2013 / "publictest.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet is not None
    across = sheet.shape[1] // 48
    tiles = sheet.reshape(-1, 48, across, 48).transpose(0, 2, 1, 3).reshape(-1, 48, 48)
    return Dataset(np.ascontiguousarray(tiles[: len(labels)]), np.array(labels, np.int64), FER2013_LABELS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_measured_again_the_card_is_right_to_the_last_digit(name: str, public_test: Dataset) -> None:
    bundle, told = open_bundle(name), card(name)
    measured = 0
    for engine in installed_engines():
        for (path, of_engine), (_, accuracy) in told.items():
            if engine != of_engine or ".int8." not in path:
                continue
            loaded = open_engine(bundle, engine, "int8")
            found = evaluate(bundle, public_test, loaded, split="validation").accuracy
            assert f"{found.accuracy:.4f}" == f"{accuracy:.4f}", engine
            assert found.ece <= 0.03
            measured += 1
    assert measured
