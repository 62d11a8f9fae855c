import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer import cartoon, plugins
from edgefer.errors import SourceError
from edgefer.runtime.sources import camera, open_source

FRAMES = 6
KINDS = ["picture", "folder", "video", "demo", "camera"]


def pictures(count: int = FRAMES) -> list[np.ndarray]:
    return [image for image, _ in cartoon.clip(count, size=(320, 240), faces=1)]


def write_video(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240))
    for image in pictures():
        writer.write(image)
    writer.release()


def mjpeg(frames: int | None) -> Iterator[ThreadingHTTPServer]:
    """Serve a camera as network cameras do; `frames` None is without end."""
    parts = [cv2.imencode(".jpg", image)[1].tobytes() for image in pictures()]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            sent = 0
            try:
                while frames is None or sent < frames:
                    part = parts[sent % len(parts)]
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
                    self.wfile.write(head.encode() + part + b"\r\n")
                    sent += 1
            except OSError:  # the reader has gone
                pass

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def address(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/stream.mjpg"


@pytest.fixture(scope="module")
def endless() -> Iterator[str]:
    for server in mjpeg(None):
        yield address(server)


@pytest.fixture(scope="module")
def ending() -> Iterator[str]:
    for server in mjpeg(40):
        yield address(server)


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], tuple[str, int]]:
    """Return a function: kind → a URI of that kind, and how many frames to expect."""

    def uri(kind: str) -> tuple[str, int]:
        if kind == "picture":
            cv2.imwrite(str(tmp_path / "one.png"), pictures(1)[0])
            return str(tmp_path / "one.png"), 1
        if kind == "folder":
            for number, image in enumerate(pictures()):
                cv2.imwrite(str(tmp_path / f"{number + 7}.png"), image)
            return str(tmp_path), FRAMES
        if kind == "video":
            write_video(tmp_path / "clip.mp4")
            return str(tmp_path / "clip.mp4"), FRAMES
        if kind == "demo":
            return f"demo:{FRAMES}", FRAMES
        return str(request.getfixturevalue("endless")), FRAMES

    return uri


def test_every_kind_of_source_is_in_the_suite() -> None:
    assert plugins.names("edgefer.runtime.sources") == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_source(kind: str, make: Callable[[str], tuple[str, int]]) -> None:
    uri, expected = make(kind)
    with open_source(uri) as source:
        frames = list(islice(source, FRAMES))
        assert source.skipped == 0
        assert source.live is (kind == "camera")
        assert source.fps is None or 0 < source.fps <= 1000
    assert [frame.index for frame in frames] == list(range(expected))
    times = [frame.time for frame in frames]
    assert all(b > a for a, b in pairwise(times))
    assert 0 <= times[0] < 10
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous
        assert (frame.name is not None) == (kind in ("picture", "folder"))
    if len(frames) > 1:
        assert frames[0].image is not frames[1].image
        assert (frames[0].image != frames[-1].image).any()


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_and_no_other_takes_a_uri(kind: str, make: Callable[[str], tuple[str, int]]) -> None:
    uri, _ = make(kind)
    taken = [name for name in KINDS if plugins.load("edgefer.runtime.sources", name, SourceError, "").matches(uri)]
    assert taken == [kind]


def test_folders_are_in_natural_order_and_unreadable_pictures_are_counted(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "1.png"):
        cv2.imwrite(str(tmp_path / name), pictures(1)[0])
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    (tmp_path / "4.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture either")
    with open_source(str(tmp_path)) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["1.png", "2.png", "10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert source.skipped == 2


def test_a_folder_of_broken_pictures_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    with open_source(str(tmp_path)) as source, pytest.raises(SourceError, match="1 tried"):
        list(source)


def test_pictures_with_odd_names_and_grey_ones_open(tmp_path: Path) -> None:
    path = tmp_path / "100% söß.PNG"
    path.write_bytes(cv2.imencode(".png", np.full((20, 30), 90, np.uint8))[1].tobytes())
    with open_source(str(path)) as source:
        (frame,) = source
    assert frame.image.shape == (20, 30, 3)


def test_media_time_follows_the_frame_rate(make: Callable[[str], tuple[str, int]]) -> None:
    uri, _ = make("video")
    with open_source(uri) as source:
        assert source.fps == pytest.approx(10)
        assert [frame.time for frame in source] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=0.01)


@pytest.mark.parametrize("name", ["gone.jpg", "gone.mp4", "gone/"])
def test_what_is_missing_is_an_error_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gone"):
        open_source(str(tmp_path) + "/" + name)


@pytest.mark.parametrize("name", ["broken.jpg", "broken.mp4", "empty.mp4"])
def test_what_is_broken_is_an_error_at_once(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"\x00\x01nonsense" * 50)
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(str(tmp_path / name))
    assert capfd.readouterr().err == ""


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no picture in"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("uri", ["", "-1", "webcam", "ftp://a/b.mp4", "file:///etc/passwd", "concat:a.mp4|b", "demos"])
def test_unknown_forms_are_refused_with_the_known_ones(uri: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    if "mp4" not in uri or "://" in uri:
        assert all(word in str(caught.value) for word in ("camera (0", "demo", "folder", "picture", "video"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["demo:", "demo:0", "demo:x", "demo:-3", "demo:99999999999"])
def test_demos_of_no_length_are_refused(uri: str) -> None:
    with pytest.raises(SourceError, match="number of frames"):
        open_source(uri)


@pytest.mark.parametrize("uri", ["97", "/dev/video97", "/dev/null"])
def test_no_camera_says_so_and_opencv_stays_quiet(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=f"{uri}.*ls /dev/video"):
        open_source(uri)
    assert capfd.readouterr().err == ""


def test_a_stream_that_nobody_serves_is_an_error_without_the_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"rtsp://me:secret@127.0.0.1:{free.getsockname()[1]}/live"
    with pytest.raises(SourceError, match="no camera at rtsp://…@127") as caught:
        open_source(uri)
    assert "secret" not in str(caught.value)


def test_an_http_stream_may_end(ending: str) -> None:
    with open_source(ending) as source:
        assert 30 <= len(list(source)) <= 41


def test_a_camera_that_stops_is_an_error(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = camera.open_source(ending)
    source.stops = "the camera at 0 gives no more pictures"  # type: ignore[attr-defined]
    with source, pytest.raises(SourceError, match=r"no more pictures \(after \d+ frames\)"):
        list(source)
