"""The command line as a script sees it: standard output, standard error, exit codes. Every test is a real process."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edgefer.bundle import shipped
from edgefer.commands._shared import refuse

MEDIA = Path(__file__).parents[2] / "shared" / "data" / "media"
HEAVY = ("tensorflow", "keras", "torch", "matplotlib", "jax")

needs_media = pytest.mark.skipif(not MEDIA.is_dir(), reason="needs ../shared/data/media")


def edgefer(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgefer", *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, env=env)


def fails(done: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """Check for one clear line on standard error, nothing on standard output, the exit code, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last


def test_help_and_version() -> None:
    done = edgefer("--help")
    assert done.returncode == 0
    for command in (
        *("demo", "data", "train", "export", "optimize", "import"),
        *("evaluate", "run", "bench", "report", "devices", "models", "doctor"),
    ):
        assert command in done.stdout
        page = edgefer(command, "--help")
        assert page.returncode == 0
        lines = [line.strip() for line in page.stdout.splitlines()]
        assert any(line.startswith(f"edgefer {command}") for line in lines), "an example is missing"
        assert "\\b" not in page.stdout
    assert edgefer("--version").stdout.startswith("edgefer, version ")


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ([], ""),
        (["--seed", "0"], "--seed"),
        (["--all"], "--all"),
        (["--other"], ""),
        (["--seed", "1", "--all"], "--all"),
    ],
)
def test_options_are_refused_when_they_are_given_whatever_their_value(arguments: list[str], refused: str) -> None:
    @click.command()
    @click.option("--all", "everything", is_flag=True)
    @click.option("--seed", default=0)
    @click.option("--other", is_flag=True)
    def command(**_: object) -> None:
        refuse(("seed", "everything"), "is not for this")

    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == (2 if refused else 0)
    assert not refused or f"Error: {refused} is not for this; leave it out" in done.output


def test_called_wrongly() -> None:
    assert edgefer("fly").returncode == 2
    assert edgefer("run", "--no-such-option").returncode == 2
    assert edgefer("train", "--data", "x").returncode == 2


def test_devices() -> None:
    profiles = json.loads(edgefer("devices", "--json").stdout)
    assert {"x86", "rpi4", "rpi5", "jetson-orin-nano"} <= {p["name"] for p in profiles}
    assert sum(p["detected"] for p in profiles) == 1
    assert "rpi5" in edgefer("devices").stdout


def test_run_demo_gives_a_line_of_json_a_frame() -> None:
    done = edgefer("run", "--source", "demo:20", "--json", "--smooth", 0)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in lines] == list(range(20))
    faces = [face for line in lines for face in line["faces"]]
    assert len(faces) >= 36  # two faces a frame
    for face in faces:
        assert set(face) == {"box", "id", "label", "confidence", "certain", "detected", "scores"}
        assert len(face["box"]) == 4
        assert face["scores"][face["label"]] == face["confidence"] == max(face["scores"].values())
        assert sum(face["scores"].values()) == pytest.approx(1, abs=0.02)
    assert "20 frames" in done.stderr


@needs_media
@pytest.mark.parametrize(("picture", "faces"), [("two_people.jpg", 2), ("justin.jpg", 1), ("no-faces.jpg", 0)])
def test_run_finds_the_faces_of_a_picture(picture: str, faces: int) -> None:
    done = edgefer("run", "--source", MEDIA / picture, "--json")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert len(json.loads(line)["faces"]) == faces


