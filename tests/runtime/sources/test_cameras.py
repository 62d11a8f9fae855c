"""Cameras whose hardware is not here: what is said of missing ones, links, pipelines, and a stand-in for picamera2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgefer.errors import MissingDependencyError, SourceError
from edgefer.runtime.frames import CaptureOptions
from edgefer.runtime.sources import _capture, _opencv, camera, csi, gst, open_source, picamera2
from edgefer.runtime.sources._capture import Capture, Manner
from tests.runtime.sources import servers

ROOT = Path(__file__).parents[3]


class Handle:
    """A stand-in for cv2.VideoCapture: gives what it is told, and takes note of what it is asked."""

    def __init__(self, *answers: np.ndarray | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, float]] = []
        self.open = True

    def isOpened(self) -> bool:
        return self.open

    def read(self) -> tuple[bool, np.ndarray | None]:
        answer = self.answers.pop(0) if self.answers else None
        return answer is not None, answer

    def get(self, number: int) -> float:
        return 0.0

    def set(self, number: int, value: float) -> bool:
        self.asked.append((number, value))
        return True

    def release(self) -> None:
        self.open = False


PICTURE = np.full((48, 64, 3), 90, np.uint8)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev of our own."""
    monkeypatch.setattr(camera, "DEV", tmp_path)
    (tmp_path / "v4l" / "by-id").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("uri", ["97", "/dev/video97", "/dev/null", "/dev/v4l/by-id/usb-none", "9" * 40])
def test_no_camera_says_so_and_opencv_stays_quiet(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=f"{uri}.*ls /dev/video"):
        open_source(uri)
    assert capfd.readouterr().err == ""


