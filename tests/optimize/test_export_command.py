"""`edgefer export` as a person or a program meets it: its own process, real files, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bundle import open_bundle, shipped

for package in ("tensorflow", "tensorflow_model_optimization", "tf_keras", "onnx"):
    pytest.importorskip(package, reason="needs edgefer[optimize]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, labels = cartoon.dataset(60, seed=1)
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    np.savez(path, images=images, labels=labels)
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgefer", "export", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def exported(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "mine.edgefer"
    done = run("--int8", "--format", "tflite", "--data", faces, "--max-drop", "5", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [p["precision"] for p in told["parity"]] == ["fp32", "int8"]
    assert {c["method"] for c in told["calibration"]} == {"converter", "minmax", "percentile", "entropy"}
    assert sum(c["chosen"] for c in told["calibration"]) == 1
    assert told["macs"] == 28_554_704
    assert all(p["latency_ms"] > 0 and p["gzip_bytes"] < p["bytes"] for p in told["parity"])
    assert "calibrating by" in done.stderr
    return out


def test_what_is_there_is_said_and_left_alone(exported: Path, faces: Path) -> None:
    before = (exported / "manifest.json").read_bytes()
    done = run(exported, "--int8", "--format", "tflite", "--data", faces)
    assert done.returncode == 0
    assert "edge-m.int8.tflite is there already and stays as it is; --force makes it anew" in done.stderr
    assert done.stdout == ""
    assert (exported / "manifest.json").read_bytes() == before


def test_force_gives_the_same_bytes(exported: Path, faces: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.edgefer"
    shutil.copytree(exported, copy)
    options = ("--precision", "int8", "--format", "tflite", "--data", faces, "--max-drop", "5")
    done = run(copy, *options, "--force")
    assert done.returncode == 0, done.stderr
    assert "edge-m.int8.tflite" in done.stdout
    kept = open_bundle(exported).artifact("tflite", "int8")
    assert open_bundle(copy).artifact("tflite", "int8") == kept


def test_each_format_can_use_its_own_quantiser(exported: Path, faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs edgefer[optimize]")
    out = tmp_path / "own.edgefer"
    options = ("--precision", "int8", "--quantizer", "own", "--calibrate", "minmax", "--max-drop", "9", "--json")
    done = run(exported, *options, "--format", "onnx", "--format", "openvino", "--data", faces, "--out", out)
    assert done.returncode == 0, done.stderr
    metrics = open_bundle(out).metrics
    for path, quantiser in (("edge-m.int8.onnx", "onnx's own"), ("edge-m.int8.xml", "openvino's own")):
        assert metrics[path]["quantisation"]["quantiser"] == quantiser
        assert metrics[path]["quantisation"]["method"] == "minmax"
    assert json.loads(done.stdout)["calibration"][0]["method"] == "minmax"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8", "--keep-float", "nowhere"], "no layer called 'nowhere' to keep float; the layers are: picture, "),
        (["--narrow"], "write a new bundle with --out"),
        (["--qat", "--precision", "fp32", "--out", "x"], "qat is for int8"),
        (["--qat", "--set", "qat.speed=3", "--out", "x"], "there is no 'speed'; known: epochs, learning_rate"),
        (["--set", "qat.epochs=3"], "the stage 'qat' is not asked for"),
        (["--qat", "--set", "qat.epochs=many", "--out", "x"], "'many' is no whole number"),
        (["--qat", "--resume", "--out", "x"], "nothing to resume"),
    ],
)
def test_wrong_options_are_one_line(
    exported: Path, faces: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    options = [str(tmp_path / "x.edgefer") if option == "x" else option for option in options]
    before = (exported / "manifest.json").read_bytes()
    formats = ["--format", "tflite", "--force"]
    done = run(exported, *formats, *options, "--data", faces)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (exported / "manifest.json").read_bytes() == before
    assert not list(tmp_path.iterdir())


def test_data_with_too_few_faces_or_other_labels_is_refused(exported: Path, tmp_path: Path) -> None:
    images, labels = cartoon.dataset(3, seed=1)
    np.savez(tmp_path / "few.npz", images=images, labels=labels)
    done = run(exported, "--int8", "--format", "tflite", "--force", "--data", tmp_path / "few.npz")
    assert done.returncode == 1
    assert "at least 32 training faces" in done.stderr.splitlines()[-1]
    for k, name in enumerate(("bored", "happy")):
        (tmp_path / "folder" / name).mkdir(parents=True)
        for i in range(40):
            np_image = images[(k * 7 + i) % len(images)]
            import cv2

            cv2.imwrite(str(tmp_path / "folder" / name / f"{i}.png"), np_image)
    done = run(exported, "--int8", "--format", "tflite", "--force", "--data", tmp_path / "folder")
    assert done.returncode == 1
    assert "bored" in done.stderr.splitlines()[-1]


def test_an_interrupted_qat_leaves_no_bundle_and_goes_on(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "qat.edgefer"
    options = ["--qat", "--format", "tflite", "--data", str(faces), "--max-drop", "50", "--set", "qat.epochs=3"]
    options += ["--precision", "int8", "--out", str(out)]
    process = subprocess.Popen(command(*options), stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch   1/3" in line:
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.wait(timeout=60) == 130
    assert not out.exists()
    assert (tmp_path / "qat.edgefer.tuning" / "qat" / "state.npz").exists()
    deadline = time.monotonic() + 30
    while any("optimize.tune_process" in p.read_text(errors="replace") for p in _processes(str(out))):
        assert time.monotonic() < deadline, "the process that trains has outlived the command"
        time.sleep(0.2)
    refused = run(*options)
    assert refused.returncode == 1
    assert "go on with --resume" in refused.stderr.splitlines()[-1]
    done = run(*options, "--resume")
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stderr
    assert open_bundle(out).metrics["edge-m.int8.tflite"]["quantisation"]["method"] == "qat"
    assert list(tmp_path.iterdir()) == [out]


def _processes(about: str) -> list[Path]:
    """The command lines of running processes in which `about` stands."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if about in path.read_text(errors="replace"):
                found.append(path)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("named", [[], ["edge-m"]])
def test_the_bundle_that_ships_is_not_touched(faces: Path, named: list[str]) -> None:
    before = (shipped() / "manifest.json").read_bytes()
    done = run(*named, "--int8", "--data", faces)
    assert done.returncode == 2
    assert "needs --out" in done.stderr
    assert (shipped() / "manifest.json").read_bytes() == before
