"""Detectors held against labelled scenes: the real ones, on drawn faces; and the record, which is read strictly."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgefer import boxes, cartoon
from edgefer.average_precision import Comparison, Detection, OfSize
from edgefer.bench import detection_finders, detection_text
from edgefer.bench.detection import Against, Clip, DetectionRecord, Model, OnClip, Row, Speed, is_detection
from edgefer.bench.detection_finders import EdgeFinder, HaarFinder, YuNetFinder, fitted, scaled
from edgefer.bench.report import read, render_markdown, write_report
from edgefer.bench.rows import BundleIdentity
from edgefer.bundle import Artifact, DetectorBundle, describe, write_bundle
from edgefer.commands.report import command
from edgefer.errors import DetectorError, RecordError
from edgefer.grid import CHANNELS
from edgefer.preprocess import Pixels
from edgefer.runtime.engines import is_installed

SHARED = Path(__file__).parents[3] / "shared" / "data"
YUNET = SHARED / "models" / "face_detection_yunet_2026may.onnx"
needs_yunet = pytest.mark.skipif(not YUNET.is_file(), reason=f"needs the model {YUNET}")
BOX = (120, 60, 96, 96)
"""Where a face is drawn."""
WIDTH, HEIGHT = 320, 240


def drawn(seed: int) -> Pixels:
    """Return a plain picture, uint8 BGR, with a face at BOX."""
    grey = np.full((HEIGHT, WIDTH), 140, np.uint8)
    x, y, width, height = BOX
    face = cartoon.draw_face("neutral", np.random.default_rng(seed), width)
    grey[y : y + height, x : x + width] = face
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures with a face, two without, half of them for validation."""
    folder = tmp_path_factory.mktemp("scenes")
    (folder / "pictures").mkdir()
    rows = []
    for i in range(8):
        name = f"{i}.png"
        picture = drawn(i) if i < 6 else np.full((HEIGHT, WIDTH, 3), 140, np.uint8)
        cv2.imwrite(str(folder / "pictures" / name), picture)
        faces = [[*BOX, 0.9, *([0.0] * 10)]] if i < 6 else []
        rows.append({"file": name, "faces": faces, "split": "validation" if i % 2 else "train"})
    (folder / "pictures.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> DetectorBundle:
    """Return a detector that sees a face at BOX in whatever it is shown, and a weaker one in the corner."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make a model")
    if not is_installed("onnxruntime"):
        pytest.skip("onnxruntime is not installed")
    grid = np.zeros((1, HEIGHT // 8, WIDTH // 8, CHANNELS), np.float32)
    grid[..., 0] = -9
    for (x, y, width, height), logit in ((BOX, 2.0), ((8, 8, 40, 40), -1.0)):
        column, row = (x + width / 2) / 8, (y + height / 2) / 8
        cell = grid[0, int(row), int(column)]
        cell[:5] = logit, (column % 1 - 0.5) * 2, (row % 1 - 0.5) * 2, math.log2(width / 8), math.log2(height / 8)
    make = onnx.helper
    tensors = onnx.TensorProto
    graph = make.make_graph(
        [
            make.make_node("Cast", ["pictures"], ["numbers"], to=tensors.FLOAT),
            make.make_node("ReduceMean", ["numbers"], ["mean"], axes=[1, 2, 3], keepdims=1),
            make.make_node("Mul", ["mean", "nothing"], ["still"]),
            make.make_node("Add", ["still", "grid"], ["answer"]),
        ],
        "always",
        [make.make_tensor_value_info("pictures", tensors.UINT8, ["n", HEIGHT, WIDTH, 1])],
        [make.make_tensor_value_info("answer", tensors.FLOAT, ["n", *grid.shape[1:]])],
        [onnx.numpy_helper.from_array(grid, "grid"), onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nothing")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    contents = {"always.320x240.int8.onnx": model.SerializeToString()}
    ((path, data),) = contents.items()
    artifact = Artifact(describe(path, data), "onnx", "int8", (), (HEIGHT, WIDTH))
    folder = tmp_path_factory.mktemp("bundle") / "always.edgefer"
    return write_bundle(DetectorBundle(folder, "det-s", (artifact,), 0.5), contents)


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgefer", "evaluate", "--task", "detect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def iou(box: Any, other: Any) -> float:
    return float(boxes.iou(np.array([box], float), np.array([other], float))[0, 0])


def test_json_is_a_record_and_nothing_else(scenes: Path, bundle: DetectorBundle) -> None:
    done = evaluate(
        bundle.path, "--data", scenes, "--detector", "edge", "--detector", "haar", "--clip", "demo:12", "--json"
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    record = DetectionRecord.from_dict(data)
    assert record.as_dict() == data
    assert (data["schema"], data["task"], data["kind"]) == (1, "detect", "measured")
    assert record.command.startswith(f"edgefer evaluate --task detect {bundle.path} ")
    assert record.bundle is not None
    assert (record.bundle.name, record.bundle.digest) == ("always", bundle.digest())
    assert (record.split, record.pictures, record.skipped) == ("validation", 4, 0)
    edge, cascade = record.rows
    assert [(row.detector, row.size) for row in record.rows] == [("edge", 320), ("haar", 320)]
    # The network sees its face everywhere: three of four are right, the weaker one is below the threshold.
    assert (edge.large.faces, edge.large.recall, edge.large.precision) == (3, 1, 0.75)
    assert (edge.large.false_faces, edge.large.false_in_empty, edge.large.empty) == (1, 1, 1)
    assert edge.large.average_precision == pytest.approx(0.75)
    assert edge.large.threshold == 0.5
    assert (edge.model.name, edge.model.precision, edge.fitted) == ("always.320x240.int8.onnx", "int8", None)
    assert edge.model.engine.startswith("onnxruntime ")
    assert cascade.large.average_precision == 1
    assert cascade.ranked_by == "level weight"
    assert cascade.fitted is not None
    assert [one.faces for one in edge.every.by_size] == [0, 0, 0, 0, 3]
    (beside,) = record.against
    assert (beside.detector, beside.other, beside.size) == ("edge", "haar", 320)
    assert beside.accuracy is not None
    assert beside.accuracy.ratio == pytest.approx(0.75)
    assert 0 < beside.ms_range[0] <= beside.ms <= beside.ms_range[1]
    assert all(len(row.ms.rounds) == 5 and row.ms.p50 > 0 for row in record.rows)
    (clip,) = record.clips
    assert (clip.name, clip.frames) == ("demo:12", 12)
    assert [(row.detector, row.continuous) for row in clip.rows] == [
        ("edge", False),
        ("haar", False),
        ("edge", True),
        ("haar", True),
    ]
    assert [row.with_a_face for row in clip.rows] == [12, 12, 12, 12]


def test_a_table_for_people(scenes: Path) -> None:
    done = evaluate("--data", scenes, "--split", "train", "--detector", "haar", "--size", "320", "--size", "160")
    assert done.returncode == 0, done.stderr
    assert "split train: 4 pictures, 1 of them without a face; 3 faces" in done.stdout
    rows = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("haar")]
    assert rows == 2 * [["haar", "320"], ["haar", "160"]]
    assert "AP ≥ 24 px" in done.stdout


@needs_yunet
def test_yunet_is_compared_where_its_model_is_given(scenes: Path, bundle: DetectorBundle) -> None:
    done = evaluate(bundle.path, "--data", scenes, "--detector-model", YUNET, "--json")
    assert done.returncode == 0, done.stderr
    record = DetectionRecord.from_dict(json.loads(done.stdout))
    assert [row.detector for row in record.rows] == ["edge", "haar", "yunet"]
    assert record.rows[2].large.average_precision == 1
    assert (record.rows[2].large.threshold, record.rows[2].model.name) == (0.6, YUNET.name)


def test_without_its_model_yunet_is_left_out(
    scenes: Path, bundle: DetectorBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path))
    done = evaluate(bundle.path, "--data", scenes, "--json")
    assert done.returncode == 0, done.stderr
    assert "yunet is left out" in done.stderr
    assert [row["detector"] for row in json.loads(done.stdout)["rows"]] == ["edge", "haar"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--robustness"], "--robustness is not for --task detect; leave it out"),
        (["--seed", "0"], "--seed is not for --task detect"),
        (["--all"], "--all is not for --task detect"),
        (["--png", "x.png"], "--png is not for --task detect"),
        (["--detector", "haar", "--precision", "int8"], "are of the detector edge"),
        (["--detector", "haar", "--detector-model", "x"], "is of the detector yunet"),
        (["--detector", "none"], "--detector"),
        (["--size", "0"], "--size"),
        (["--task", "classify", "--size", "320"], "--size is for --task detect; leave it out"),
        (["--task", "classify", "--detector", "haar"], "--detector is for --task detect"),
    ],
)
def test_options_that_would_do_nothing_are_refused(scenes: Path, arguments: list[str], message: str) -> None:
    done = evaluate("--data", scenes, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_what_cannot_be_done_is_one_line(scenes: Path, bundle: DetectorBundle, tmp_path: Path) -> None:
    for arguments, message in [
        ([bundle.path, "--detector", "edge", "--size", "640"], "wide; it has: 320x240"),
        ([bundle.path, "--detector", "edge", "--precision", "fp32"], "no onnx fp32 for pictures 320 pixels wide"),
        (["edge-s", "--detector", "edge"], "a detector is needed"),
        (["--detector", "yunet", "--detector-model", tmp_path], "cannot be read"),
        (["--detector", "haar", "--clip", "no-such.mp4"], "no-such.mp4"),
        (["--detector", "haar", "--split", "test"], "the data has no split 'test'"),
    ]:
        done = evaluate("--data", scenes, *arguments)
        assert done.returncode == 1, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("size", [160, 320, 640])
def test_every_find_comes_in_pixels_of_the_picture(size: int) -> None:
    for picture in (drawn(1), np.ascontiguousarray(drawn(1)[:, 40:])):  # 320 and 280 wide
        there = (BOX[0] - (320 - picture.shape[1]), *BOX[1:])
        (boxes, scores), (sure, certain) = HaarFinder(size).find(picture)
        assert len(boxes) == len(scores) >= len(sure) == len(certain) == 1
        assert iou(sure[0], there) > 0.6
        assert iou(boxes[scores.argmax()], there) > 0.6


@needs_yunet
@pytest.mark.parametrize("size", [160, 320, 640])
def test_yunet_gives_its_own_boxes_down_to_low_scores(size: int) -> None:
    finder = YuNetFinder(YUNET, size)
    (boxes, scores), (sure, certain) = finder.find(drawn(1))
    assert len(sure) == 1
    assert certain[0] >= finder.threshold > min([*scores[scores < finder.threshold], 0])
    assert sure[0][3] > sure[0][2]  # no square
    assert iou(sure[0], BOX) > 0.4
    assert (scores >= detection_finders.LEAST).all()
    assert len(boxes) == len(scores)


def test_edge_gives_what_is_below_its_threshold_too(bundle: DetectorBundle) -> None:
    finder = EdgeFinder(bundle, 320, None, None)
    (boxes, scores), (sure, _) = finder.find(drawn(1))
    np.testing.assert_allclose(boxes, [BOX, (8, 8, 40, 40)], atol=1e-3)
    np.testing.assert_allclose(sure, [BOX], atol=1e-3)
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(1))])
    # A picture half as large is brought to the same size, and finds back.
    half = cv2.resize(drawn(1), None, fx=0.5, fy=0.5).astype(np.uint8)
    np.testing.assert_allclose(finder.find(half)[1][0], [np.array(BOX) / 2], atol=1e-3)


def test_a_yunet_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(DetectorError, match="is no YuNet"):
        YuNetFinder(tmp_path / "x.onnx", 320)


def test_pictures_are_brought_to_a_size_up_and_down() -> None:
    assert scaled(drawn(1), 640).shape == (480, 640, 3)
    assert scaled(drawn(1), 160).shape == (120, 160, 3)
    assert scaled(drawn(1), 320) is not None
    assert scaled(np.zeros((400, 2, 3), np.uint8), 100).shape == (100, 1, 3)  # never without a column


def test_boxes_are_fitted_about_their_middles() -> None:
    found = fitted(np.array([[10, 20, 40, 40]], np.float32), (0.5, 1.5))
    assert found.tolist() == [[20, 10, 20, 60]]


FIGURES = Detection(
    average_precision=0.9,
    ci95=(0.85, 0.95),
    recall=0.8,
    precision=0.97,
    false_faces=12,
    false_in_empty=3,
    threshold=0.6,
    recall_at_few=0.88,
    faces=1157,
    pictures=865,
    empty=268,
    by_size=(OfSize(24, 48, 500, 0.9, (0.8, 0.95), 0.7), OfSize(48, math.inf, 0, 0, (0, 0), 0)),
)


def row(detector: str, **changes: Any) -> Row:
    model = Model("det-s.320x240.int8.tflite", 123_456, "0" * 64, "litert 2.1", "int8")
    base = Row(detector, 320, model, "score", FIGURES, replace(FIGURES, by_size=()), None, Speed(2.5, (2.4, 2.6)))
    return replace(base, **changes)


def record(**changes: Any) -> DetectionRecord:
    base = DetectionRecord(
        command="edgefer evaluate --task detect --data scenes/ --json",
        created="2026-01-02T03:04:05+00:00",
        device="x86",
        environment={"before": {}, "after": {}},
        bundle=BundleIdentity("det-s", "det-s", "1" * 64, ("face",), {"method": "grey-letterbox-v1"}),
        split="validation",
        data="2" * 64,
        pictures=865,
        skipped=1,
        frame_side=640,
        rows=(row("edge"), row("haar", fitted=(0.7, (0.6, 0.8)), ranked_by="level weight")),
        against=(Against("edge", "haar", 320, Comparison(1.2, (1.1, 1.3), 0.1, (0.05, 0.15)), 0.04, (0.03, 0.05)),),
        clips=(Clip("test.mp4", 115, (OnClip("edge", 320, False, 115, 120, 2.4, 2.5),)),),
        noisy_reasons=("other programs used 0.30 of a core",),
        notes=("the governor is powersave",),
    )
    return replace(base, **changes)


def test_a_record_comes_back_as_it_was() -> None:
    for one in (record(), record(bundle=None, against=(), clips=(), invalid_reasons=("heat",))):
        data = json.loads(json.dumps(one.as_dict()))
        assert is_detection(data)
        assert DetectionRecord.from_dict(data) == one


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], 2, "install a newer edgefer"),
        (["kind"], "guessed", "known: measured"),
        (["valid"], False, "contradict"),
        (["extra"], 1, "unknown field"),
        (["rows"], [], "needs a row"),
        (["environment"], {}, "two snapshots"),
        (["pictures"], 864, "is not on the 864 pictures"),
        (["pictures"], -1, "out of range"),
        (["created"], "yesterday", "date"),
        (["rows", 0, "large", "average_precision"], 1.01, "must be 0–1"),
        (["rows", 0, "large", "ci95"], [0.9, 0.8], "out of range"),
        (["rows", 0, "large", "ci95"], [0.9], "two numbers"),
        (["rows", 0, "large", "false_in_empty"], 13, "contradict"),
        (["rows", 0, "every", "by_size", 0, "recall"], float("nan"), "no measurement gives"),
        (["rows", 0, "every", "extra"], 1, "unknown field"),
        (["rows", 0, "model", "name"], 3, "must be str"),
        (["rows", 0, "ms", "p50"], -1.0, "no measurement gives"),
        (["against", 0, "accuracy", "difference"], 1.5, "-1 to 1"),
        (["against", 0, "accuracy", "difference"], float("nan"), "-1 to 1"),
        (["against", 0, "ms_range"], [2.0, 1.0], "out of range"),
        (["clips", 0, "rows", 0, "with_a_face"], 116, "116 of 115 frames"),
        (["rows", 0], "row", "must be an object"),
    ],
)
def test_what_is_wrong_in_a_record_is_said(path: list[Any], value: Any, message: str) -> None:
    data = record().as_dict()
    data = json.loads(json.dumps(data))
    part = data
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(RecordError, match=message):
        DetectionRecord.from_dict(data)


def test_the_report_has_a_section_for_detectors_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "detectors.json"
    path.write_text(json.dumps(record().as_dict()))
    records, evaluations, finding = read([path, path])
    assert (records, evaluations, finding) == ([], [], [record()])
    page = render_markdown(records, evaluations, finding)
    assert "## Finding faces" in page
    assert "## Summary" not in page
    head = next(line for line in page.splitlines() if line.startswith("| detector | size | AP"))
    assert "AP, fitted" in head
    assert "| edge | 320 | 0.900 (0.850–0.950) | – | 0.880 |" in page
    assert "× 1.200 (1.100–1.300)" in page
    assert "115 of 115" in page
    assert "other programs used" in page
    assert "det-s.320x240.int8.tflite in litert 2.1" in page
    done = CliRunner().invoke(command, [str(path), "--out", str(tmp_path / "page.md")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "page.md").read_text() == page


def test_hostile_texts_are_escaped(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>|`a`\n#"
    hostile = record(
        command=bad, split=bad, data=bad, notes=(bad,), noisy_reasons=(bad,), invalid_reasons=(bad,),
        rows=(row(bad, model=Model(bad, 1, bad, bad, bad)),),
        clips=(Clip(bad, 5, (OnClip(bad, 1, True, 1, 1, 1.0, 1.0),)),),
    )  # fmt: skip
    for name in ("page.md", "page.html"):
        write_report([], tmp_path / name, (), [hostile])
        lines = (tmp_path / name).read_text().splitlines()
        assert not any("<script>" in line for line in lines if not line.startswith("    "))  # code in Markdown
    assert bad in detection_text.as_text(hostile)
