"""What the tests of the sources share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from edgefer.runtime.sources import _capture
from tests.runtime.sources import servers

FRAMES = 6
HAS_RTSP = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten the time in which a picture must come."""
    monkeypatch.setattr(_capture, "READ_TIMEOUT", 1.0)
    return 1.0


@pytest.fixture(scope="session")
def rtsp() -> Iterator[str]:
    if subprocess.run([servers.SYSTEM_PYTHON, "-c", HAS_RTSP], capture_output=True).returncode:
        pytest.skip("the system's Python has no gst-rtsp-server: apt install gir1.2-gst-rtsp-server-1.0 python3-gi")
    with servers.rtsp_server() as (_, uri):
        yield uri


@pytest.fixture(scope="session")
def mjpeg() -> Iterator[str]:
    with servers.served(servers.endless) as uri:
        yield uri


def write_video(path: Path, count: int = FRAMES) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240))
    for image in servers.pictures(count):
        writer.write(image)
    writer.release()


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], tuple[str, int]]:
    """Return a function: kind → a URI of that kind, and how many frames to expect of the first FRAMES."""

    def uri(kind: str) -> tuple[str, int]:
        if kind == "picture":
            cv2.imwrite(str(tmp_path / "one.png"), servers.pictures(1)[0])
            return str(tmp_path / "one.png"), 1
        if kind == "folder":
            for number, image in enumerate(servers.pictures()):
                cv2.imwrite(str(tmp_path / f"{number + 7}.png"), image)
            return str(tmp_path), FRAMES
        if kind in ("video", "loop"):
            write_video(tmp_path / "clip.mp4", FRAMES if kind == "video" else 4)
            return ("loop:" if kind == "loop" else "") + str(tmp_path / "clip.mp4"), FRAMES
        if kind == "demo":
            return f"demo:{FRAMES}", FRAMES
        return str(request.getfixturevalue({"http": "mjpeg", "rtsp": "rtsp"}[kind])), FRAMES

    return uri
