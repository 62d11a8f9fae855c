"""A face detector's bundle in `edgefer bench`: each of its sizes alone, and whole frames; on an emulated board, too.

What runs a network needs a detector's bundle: the one of EDGEFER_TEST_DETECTOR, or else the one that ships.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from edgefer.bench import rounds, session, subjects
from edgefer.bench.compare import compare, name_of
from edgefer.bench.emulator import run as running
from edgefer.bench.emulator.boards import BOARDS
from edgefer.bench.emulator.root import Machine, with_packages
from edgefer.bench.emulator.run import Task, emulate
from edgefer.bench.latency import Plan, Progress
from edgefer.bench.record import read_record, write_record
from edgefer.bench.report import render_markdown
from edgefer.bench.reporting.targets import Row, row_name
from edgefer.bench.session import DETECTOR_SCOPES, Preferred, Wanted, take
from edgefer.bench.subjects import SIZE, Pixels, Subject, detections, drawn_frames, letterboxed, models
from edgefer.bundle import Artifact, DetectorBundle, describe, open_detector_bundle, write_bundle
from edgefer.commands import _emulate
from edgefer.commands import bench as benchmark
from edgefer.commands._scenes import pictures_of
from edgefer.devices.profile import detect, load_profile
from edgefer.errors import DataError, EmulatorError, EngineError
from edgefer.grid import CHANNELS, Floats
from edgefer.letterbox import Letterbox
from tests.bench import records
from tests.bench.emulated import pieces

PLAN = Plan(rounds=2, warmup_runs=2, warmup_seconds=0.0, min_runs=10, min_seconds=0.0)
SIZES = ((120, 160), (240, 320), (480, 640))


@contextlib.contextmanager
def no_bar(label: str) -> Iterator[Progress]:
    yield lambda done, total: None


@pytest.fixture(scope="session")
def detector() -> DetectorBundle:
    """A detector's bundle that engines can run."""
    return open_detector_bundle(os.environ.get("EDGEFER_TEST_DETECTOR"))


@pytest.fixture
def made_up(tmp_path: Path) -> DetectorBundle:
    """A bundle whose files are none: two formats, a size of its own in fp32 alone, two sizes of one width."""
    artifacts, contents = (
        [Artifact(describe("d.weights.h5", b"weights"), "keras", "fp32")],
        {"d.weights.h5": b"weights"},
    )
    kinds = [("tflite", "int8", size) for size in (*SIZES, (192, 320))]
    kinds += [("tflite", "fp32", (240, 320)), ("tflite", "fp32", (64, 96)), ("onnx", "fp32", (240, 320))]
    for format, precision, size in kinds:
        name = f"d.{size[1]}x{size[0]}.{precision}.{format}"
        contents[name] = name.encode()
        artifacts.append(Artifact(describe(name, contents[name]), format, precision, size=size))
    return write_bundle(DetectorBundle(tmp_path / "d.edgefer", "det-s", tuple(artifacts), 0.5), contents)


# --- what is measured


def test_alone_every_precision_and_size_is_measured(made_up: DetectorBundle) -> None:
    found = models(made_up, ["litert"], None, [1, 2])
    assert {(s.scope, s.faces, s.detector) for s in found} == {("model", None, None)}
    assert [(s.precision, s.size) for s in found if s.threads == 2] == [
        ("fp32", (64, 96)),
        ("fp32", (240, 320)),
        ("int8", (120, 160)),
        ("int8", (192, 320)),
        ("int8", (240, 320)),
        ("int8", (480, 640)),
    ]
    assert str(found[-1]) == "litert int8 640x480"
    assert [s.size for s in models(made_up, ["onnxruntime"], ["fp32"], [1])] == [(240, 320)]
    with pytest.raises(
        EngineError, match=r"for onnxruntime in int8; it has: tflite int8, tflite fp32, onnx fp32; make"
    ):
        models(made_up, ["onnxruntime"], ["int8"], [1])


def test_on_whole_frames_each_width_is_measured_as_the_detector_would_run_it(made_up: DetectorBundle) -> None:
    found = detections(made_up, "litert")
    assert [(s.size, s.precision) for s in found] == [
        ((64, 96), "fp32"),
        ((120, 160), "int8"),
        ((192, 320), "int8"),
        ((480, 640), "int8"),
    ]
    assert {(s.scope, s.engine, s.threads, s.faces, s.detector) for s in found} == {("detect", "litert", 1, 1, "edge")}
    assert [s.size for s in detections(made_up, "litert", "fp32")] == [(64, 96), (240, 320)]
    with pytest.raises(EngineError, match="nothing to measure for onnxruntime in int8"):
        detections(made_up, "onnxruntime", "int8")


def test_what_is_drawn_is_spread_over_all_of_it() -> None:
    assert subjects.evenly(23, 12)[-1] >= 20
    for count, most in ((0, 5), (1, 5), (5, 5), (6, 3), (119, 60), (865, 24)):
        found = subjects.evenly(count, most)
        assert len(found) == len(set(found)) == min(count, most)
        assert all(0 <= i < count for i in found)
        steps = np.diff([*found, count])
        assert not len(found) or steps.max() - steps.min() <= 1