def test_a_link_is_followed_anew_at_each_opening(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failure 4: a camera that comes back under another number."""
    opened: list[Any] = []

    def note(target: int, manner: Manner) -> Capture:
        opened.append(target)
        return Capture(Handle(PICTURE), manner)

    monkeypatch.setattr(_capture, "open_capture", note)
    link = dev / "v4l" / "by-id" / "usb-cam-index0"
    for number in (0, 2):
        (dev / f"video{number}").touch()
        link.unlink(missing_ok=True)
        link.symlink_to(f"../../video{number}")
        open_source("/dev/v4l/by-id/usb-cam-index0")
    link.unlink()
    with pytest.raises(SourceError, match="there is no usb-cam-index0, is it plugged in"):
        open_source("/dev/v4l/by-id/usb-cam-index0")
    assert opened == [0, 2]


def test_why_a_device_gives_nothing_is_told_apart(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = dev / "video0"
    assert "is it plugged in" in camera.trouble(device)
    device.touch()
    assert "is no camera" in camera.trouble(device)
    monkeypatch.setattr(camera.stat, "S_ISCHR", lambda _: True)

    def fails(number: int) -> Callable[..., int]:
        def opening(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        return opening

    real = os.open
    for number, words in {13: "usermod -aG video", 16: "in use by another program", 19: "no longer connected"}.items():
        monkeypatch.setattr(os, "open", fails(number))
        assert words in camera.trouble(device)
    monkeypatch.setattr(os, "open", real)
    assert "gives no picture" in camera.trouble(device)


def test_who_has_the_camera_is_named(dev: Path) -> None:
    device = dev / "video0"
    device.touch()
    assert camera.holder(device) is None
    with subprocess.Popen(["sleep", "30"], stdin=device.open()) as other:
        try:
            assert servers.eventually(lambda: camera.holder(device) == f"sleep (process {other.pid})")
        finally:
            other.kill()


@pytest.mark.parametrize(
    ("model", "word"),
    [("Raspberry Pi 5 Model B", "picamera2://"), ("NVIDIA Jetson Orin Nano", "csi://0"), ("", "video97")],
)
def test_boards_are_told_of_their_own_camera(model: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgefer.devices.board.device_tree_model", lambda: model)
    with pytest.raises(SourceError, match=word) as caught:
        open_source("97")
    assert ("ribbon" in str(caught.value)) is bool(model)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (CaptureOptions(), []),
        (CaptureOptions(fps=15), [("FPS", 15)]),
        (CaptureOptions(width=640, height=480), [("FRAME_WIDTH", 640), ("FRAME_HEIGHT", 480)]),
        (CaptureOptions(width=1280, height=720, fps=30),
         [("FOURCC", cv2.VideoWriter.fourcc(*"MJPG")), ("FRAME_WIDTH", 1280), ("FRAME_HEIGHT", 720), ("FPS", 30)]),
        (CaptureOptions(height=240), [("FRAME_WIDTH", 320), ("FRAME_HEIGHT", 240)]),
    ],
)  # fmt: skip
def test_size_and_rate_are_asked_of_the_driver(options: CaptureOptions, expected: list[tuple[str, float]]) -> None:
    handle = Handle()
    camera._ask(options, handle)  # type: ignore[arg-type]
    assert handle.asked == [(getattr(cv2, f"CAP_PROP_{name}"), value) for name, value in expected]


def test_a_camera_may_send_a_broken_picture_but_not_only_such() -> None:
    handle = Handle(PICTURE, None, None, PICTURE, *[None] * 20)
    with Capture(handle, Manner(cv2.CAP_V4L2, live=True, stops="the camera stopped", patience=5)) as source:
        frames = iter(source)
        assert [frame.index for frame in islice(frames, 2)] == [0, 1]
        assert source.skipped == 2
        with pytest.raises(SourceError, match=r"the camera stopped \(after 2 frames\)"):
            next(frames)
    assert not handle.open


def test_a_stream_that_grows_beyond_measure_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first picture is not all that a stream may send: H.264 and others change their size on the way."""
    monkeypatch.setattr(_capture, "MAX_PICTURE_PIXELS", PICTURE.shape[0] * PICTURE.shape[1])
    handle = Handle(PICTURE, np.vstack([PICTURE, PICTURE[:1]]))
    with Capture(handle, Manner(cv2.CAP_FFMPEG, live=True)) as source, pytest.raises(SourceError, match="at most"):
        list(source)
    assert not handle.open


def test_the_pipeline_for_a_jetson() -> None:
    assert csi.pipeline(1, CaptureOptions(width=1920, height=1080, fps=29.97)) == (
        "nvarguscamerasrc sensor-id=1"
        " ! video/x-raw(memory:NVMM), width=(int)1920, height=(int)1080, framerate=(fraction)2997/100"
        " ! nvvidconv ! video/x-raw, format=(string)BGRx"
        " ! videoconvert ! video/x-raw, format=(string)BGR"
        " ! appsink drop=true max-buffers=1 sync=false"
    )
    assert "width=(int)1280, height=(int)720, framerate=(fraction)30/1" in csi.pipeline(0, CaptureOptions())


def test_a_jetson_camera_is_opened_through_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(gst, "open_pipeline", lambda pipeline, where: opened.append((pipeline, where)))
    for uri, sensor in {"csi://": 0, "csi://0": 0, "csi://1": 1}.items():
        open_source(uri, CaptureOptions(width=640))
        assert opened.pop() == (csi.pipeline(sensor, CaptureOptions(width=640)), f"the camera at {uri}")
    with pytest.raises(SourceError, match="write csi://0"):
        open_source("csi://front")


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_an_opencv_without_gstreamer_says_which_one_has_it() -> None:
    for uri in ("csi://0", "gst:videotestsrc ! videoconvert ! appsink"):
        with pytest.raises(SourceError, match=r"apt install python3-opencv.*--system-site-packages"):
            open_source(uri)
    with pytest.raises(SourceError, match="no appsink"):
        open_source("gst:videotestsrc ! fakesink")


GSTREAMER = """
import json, sys
from itertools import islice
from edgefer.errors import SourceError
from edgefer.runtime.frames import CaptureOptions
from edgefer.runtime.sources import gst, open_source
from tests.runtime.sources.servers import eventually, held
gst.OPEN_TIMEOUT = 3.0
caps = "video/x-raw,width=160,height=120,framerate=25/1,format=BGR"
uri = f"gst:videotestsrc is-live=true pattern=ball ! videoconvert ! {caps} ! appsink drop=true max-buffers=1"
found = {}
for cycle in range(15):
    with open_source(uri, CaptureOptions(rotate=90)) as source:
        frames = list(islice(source, 3))
    if cycle == 3:
        before = held()
eventually(lambda: held() <= before)  # GStreamer's own threads end a little later than its pipeline
found["leaked"] = [after - then for after, then in zip(held(), before)]
found["shape"], found["live"], found["fps"] = frames[0].image.shape, source.live, source.fps
found["indices"] = [frame.index for frame in frames]
found["rising"] = all(b.time > a.time for a, b in zip(frames, frames[1:]))
found["contiguous"] = all(frame.image.flags.c_contiguous and frame.image.dtype == "uint8" for frame in frames)
def error(uri):
    try:
        with open_source(uri) as source:
            list(source)
    except SourceError as error:
        return str(error)
found["ends"] = error(f"gst:videotestsrc num-buffers=5 ! videoconvert ! {caps} ! appsink")
found["wrong"] = error("gst:nonsense user-pw=secret ! appsink")
found["csi"] = error("csi://0")
print(json.dumps(found))
"""


def test_gstreamer_for_real_with_the_systems_opencv() -> None:
    has = "import cv2; assert cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)"
    if subprocess.run([servers.SYSTEM_PYTHON, "-c", has], capture_output=True).returncode:
        pytest.skip("the system's Python has no OpenCV with GStreamer: apt install python3-opencv")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [servers.SYSTEM_PYTHON, "-c", GSTREAMER], env=environment, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    assert found["leaked"] == [0, 0]
    assert found["shape"] == [160, 120, 3]
    assert found["indices"] == [0, 1, 2]
    assert found["live"]
    assert found["rising"]
    assert found["contiguous"]
    assert found["fps"] in (None, 25)
    assert "gives no more pictures" in found["ends"]
    assert "(after 5 frames)" in found["ends"]
    assert "gives no picture" in found["wrong"]
    assert "secret" not in found["wrong"]
    assert "the camera at csi://0 gave no picture for 3 s" in found["csi"]


def test_a_pipeline_that_never_opens_is_given_up_and_closed_when_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst, "OPEN_TIMEOUT", 0.05)
    monkeypatch.setattr(gst, "_stuck", [])
    go = threading.Event()
    handle = Handle(PICTURE)

    def slow() -> Capture:
        assert go.wait(10)
        return Capture(handle, Manner(cv2.CAP_GSTREAMER, live=True))  # type: ignore[arg-type]

    for _ in range(gst.MOST_STUCK):
        with pytest.raises(SourceError, match=r"gave no picture for 0\.05 s"):
            gst._in_time(slow, "it")
    with pytest.raises(SourceError, match="never came back"):
        gst._in_time(slow, "it")
    go.set()
    assert servers.eventually(lambda: not handle.open)
    assert servers.eventually(lambda: not any(thread.is_alive() for thread in gst._stuck))
    assert gst._in_time(lambda: None, "it") is None


