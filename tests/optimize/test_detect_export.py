"""A detector from training to files, with the program itself, on drawn faces; and what is refused on the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgefer import plugins
from edgefer.bundle import DetectorBundle, open_detector_bundle, write_bundle
from edgefer.errors import ExportError
from edgefer.grid import decode
from edgefer.optimize.detect import export as exports
from edgefer.optimize.detect import scenes
from edgefer.optimize.detect.convert import DetectConverted
from edgefer.optimize.detect.export import export_detector
from edgefer.optimize.detect.plan import DetectPlan
from edgefer.runtime import engines
from edgefer.train import scenes as data
from tests.optimize import cartoon_scenes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SMALL, LARGE = (120, 160), (240, 320)


class World(NamedTuple):
    data: Path
    trained: Path
    """Training's bundle: weights alone."""
    exported: Path
    result: dict[str, Any]
    """What the program printed."""
    said: str


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgefer", "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    needed = ("tensorflow", "tensorflow_model_optimization", "tf2onnx", "onnxruntime", "openvino")
    missing = [module for module in needed if not plugins.installed(module)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("detector")
    scenes_at, trained, exported = cartoon_scenes.write(folder / "data"), folder / "d.edgefer", folder / "e.edgefer"
    cartoon_scenes.train(scenes_at, trained)
    options = ["--int8", "--data", str(scenes_at), "--size", "160x120", "--size", "320x240", "--max-drop", "2"]
    done = run(str(trained), *options, "--out", str(exported), "--json")
    assert done.returncode == 0, done.stderr
    return World(scenes_at, trained, exported, json.loads(done.stdout), done.stderr)


def parities(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.result["parity"]
    return found


def test_every_file_is_there_and_as_the_manifest_says(world: World) -> None:
    bundle = open_detector_bundle(world.exported).verify()
    kinds = {(a.format, a.precision, a.size) for a in bundle.artifacts}
    wanted = {(f, p, s) for f in ("tflite", "onnx", "openvino") for p in ("fp32", "int8") for s in (SMALL, LARGE)}
    assert kinds == wanted | {("keras", "fp32", None)}
    assert bundle.sized("tflite", "int8", LARGE).path == "det-xs.320x240.int8.tflite"
    assert bundle.threshold == open_detector_bundle(world.trained).threshold
    assert bundle.parent == open_detector_bundle(world.trained).digest()
    assert (world.exported / "history.json").read_bytes() == (world.trained / "history.json").read_bytes()
    assert {p["artifact"] for p in parities(world)} == {a.path for a in bundle.artifacts if a.size}


def test_files_find_what_the_network_finds(world: World) -> None:
    for parity in parities(world):
        assert parity["measured"]["average_precision"] > 0.8
        assert parity["agreement"]["n"] > 20
        if parity["precision"] == "fp32":
            assert abs(parity["drop_points"]) < 0.01
            assert parity["agreement"]["share"] == 1
            assert parity["agreement"]["max_score_difference"] < 1e-3
        else:
            assert parity["drop_points"] <= 2 + 1e-9 or parity["drop_points"] <= 100 / parity["measured"]["faces"]
            assert parity["agreement"]["share"] >= 0.9
            assert parity["agreement"]["mean_iou"] > 0.85


def test_metrics_say_what_was_measured_and_how(world: World) -> None:
    bundle = open_detector_bundle(world.exported)
    entry = bundle.metrics["det-xs.320x240.int8.tflite"]
    assert (entry["split"], entry["n"], entry["empty"], entry["faces"]) == ("validation", 32, 8, 48)
    assert entry["quantisation"]["quantiser"] == "shared"
    assert entry["quantisation"]["method"] in ("converter", "minmax", "percentile", "entropy")
    assert entry["quantisation"]["calibration_scenes"] == 64
    assert entry["threshold"] == bundle.threshold
    assert "det-xs.weights.h5" in bundle.metrics


def test_every_way_to_calibrate_is_tried_at_every_size(world: World) -> None:
    tried = world.result["calibration"]
    assert len(tried) == 8
    for size in (SMALL, LARGE):
        differences = {c["method"]: c["difference"] for c in tried if tuple(c["size"]) == size}
        [chosen] = [c["method"] for c in tried if tuple(c["size"]) == size and c["chosen"]]
        assert 0 < differences[chosen] == min(differences.values()) < 0.2
    assert set(world.result["macs"]) == {"160x120", "320x240"}


def test_all_int8_forms_give_nearly_the_same_grid(world: World) -> None:
    bundle = open_detector_bundle(world.exported)
    pictures = scenes.pictures(data.read(world.data)["validation"], LARGE)
    grids = {}
    for format, engine in (("tflite", "litert"), ("onnx", "onnxruntime"), ("openvino", "openvino")):
        loaded = engines.open_artifact(bundle, bundle.sized(format, "int8", LARGE), engine)
        grids[format] = loaded.engine.run(pictures)
        loaded.engine.close()
    assert grids["tflite"].shape == (32, 32, 40, 15)
    spread = grids["tflite"].std()
    for format in ("onnx", "openvino"):
        assert np.abs(grids[format] - grids["tflite"]).mean() < 0.03 * spread
    assert any(len(decode(grid, bundle.threshold).scores) for grid in grids["tflite"])


def test_in_place_only_what_lacks_is_made(world: World, tmp_path: Path) -> None:
    here = tmp_path / "d.edgefer"
    shutil.copytree(world.trained, here)
    options = ["--data", str(world.data), "--size", "160x120", "--format", "tflite"]
    assert run(str(here), *options).returncode == 0
    first = open_detector_bundle(here)
    assert [str(a) for a in first.artifacts] == ["keras fp32", "tflite fp32 160x120"]
    assert first.parent is None
    again = run(str(here), *options)
    assert again.returncode == 0
    assert "det-xs.160x120.fp32.tflite is there already and stays as it is" in again.stderr
    assert open_detector_bundle(here).digest() == first.digest()


def test_a_table_shows_it(world: World, tmp_path: Path) -> None:
    options = ["--data", str(world.data), "--size", "160x120", "--format", "onnx", "--out", str(tmp_path / "o.edgefer")]
    done = run(str(world.trained), *options)
    assert done.returncode == 0, done.stderr
    head, row = done.stdout.splitlines()
    assert head.split()[:2] == ["artifact", "bytes"]
    assert row.startswith("det-xs.160x120.fp32.onnx")
    assert "measured on 32 validation scenes" in done.stderr


def splits(world: World) -> tuple[list[data.Scene], list[data.Scene]]:
    found = data.read(world.data)
    return found["train"], found["validation"]


PLAN = DetectPlan(formats=("tflite",), precisions=("fp32",), sizes=(SMALL,))


def test_a_file_that_finds_something_else_is_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_detector_bundle(world.trained)
    other = open_detector_bundle(world.exported)
    [made] = PLAN.artifacts
    real = exports.convert

    def harmed(job: Any, listener: Any = None) -> DetectConverted:
        converted = real(job, listener)
        moved = {size: [replace(f, boxes=f.boxes + 30) for f in found] for size, found in converted.trained.items()}
        artifact = other.sized("tflite", "fp32", SMALL)
        return replace(converted, files={made: {artifact.path: other.read(artifact.file)}}, trained=moved)

    monkeypatch.setattr(exports, "convert", harmed)
    with pytest.raises(ExportError, match=r"shares 0\.0 % of the sure finds|none of \d+ validation faces"):
        export_detector(bundle, *splits(world), PLAN, out=tmp_path / "o.edgefer")
    assert not (tmp_path / "o.edgefer").exists()


def test_a_network_that_finds_nothing_is_told_so(world: World, tmp_path: Path) -> None:
    import keras

    from edgefer.bundle import Artifact, describe
    from edgefer.train.detect import network

    net = network.build(keras, "det-xs", *SMALL)
    net.save_weights(tmp_path / "w.weights.h5")
    weights = (tmp_path / "w.weights.h5").read_bytes()
    file = describe("det-xs.weights.h5", weights)
    bundle = write_bundle(
        DetectorBundle(tmp_path / "n.edgefer", "det-xs", (Artifact(file, "keras", "fp32"),), 0.5), {file.path: weights}
    )
    with pytest.raises(ExportError, match=r"the trained network finds none of .* validation faces"):
        export_detector(bundle, *splits(world), PLAN, out=tmp_path / "o.edgefer")


def test_scenes_that_prove_nothing_are_refused(world: World, tmp_path: Path) -> None:
    bundle = open_detector_bundle(world.trained)
    train, validation = splits(world)
    with pytest.raises(ExportError, match="no validation scene has a face"):
        export_detector(bundle, train, [s for s in validation if not len(s.boxes)], PLAN, out=tmp_path / "o.edgefer")
    with pytest.raises(ExportError, match="at least 32 training scenes, found 31"):
        export_detector(bundle, train[:31], validation, PLAN, out=tmp_path / "o.edgefer")


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (["--qat"], "--qat"),
        (["--narrow"], "--narrow"),
        (["--prune"], "--prune"),
        (["--cluster"], "--cluster"),
        (["--set", "qat.epochs=3"], "--set"),
        (["--teacher", "edge-m"], "--teacher"),
        (["--drop-rows", "rows.csv"], "--drop-rows"),
        (["--resume"], "--resume"),
    ],
)
def test_options_that_a_detector_does_not_have_are_refused(world: World, option: list[str], name: str) -> None:
    done = run(str(world.trained), "--data", str(world.data), *option)
    assert done.returncode == 2
    why = f"is for models that name expressions, and {world.trained} is a face detector"
    assert f"{name} {why}; leave it out" in done.stderr


def test_a_classifier_has_no_sizes(tmp_path: Path) -> None:
    done = run("edge-xs", "--data", str(tmp_path), "--size", "320x240", "--out", str(tmp_path / "o.edgefer"))
    assert done.returncode == 2
    assert "--size is for face detectors, and " in done.stderr
    assert "edge-xs.edgefer is none; leave it out" in done.stderr