def test_pictures_are_frames_in_the_letterbox_of_the_runtime() -> None:
    frames = drawn_frames(1, 2)
    assert frames.shape == (2, SIZE[1], SIZE[0], 3)
    for size in SIZES:
        found = letterboxed(frames, size)
        assert (found.shape, found.dtype) == ((2, *size, 1), np.uint8)
        np.testing.assert_array_equal(found[1], Letterbox(*size)(frames[1])[0])


def test_scenes_are_shown_to_the_network_alone(made_up: DetectorBundle) -> None:
    scenes: list[Pixels] = [np.full((90, 70, 3), 7, np.uint8), np.full((60, 200, 3), 9, np.uint8)]
    alone, whole = Subject("model", "litert", "int8", 1, size=(120, 160)), detections(made_up, "litert")[0]
    with rounds._workplace(made_up, [alone, whole], scenes) as place:
        shown = np.load(place.pictures(alone))
        np.testing.assert_array_equal(shown, letterboxed(scenes, (120, 160)))
        assert np.load(place.pictures(whole)).shape == (60, SIZE[1], SIZE[0], 3)
        assert place.pictures(replace(alone, size=(240, 320))) != place.pictures(alone)


def test_pictures_of_scenes_are_spread_over_them_and_what_is_broken_is_left_out(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"images/{i}.bmp"), np.full((40, 50 + i, 3), 10 * i, np.uint8))
        (tmp_path / f"labels/{i}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    assert [p.shape for p in pictures_of(tmp_path, None, 3)] == [(40, 50, 3), (40, 52, 3), (40, 54, 3)]
    assert len(pictures_of(tmp_path, None, 100)) == 6
    first = tmp_path / "images/0.bmp"
    first.write_bytes(first.read_bytes()[:60])  # its header still tells its size
    assert [p.shape[1] for p in pictures_of(tmp_path, None, 3)] == [52, 54]
    with pytest.raises(DataError, match=r"none of 1 pictures can be read, such as .*0\.bmp"):
        pictures_of(tmp_path, None, 1)
    with pytest.raises(DataError, match="no split 'test'"):
        pictures_of(tmp_path, "test", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scope", "pipeline"], "is a face detector: --scope pipeline is not of it; it has model and detect"),
        (["--scope", "detect", "--threads", "2"], "scope detect takes one --engine and no --threads"),
        (["--scope", "detect", "--engine", "litert", "--engine", "openvino"], "scope detect takes one --engine"),
        (["--emulate", "rpi4", "--scope", "detect"], "--scope is about time"),
        (["--split", "test"], "--split is of --data"),
    ],
)
def test_an_option_that_is_not_of_a_detector_is_refused(
    made_up: DetectorBundle, arguments: list[str], message: str
) -> None:
    done = CliRunner().invoke(benchmark.command, [str(made_up.path), *arguments])
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_classifier_has_no_scope_detect() -> None:
    done = CliRunner().invoke(benchmark.command, ["edge-s", "--scope", "detect"])
    assert done.exit_code == 2
    assert "is no face detector: --scope detect is not of it; it has model and pipeline" in done.stderr


# --- for real and briefly


def test_each_size_is_measured_and_a_frame_costs_more(
    detector: DetectorBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rounds, "drawn_frames", lambda faces: drawn_frames(faces, 4))
    wanted = Wanted(PLAN, DETECTOR_SCOPES, ("litert",), "int8", (1,), sustained=0.5)
    preferred = Preferred("litert", "int8", 1, size=(240, 320))
    record = take(detector, detect(), preferred, wanted, "edgefer bench det-s", no_bar)
    sizes = detector.sizes("tflite", "int8")
    alone = [m for m in record.measurements if m.scope == "model"]
    whole = [m for m in record.measurements if m.scope == "detect"]
    assert [m.size for m in alone] == [m.size for m in whole] == list(sizes)
    for m, frame in zip(alone, whole, strict=True):
        artifact = detector.sized("tflite", "int8", m.size)
        for row in (m, frame):
            assert (row.artifact, row.bytes, row.threads) == (artifact.path, artifact.bytes, 1)
            assert (row.engine, row.provider) == ("litert", "XNNPACK")
            assert row.latency.runs == 10
        assert (m.faces, m.faces_found, m.detector) == (None, None, None)
        assert (frame.faces, frame.detector, frame.stages_ms) == (1, "edge", None)
        assert frame.faces_found == pytest.approx(1, abs=0.5)
        assert frame.latency.min > m.latency.min
    assert record.sustained is not None
    assert record.sustained.artifact == detector.sized("tflite", "int8", (240, 320)).path
    assert (record.bundle.labels, record.scores) == (("face",), ())
    assert record.bundle.preprocess == {"method": "grey-letterbox-v1"}
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record