def test_run_records_an_annotated_video(tmp_path: Path) -> None:
    import cv2

    done = edgefer("run", "--source", "demo:15", "--record", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 15
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_a_recording_that_the_disk_has_no_room_for_is_an_error(tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = [sys.executable, "-m", "edgefer", "run", "--source", "demo:120", "--record", str(tmp_path / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=little_room)
    assert done.returncode == 1
    assert "of 120 frames arrived on disk; is it full?" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_window_that_cannot_open_leaves_no_half_video(tmp_path: Path) -> None:
    arguments = ("run", "--source", "demo:5", "--record", tmp_path / "out.mp4", "--show")
    fails(edgefer(*arguments, DISPLAY="", WAYLAND_DISPLAY=""), "opencv-python")
    assert list(tmp_path.iterdir()) == []


def test_run_imports_nothing_heavy() -> None:
    code = (
        "import sys; from edgefer.cli import cli\n"
        "cli.main(['run', '--source', 'demo:3', '--json'], standalone_mode=False)\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_run_ends_cleanly_at_a_signal(tmp_path: Path, number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-m", "edgefer", "run", "--source", "demo:100000", "--json"]
    command += ["--record", str(tmp_path / "out.mp4")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(number)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    for line in rest.splitlines():
        json.loads(line)
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_run_when_the_reader_goes_away() -> None:
    command = [sys.executable, "-m", "edgefer", "run", "--source", "demo:300", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in process.stderr.read()


def test_run_says_what_it_takes_in_the_place_of_what_the_device_prefers(tmp_path: Path) -> None:
    copy = tmp_path / "float.edgefer"
    shutil.copytree(shipped(), copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["artifacts"] = [a for a in manifest["artifacts"] if a["precision"] != "int8"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    done = edgefer("run", copy, "--source", "demo:2", "--device", "rpi5")
    assert done.returncode == 0, done.stderr
    assert "rpi5 prefers int8, but the bundle has fp32 for litert" in done.stderr
    assert "(fp32) on litert" in done.stderr


def test_run_without_what_it_needs(tmp_path: Path) -> None:
    fails(edgefer("run", "--source", "99"), "99", "camera")
    fails(edgefer("run", "--source", tmp_path / "no.mp4"), "no.mp4")
    fails(edgefer("run", "--source", "ftp://x/y"), "ftp://x/y")
    fails(edgefer("run", "--source", tmp_path), "no picture")
    fails(edgefer("run", "--source", "demo:5", "--engine", "no-such"), "no-such", "litert")
    fails(edgefer("run", "--source", "demo:5", "--detector", "no-such"), "edge, haar")
    small = ("run", "--source", "demo:5", "--detector-size", "320", "--detector")
    fails(edgefer(*small, "haar"), "haar", "leave --detector-size out")
    fails(edgefer(*small, "none"), "none", "leave --detector-size out")
    fails(
        edgefer("run", "--source", "demo:5", "--detector-model", shipped()), "a detector is needed", "--detector-model"
    )
    fails(edgefer("run", "--source", "demo:5", "--detector-model", tmp_path / "no"), "no bundle", "--detector-model")
    fails(edgefer("run", "--source", "demo:5", "--detector-model", tmp_path, "--detector", "yunet"), "takes a file")
    fails(edgefer("run", "--source", "demo:5", "--device", "toaster"), "toaster", "rpi5")
    fails(edgefer("run", tmp_path / "no.edgefer", "--source", "demo"), "there is no bundle")
    fails(edgefer("run", "--source", "demo:5", "--record", tmp_path / "no" / "out.mp4"), "out.mp4")


def test_a_folder_with_unreadable_pictures_among_good_ones(tmp_path: Path) -> None:
    import cv2

    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((100, 100, 3), 80, np.uint8))
    (tmp_path / "1.png").write_bytes(b"broken")
    done = edgefer("run", "--source", tmp_path, "--json")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert "1 unreadable and skipped" in done.stderr


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda p: next(p.glob("*.int8.tflite")).write_bytes(b"x" * 10), "changed"),
        (lambda p: next(p.glob("*.int8.tflite")).unlink(), "missing"),
        (lambda p: (p / "manifest.json").write_text("{}"), "schema"),
        (lambda p: (p / "manifest.json").write_text('{"schema": 99}'), "newer edgefer"),
        (
            lambda p: (p / "manifest.json").write_text(
                (p / "manifest.json").read_text().replace('"edge-m.int8.tflite"', '"../evil.tflite"')
            ),
            "leaves the bundle",
        ),
    ],
)
def test_run_refuses_a_harmed_bundle(tmp_path: Path, harm, word: str) -> None:  # type: ignore[no-untyped-def]
    copy = tmp_path / "copy.edgefer"
    shutil.copytree(shipped(), copy)
    harm(copy)
    fails(edgefer("run", copy, "--source", "demo:3"), word)


def test_train_with_bad_data(tmp_path: Path) -> None:
    out = tmp_path / "x.edgefer"
    fails(edgefer("train", "--data", tmp_path / "no.csv", "--out", out), "there is no data")
    (tmp_path / "bad.csv").write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    fails(edgefer("train", "--data", tmp_path / "bad.csv", "--out", out), "line 2", "2304 pixels expected, found 3")
    assert edgefer("train", "--data", tmp_path, "--arch", "no-such", "--out", out).returncode == 2
    assert not out.exists()


def test_evaluate(tmp_path: Path) -> None:
    from edgefer import cartoon

    images, labels = cartoon.dataset(6, seed=1)
    np.savez(tmp_path / "faces.npz", images=images, labels=labels)
    done = edgefer("evaluate", "--data", tmp_path / "faces.npz", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {"accuracy", "ci95", "n", "macro_f1", "weighted_f1", "per_class", "confusion", "engine", "artifact"} <= set(
        result
    )
    assert result["n"] == 42
    assert result["artifact"].endswith("int8.tflite")
    assert "surprise" in edgefer("evaluate", "--data", tmp_path / "faces.npz").stdout


def test_bench_then_report(tmp_path: Path) -> None:
    record, page = tmp_path / "r.json", tmp_path / "r.md"
    done = edgefer("bench", "--quick", "--scope", "model", "--engine", "litert", "--threads", "1", "--json", record)
    assert done.returncode == 0, done.stderr
    data = json.loads(record.read_text())
    assert data["kind"] == "measured"
    assert data["quick"] is True
    assert {m["engine"] for m in data["measurements"]} == {"litert"}
    done = edgefer("report", record, "--out", page)
    assert done.returncode == 0, done.stderr
    assert "litert" in page.read_text()
    record.write_text("{}")
    fails(edgefer("report", record, "--out", page), "r.json")


def test_start_up_is_not_slowed_by_imports() -> None:
    """Not timed: what would make it slow is what it imports."""
    code = "import sys, edgefer.cli; print(sorted({'numpy', 'cv2', 'edgefer.runtime'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_python_dash_m_and_the_script_are_one() -> None:
    script = Path(sys.executable).with_name("edgefer")
    if not script.exists():
        pytest.skip("edgefer is not installed in this environment, only on its path")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == edgefer("--version").stdout