@pytest.mark.parametrize(("text", "number"), [("4.6.0", (4, 6)), ("4.10.0-dev", (4, 10))])
def test_versions(text: str, number: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", text)
    assert _opencv.version() == number


class Job:
    """What Picamera2 gives for a picture that is still to come."""

    def __init__(self) -> None:
        self.result: Any = None


class Picamera2:
    """A stand-in with the calls of picamera2's class that the source uses: its answers come from a thread."""

    cameras = 2
    instances: list[Picamera2] = []  # noqa: RUF012 - shared on purpose
    pictures: list[Any] = []  # noqa: RUF012

    def __init__(self, number: int) -> None:
        self.number = number
        self.state = "new"
        Picamera2.instances.append(self)

    @classmethod
    def global_camera_info(cls) -> list[dict[str, int]]:
        return [{"Num": number} for number in range(cls.cameras)]

    def create_video_configuration(self, main: dict[str, Any], controls: dict[str, Any]) -> dict[str, Any]:
        return {"main": main, "controls": controls}

    def configure(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration

    def start(self) -> None:
        assert self.configuration
        self.state = "started"

    def capture_array(self, name: str, wait: bool, signal_function: Callable[[Job], None]) -> Job:
        assert (name, wait, self.state) == ("main", False, "started")
        job = Job()
        if Picamera2.pictures:
            job.result = Picamera2.pictures.pop(0)
            threading.Timer(0.01, signal_function, [job]).start()
        return job

    def wait(self, job: Job) -> Any:
        if isinstance(job.result, Exception):
            raise job.result
        return job.result

    def stop(self) -> None:
        self.state = "stopped"

    def close(self) -> None:
        self.state = "closed"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type[Picamera2]:
    module = types.ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(picamera2, "READ_TIMEOUT", 0.3)
    Picamera2.instances, Picamera2.pictures = [], []
    return Picamera2


def test_a_pi_camera_is_read_and_closed(stand_in: type[Picamera2]) -> None:
    """Against a stand-in with the same calls: picamera2 exists on Raspberry Pi OS only."""
    wide = np.zeros((720, 1300, 3), np.uint8)[:, :1280]  # rows padded, as libcamera's are
    wide[..., 0] = 200
    stand_in.pictures = [wide, wide.copy(), wide.copy()]
    with open_source("picamera2://1", CaptureOptions(width=1280, height=720, fps=20, rotate=90)) as source:
        frames = iter(source)
        images = list(islice(frames, 3))
        assert (source.live, source.fps) == (True, 20)
        with pytest.raises(SourceError, match=r"gave no picture for 0\.3 s \(after 3 frames\)"):
            next(frames)
    (used,) = stand_in.instances
    assert (used.number, used.state) == (1, "closed")
    assert used.configuration == {
        "main": {"size": (1280, 720), "format": "RGB888"}, "controls": {"FrameDurationLimits": (50_000, 50_000)}
    }  # fmt: skip
    assert [frame.index for frame in images] == [0, 1, 2]
    assert images[0].time < images[1].time < images[2].time
    assert all(frame.image.shape == (1280, 720, 3) and frame.image.flags.c_contiguous for frame in images)
    assert images[0].image[0, 0].tolist() == [200, 0, 0]  # blue first, as it came


@pytest.mark.parametrize(
    ("pictures", "match"),
    [([], "gave no picture"), ([RuntimeError("unplugged")], "unplugged"), ([np.zeros((4, 4))], "float64")],
)
def test_a_pi_camera_that_fails_is_closed(pictures: list[Any], match: str, stand_in: type[Picamera2]) -> None:
    """Against the stand-in, which gives nothing, a fault, or no picture."""
    stand_in.pictures = pictures
    with pytest.raises(SourceError, match=match):
        open_source("picamera2://")
    assert [used.state for used in stand_in.instances] == ["closed"]


def test_a_pi_camera_that_is_not_there(stand_in: type[Picamera2]) -> None:
    """Against the stand-in, which has cameras 0 and 1."""
    with pytest.raises(SourceError, match="libcamera sees 2"):
        open_source("picamera2://2")
    with pytest.raises(SourceError, match="write picamera2://"):
        open_source("picamera2://front")


def test_a_libcamera_that_cannot_even_list_is_an_error(
    stand_in: type[Picamera2], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise RuntimeError("Camera Manager failed")

    monkeypatch.setattr(stand_in, "global_camera_info", fails)
    with pytest.raises(SourceError, match="no camera at picamera2://: Camera Manager failed"):
        open_source("picamera2://")


def test_a_picamera2_for_another_numpy_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Raspberry Pi OS 12 says in an environment with numpy 2; it is no ImportError."""
    (tmp_path / "picamera2.py").write_text("raise ValueError('numpy.dtype size changed')")
    monkeypatch.delitem(sys.modules, "picamera2", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"size changed.*pip install 'numpy<2'"):
        open_source("picamera2://")


def test_without_picamera2_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(MissingDependencyError, match=r"python3-picamera2.*--system-site-packages"):
        open_source("picamera2://")