def test_the_command_measures_a_detector(detector: DetectorBundle, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    options = ["--quick", "--scope", "detect", "--precision", "int8", "--engine", "litert", "--json", str(record)]
    done = CliRunner().invoke(benchmark.command, [str(detector.path), *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert [line.split()[2] for line in done.stdout.splitlines()[1:] if line] == ["160x120", "320x240", "640x480"]
    assert len(read_record(record).measurements) == 3


@pytest.mark.slow
@pytest.mark.parametrize("board", ["rpi4", "rpi5"])
def test_int8_answers_on_the_emulated_board_as_here(
    tmp_path_factory: pytest.TempPathFactory, detector: DetectorBundle, board: str
) -> None:
    folder = pieces(tmp_path_factory)
    totals = []
    for size in ((120, 160), (240, 320)):
        pictures = letterboxed(drawn_frames(1, 4), size)
        task = Task("litert", "int8", size)
        (found,) = emulate(detector, board, [task], pictures, repeats=1, folder=folder)
        assert (found.size, found.faces) == (size, 4)
        assert found.bit_identical
        assert (found.max_difference, found.same_label) == (0, 1)
        assert (found.instructions.dot > 0) == (board == "rpi5")
        totals.append(found.instructions.total)
    assert 3 < totals[1] / totals[0] < 5


# --- the emulated board, without an emulator


def grids(*faces: tuple[int, int]) -> Floats:
    """Return answers for two pictures; in the first there are faces in these cells."""
    answers = np.full((2, 16, 20, CHANNELS), -3.0, np.float32)
    for row, column in faces:
        answers[0, row, column, 0] = 2.0
    return answers


def test_pictures_are_alike_where_the_same_cells_are_faces(made_up: DetectorBundle) -> None:
    assert running._alike(made_up, grids((1, 2)), grids((1, 2))) == 1.0
    assert running._alike(made_up, grids((1, 2)), grids((1, 3))) == 0.5
    assert running._alike(made_up, grids((1, 2)), grids()) == 0.5
    almost = grids((1, 2)) + np.float32(0.1)
    assert running._alike(made_up, grids((1, 2)), almost) == 1.0


def test_each_size_is_a_task_with_pictures_of_its_own(made_up: DetectorBundle) -> None:
    tasks = _emulate._tasks(made_up, load_profile("rpi4"), ("litert",), None)
    sizes = [(120, 160), (192, 320), (240, 320), (480, 640)]
    assert tasks == [Task("litert", "int8", size) for size in sizes]
    assert str(tasks[0]) == "litert int8 160x120"
    pictures = _emulate._pictures(sizes, 3, None, None)
    assert {size: shown.shape for size, shown in pictures.items()} == {size: (3, *size, 1) for size in sizes}


def test_a_package_that_is_not_here_cannot_be_had_for_the_board(tmp_path: Path) -> None:
    machine = Machine(BOARDS["rpi4"], tmp_path, (), tmp_path, tmp_path)
    with pytest.raises(EmulatorError, match="the package no-such-package is not installed here"):
        with_packages(machine, ("no-such-package",), tmp_path)
    assert not list(tmp_path.iterdir())


# --- records of it


def test_sizes_are_compared_with_themselves_alone() -> None:
    before = records.detector()
    after = replace(before, measurements=before.measurements[1:])
    found = compare(before, after)
    assert len(found.timed) == 3
    assert {t.ratio.estimate for t in found.timed} == {1.0}
    assert found.only_before == ("litert tflite int8 160x120 model 1 thread",)
    assert name_of(before.measurements[-1]) == "litert tflite int8 320x240 detect 1 thread 1 faces edge"
    counted = compare(records.emulated_detector(), records.emulated_detector())
    assert [c.after.size for c in counted.counted] == [(120, 160), (240, 320)]


def test_a_report_has_a_detector_beside_a_classifier() -> None:
    every = [records.x86(), records.detector(), records.emulated("rpi4"), records.emulated_detector()]
    text = render_markdown(every)
    alone, whole = (
        text.index(f"### Face detector: {heading}")
        for heading in ("its network, one letterboxed picture at a time", "whole frames, without the camera")
    )
    crops = text[text.index("### Model: one face crop at a time") : text.index("### Pipeline: whole frames")]
    assert "| det-s |" not in crops
    assert "| size |" not in crops
    assert text[alone:whole].count("| 160×120 |") == text[alone:whole].count("| 320×240 |") == 1
    assert "| frames/s |" in text[whole:]
    summary = text.split("\n## ")[1]
    assert "litert int8 160×120 × 1 |" in summary
    assert "| litert int8 160×120 |" in summary
    record = records.detector()
    assert row_name(Row(record, record.measurements[-1], None)) == "litert int8 320×240, 1 thread, 1 face"


def test_the_session_knows_what_each_kind_has(made_up: DetectorBundle) -> None:
    assert session.scopes_of(made_up) == ("model", "detect")
    preferred = Preferred("litert", "int8", 1)
    found = session.subjects_of(made_up, detect(), preferred, Wanted(PLAN, ("detect",), precision="int8"))
    assert [s.size for s in found] == [(120, 160), (192, 320), (480, 640)]
