"""`edgefer run` as a service sees it: a camera that goes, hangs and comes back, signals, outputs that fail.

Every test is the real command in a process of its own, against a camera in another one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from edgefer.bundle import Bundle
from edgefer.commands import _session
from edgefer.commands._notice import show_once
from edgefer.commands._settings import settings_from
from edgefer.commands.run import command
from edgefer.runtime.engines import open_engine
from tests.runtime import fakes
from tests.runtime.fakes import eventually

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Camera:
    """The camera's process."""

    def __init__(self, fps: float = 30) -> None:
        self.port, self._fps = free_port(), fps
        self.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/cam.mjpg"

    def start(self) -> None:
        command = [sys.executable, str(HERE / "mjpeg_camera.py"), str(self.port), str(self._fps)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def camera() -> Iterator[Camera]:
    camera = Camera()
    yield camera
    camera.kill()


class Run:
    """`edgefer run`, with what it says collected line by line; each picture is a face, for that is quick."""

    def __init__(self, *arguments: object, script: str | None = None, **environment: str) -> None:
        python = ["-c", script] if script else ["-m", "edgefer", "run"]
        if not script and "--config" not in arguments:
            arguments = (*arguments, "--detector", "none")
        self.process = subprocess.Popen(
            [sys.executable, *python, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.out: list[str] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(target=self._collect, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.errors))
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def says(self, words: str, seconds: float = 20) -> bool:
        return eventually(lambda: any(words in line for line in self.errors), seconds)

    def frames(self, more: int, seconds: float = 20) -> bool:
        """Return whether so many more frames come out in time."""
        before = len(self.out)
        return eventually(lambda: len(self.out) >= before + more, seconds)

    def ends(self, seconds: float = 30) -> int:
        code = self.process.wait(seconds)
        for thread in self._threads:
            thread.join(5)
        return code


@pytest.fixture(autouse=True)
def told(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the notice of the first run out of the way, and out of the home folder."""
    state = tmp_path_factory.mktemp("state")
    (state / "edgefer").mkdir()
    (state / "edgefer" / "notice-1").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(state))


def test_a_camera_that_is_killed_and_comes_back(camera: Camera, tmp_path: Path) -> None:
    run = Run("--source", camera.uri, "--json", "--summary", tmp_path / "s.json")
    assert run.frames(10), run.errors
    camera.kill()
    assert run.says("is lost"), run.errors
    camera.start()
    assert run.says("is back after"), run.errors
    assert run.frames(10)
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 0
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["reconnects"] == 1
    assert sum("is lost" in line for line in run.errors) == 1
    numbers = [json.loads(line)["frame"] for line in run.out]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] + 1 >= summary["frames"] + summary["dropped"] - 2


def test_a_camera_that_stops_answering_is_opened_anew(camera: Camera) -> None:
    """Failure 1: `read()` hangs."""
    run = Run("--source", camera.uri, "--json", "--stall", 1)
    assert run.frames(10), run.errors
    camera.send(signal.SIGSTOP)
    assert run.says("is lost: no picture for 1 s"), run.errors
    camera.send(signal.SIGCONT)
    assert run.says("is back after"), run.errors
    assert run.frames(10)
    run.process.send_signal(signal.SIGINT)
    assert run.ends() == 130


def test_a_stop_is_heard_while_the_camera_is_away(camera: Camera) -> None:
    run = Run("--source", camera.uri, "--json")
    assert run.frames(3), run.errors
    camera.kill()
    assert run.says("is lost")
    start = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 0
    assert time.monotonic() - start < 5


def test_max_retries_ends_with_a_line(camera: Camera) -> None:
    run = Run("--source", camera.uri, "--json", "--max-retries", 1)
    assert run.frames(3), run.errors
    camera.kill()
    assert run.ends() == 1
    assert "1 retries failed; the last: " in run.errors[-1]
    assert not any("Traceback" in line for line in run.errors)


def test_a_camera_that_is_not_there_at_the_start_is_an_error_at_once() -> None:
    run = Run("--source", f"http://127.0.0.1:{free_port()}/cam.mjpg", "--json")
    assert run.ends() == 1
    assert run.out == []
    assert len([line for line in run.errors if line.startswith("edgefer: ")]) == 1


def test_the_reader_of_the_json_goes_and_the_csv_goes_on(tmp_path: Path) -> None:
    run = f"'{sys.executable}' -m edgefer run --source demo:200 --detector none --json --csv '{tmp_path}/faces.csv'"
    command = f"{run} | head -n 3"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    rows = (tmp_path / "faces.csv").read_text().splitlines()
    assert rows[-1].split(",")[2] == "199"
    assert "--json: nobody listens any more" in done.stderr
    assert "200 frames" in done.stderr


def test_a_reader_that_never_reads_holds_up_nothing(camera: Camera, tmp_path: Path) -> None:
    """The pipe is full after some hundred frames; the CSV goes on, and SIGTERM ends the run."""
    script = (
        "import sys; from edgefer.runtime import outlet; outlet.PATIENCE = 1.0\n"
        f"from edgefer.cli import main; main(['run', '--source', '{camera.uri}', '--detector', 'none',"
        f" '--json', '--csv', '{tmp_path}/faces.csv'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096
    )
    rows = tmp_path / "faces.csv"
    try:
        assert eventually(lambda: rows.exists() and len(rows.read_text().splitlines()) > 60, 30)
        process.terminate()
        assert process.wait(20) == 1
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert "--json is slower than the camera; it gets fewer frames" in said
        assert "--json gave up: it did not finish within 1 s" in said
        assert "Fatal Python error" not in said
    finally:
        process.kill()


def test_a_full_disk_ends_the_csv_alone_and_the_exit_code_says_so(tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    command = [sys.executable, "-m", "edgefer", "run", "--source", "demo:150", "--json", "--csv", f"{tmp_path}/f.csv"]
    command += ["--detector", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=little_room, timeout=60)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 150
    assert "f.csv failed and is left out from now on" in done.stderr
    assert "Traceback" not in done.stderr


def test_sighup_reads_the_configuration_again(camera: Camera, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'source = "{camera.uri}"\njson = true\nmin-confidence = 0.0\ndetector = "none"\n')
    run = Run("--config", config)
    assert run.frames(5), run.errors
    assert all(face["certain"] for line in run.out for face in json.loads(line)["faces"])

    config.write_text("min-confidence = 'high'\n")
    run.process.send_signal(signal.SIGHUP)
    assert run.says("not reloaded, going on as before"), run.errors
    assert run.frames(5)

    config.write_text(f'source = "{camera.uri}"\njson = true\nmin-confidence = 1.0\ndetector = "none"\n')
    run.process.send_signal(signal.SIGHUP)
    assert run.says("reloading"), run.errors
    assert eventually(lambda: '"certain": false' in run.out[-1], 20), run.errors
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 0


def test_a_service_manager_is_told(camera: Camera, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        run = Run("--source", camera.uri, "--json", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        got = [manager.recv(4096).decode() for _ in range(4)]
        assert got[0].startswith("READY=1")
        assert got[1:] == ["WATCHDOG=1"] * 3
        camera.kill()  # a camera that is away is no reason to be killed
        assert run.says("is lost")
        assert [manager.recv(4096).decode() for _ in range(5)] == ["WATCHDOG=1"] * 5
        run.process.send_signal(signal.SIGTERM)
        assert run.ends() == 0
        manager.setblocking(False)
        rest = []
        while True:
            try:
                rest.append(manager.recv(4096).decode())
            except BlockingIOError:
                break
        assert rest[-1] == "STOPPING=1"


def test_a_model_that_hangs_ends_the_process_so_that_it_is_started_again() -> None:
    """Failure 3: inference never comes back, and SIGTERM is not heard."""
    script = (
        "import sys, time; from edgefer.commands import _session; from edgefer.runtime.revive import Reviving\n"
        "_session.STUCK = 2.0\n"
        "Reviving.run = lambda self, pictures: time.sleep(600)\n"
        "from edgefer.cli import main; main(['run', '--source', 'demo', '--json', '--detector', 'none'])"
    )
    run = Run(script=script)
    assert run.ends(30) == 1
    assert any("Timeout" in line for line in run.errors)
    assert any("pipeline.py" in line for line in run.errors), "the stacks say where it hung"


def test_a_camera_of_damaged_pictures_does_not_fill_the_log(tmp_path: Path) -> None:
    """libjpeg writes a line a picture to descriptor 2; `-v` lets it."""
    import cv2
    import numpy as np

    whole = bytearray(cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))[1])
    for place in range(700, len(whole) - 50, 40):
        whole[place : place + 2] = b"\xff\xd3"  # a restart marker where none belongs
    (tmp_path / "a.jpg").write_bytes(whole)
    said = []
    for verbose in ([], ["-v"]):
        command = [sys.executable, "-m", "edgefer", *verbose, "run", "--source", str(tmp_path), "--json"]
        done = subprocess.run([*command, "--detector", "none"], capture_output=True, text=True, timeout=60, check=False)
        said.append(("Corrupt JPEG" in done.stderr, "frames in" in done.stderr or "no picture" in done.stderr))
    assert said == [(False, True), (True, True)]


def test_the_notice_is_said_once_a_user(tmp_path: Path) -> None:
    said = []
    for _ in range(2):
        run = Run("--source", "demo:1", "--json", XDG_STATE_HOME=str(tmp_path / "new"))
        assert run.ends() == 0
        said.append(any("AI Act, Article 5" in line for line in run.errors))
    assert said == [True, False]


def test_a_recording_of_a_camera_plays_at_the_speed_of_what_it_shows(camera: Camera, tmp_path: Path) -> None:
    import cv2

    run = Run("--source", camera.uri, "--json", "--record", tmp_path / "out.mp4")
    assert run.frames(5), run.errors
    began = time.monotonic()
    time.sleep(2)
    run.process.send_signal(signal.SIGTERM)
    assert run.ends() == 0
    lasted = time.monotonic() - began
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    seconds = video.get(cv2.CAP_PROP_FRAME_COUNT) / video.get(cv2.CAP_PROP_FPS)
    assert 1.5 < seconds < lasted + 1.5


def test_a_recording_never_replaces_another(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"precious")
    run = Run("--source", "demo:3", "--record", tmp_path / "out.mp4")
    assert run.ends() == 1
    assert "a recording never replaces another" in run.errors[-1]
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
    run = Run("--source", "demo:3", "--record", tmp_path / "out-%Y.mp4")
    assert run.ends() == 0
    assert (tmp_path / time.strftime("out-%Y.mp4")).is_file()


def test_a_camera_that_is_given_up_on_leaves_its_figures(camera: Camera, tmp_path: Path) -> None:
    run = Run("--source", camera.uri, "--json", "--max-retries", 0, "--summary", tmp_path / "s.json")
    assert run.frames(5), run.errors
    camera.kill()
    assert run.ends() == 1
    assert json.loads((tmp_path / "s.json").read_text())["frames"] == len(run.out)
    assert any(line.startswith(f"{len(run.out)} frames in ") for line in run.errors)
    assert run.errors[-1].startswith("edgefer: camera ")


def test_a_summary_that_cannot_be_written_is_a_failed_output(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "s.json"
    run = Run("--source", "demo:3", "--json", "--summary", path)
    assert run.ends() == 1
    assert len(run.out) == 3
    assert any(f"--summary {path} cannot be written" in line for line in run.errors), run.errors


def test_a_dead_reader_and_a_camera_that_is_given_up_on_end_with_1(camera: Camera) -> None:
    """The thread that hangs in the pipe must not make Python abort at its end."""
    script = (
        "from edgefer.runtime import outlet; outlet.PATIENCE = 0.5\n"
        f"from edgefer.cli import main; main(['run', '--source', '{camera.uri}', '--detector', 'none', '--json',"
        " '--max-retries', '0'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, b"")
        assert any(b"slower than the camera" in line for line in lines)
        camera.kill()
        assert process.wait(20) == 1
        rest = process.stderr.read().decode()
        assert "edgefer: camera " in rest
        assert "Fatal Python error" not in rest
    finally:
        process.kill()


def test_nobody_reads_standard_error_and_the_csv_goes_on(tmp_path: Path) -> None:
    run = f"'{sys.executable}' -m edgefer run --source demo:300 --detector none --json --csv '{tmp_path}/faces.csv'"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{run} 2>&1 | head -n 3"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "faces.csv").read_text().splitlines()[-1].split(",")[2] == "299"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stop_while_the_camera_is_opened_is_heard_at_once(number: signal.Signals, code: int) -> None:
    with socket.socket() as mute:  # takes connections and never answers
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        run = Run("--source", f"http://127.0.0.1:{mute.getsockname()[1]}/", "--json")
        connection, _ = mute.accept()
        with connection:
            start = time.monotonic()
            run.process.send_signal(number)
            assert run.ends() == code, run.errors
            assert time.monotonic() - start < 4
    assert not any("no camera" in line for line in run.errors)


def test_the_terminal_closes_and_the_run_ends(camera: Camera) -> None:
    """Without --config there is nothing to read again: SIGHUP means what it always does."""
    run = Run("--source", camera.uri, "--json")
    assert run.frames(5), run.errors
    run.process.send_signal(signal.SIGHUP)
    assert run.ends(10) == 0, run.errors
    assert not any("reload" in line for line in run.errors)


class Configured:
    """A run with a configuration, which can be changed."""

    def __init__(self, camera: Camera, folder: Path, **options: object) -> None:
        self._file = folder / "run.toml"
        self._options: dict[str, object] = {"source": camera.uri, "json": True, "detector": "none"}
        self._write(options)
        self.run = Run("--config", self._file)
        assert self.run.frames(5), self.run.errors

    def _write(self, options: dict[str, object]) -> None:
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in {**self._options, **options}.items())
        self._file.write_text("".join(lines))

    def reload(self, **options: object) -> None:
        self._write({name.replace("_", "-"): value for name, value in options.items()})
        self.run.process.send_signal(signal.SIGHUP)


def test_a_reload_while_the_camera_is_away_waits_for_it(camera: Camera, tmp_path: Path) -> None:
    run = Configured(camera, tmp_path)
    camera.kill()
    assert run.run.says("is lost")
    run.reload(min_confidence=1.0)
    assert run.run.says("trying again until it is back", 10)
    assert eventually(lambda: sum("is lost" in line for line in run.run.errors) == 2, 20), run.run.errors
    camera.start()
    assert run.run.says("is back after"), run.run.errors
    assert eventually(lambda: '"certain": false' in run.run.out[-1], 20), run.run.errors
    run.run.process.send_signal(signal.SIGTERM)
    assert run.run.ends() == 0


@pytest.mark.parametrize(
    "wrong", [{"engine": "abacus"}, {"serve": "256.0.0.1:1"}, {"source": "http://127.0.0.1:9/"}, {"size": "99999x2"}]
)
def test_a_reload_that_cannot_be_opened_goes_on_as_before(
    camera: Camera, tmp_path: Path, wrong: dict[str, object]
) -> None:
    run = Configured(camera, tmp_path)
    run.reload(**wrong)
    assert run.run.says("not reloaded, going on as before"), run.run.errors
    assert run.run.frames(10), run.run.errors
    run.run.process.send_signal(signal.SIGTERM)
    assert run.run.ends() == 0


def test_a_reload_keeps_the_recording(camera: Camera, tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    run = Configured(camera, tmp_path, record=str(video))
    run.reload(record=str(video))
    assert run.run.says("not reloaded, going on as before"), run.run.errors
    assert run.run.frames(10), run.run.errors
    run.run.process.send_signal(signal.SIGTERM)
    assert run.run.ends() == 0
    assert video.stat().st_size > 1000


def test_a_reload_that_cannot_be_opened_does_not_end_on_the_recording_that_is_there(
    camera: Camera, tmp_path: Path
) -> None:
    video = tmp_path / "out.mp4"
    run = Configured(camera, tmp_path, record=str(video))
    run.reload(engine="abacus")
    assert run.run.says("nothing is recorded any more"), run.run.errors
    size = video.stat().st_size
    assert run.run.frames(10), run.run.errors
    run.run.process.send_signal(signal.SIGTERM)
    assert run.run.ends() == 0
    assert video.stat().st_size == size


def test_a_reload_goes_on_with_port_and_file_and_counts_frames_on(camera: Camera, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    rows = tmp_path / "faces.csv"
    outputs = {"serve": f"127.0.0.1:{(port := free_port())}", "csv": str(rows), "frames": 90}
    run = Configured(camera, tmp_path, **outputs)
    with socket.create_connection(("127.0.0.1", port)) as viewer:
        viewer.sendall(b"GET /picture HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        run.reload(**outputs)
        assert run.run.says("reloading"), run.run.errors
    assert run.run.ends() == 0, run.run.errors
    assert not any("not reloaded" in line for line in run.run.errors)
    assert len(run.run.out) == 90
    assert len(rows.read_text().splitlines()) == 91


@pytest.mark.parametrize("option", ["--stall", "--smooth", "--min-confidence", "--fps"])
def test_nan_is_no_number(option: str) -> None:
    run = Run("--source", "demo:1", option, "nan")
    assert run.ends() == 2
    assert "'nan' is no number" in run.errors[-1]


@pytest.mark.parametrize(("options", "code"), [(["--record", "out-%D.mp4"], 1), (["--strict"], 2)])
def test_what_cannot_be_is_said_in_a_line(options: list[str], code: int) -> None:
    run = Run("--source", "demo:1", *options)
    assert run.ends() == code
    assert not any("Traceback" in line for line in run.errors)


def test_with_blur_every_frame_is_searched_unless_told_otherwise(tiny_bundle: Bundle) -> None:
    def every(*options: str) -> int:
        with command.make_context("run", ["--record", "x.mp4", *options]) as context:
            settings = settings_from(context, None)
        loaded = open_engine(tiny_bundle, "litert")
        line = _session._pipeline(settings, tiny_bundle, loaded.engine, fakes.Camera(1, fps=30))
        loaded.engine.close()
        line._pace.took(100.0, 1.0)
        return line._pace.every

    assert every() == 4
    assert every("--fps", "120") == 4, "the rate that the camera states, not the wish"
    assert every("--blur-faces") == 1
    assert every("--blur-faces", "--detect-every", "3") == 3


@pytest.mark.parametrize("home", ["gone", "locked"])
def test_where_nothing_can_be_remembered_the_notice_is_said_and_the_run_goes_on(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.") if home == "gone" else PermissionError(13, "no")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home" if home == "gone" else "exists", refuse)
    show_once()
    assert "AI Act, Article 5" in capsys.readouterr().err
