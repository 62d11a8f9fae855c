"""Motion JPEG over HTTP against servers that are slow, careless or evil, and RTSP servers that die."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgefer.errors import SourceError
from edgefer.runtime.sources import _multipart, _opencv, http, open_source
from edgefer.runtime.sources import rtsp as module
from tests.runtime.sources.conftest import write_video
from tests.runtime.sources.servers import (
    CANARY,
    MULTIPART,
    canaries,
    endless,
    eventually,
    held,
    jpeg,
    mjpeg_process,
    part,
    pictures,
    rtsp_server,
    sends,
    served,
)

IMAGE = np.full((48, 64, 3), 90, np.uint8)
WHOLE = jpeg(IMAGE)

checks_certificates = pytest.mark.skipif(
    _opencv.version() < _opencv.CHECKS_CERTIFICATES, reason="needs OpenCV 4.13, which checks certificates when told to"
)


def refusal(uri: str, match: str) -> float:
    """Open, expect an error without the password, and return how long it took."""
    begin = time.monotonic()
    with pytest.raises(SourceError, match=match) as caught:
        open_source(uri)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return time.monotonic() - begin


def read_to_the_end(uri: str) -> tuple[list[np.ndarray], int, str]:
    """Return the pictures, how many were skipped, and the error that the end is."""
    images = []
    with open_source(uri) as source:
        try:
            images.extend(frame.image for frame in source)
        except SourceError as error:
            return images, source.skipped, str(error)
    pytest.fail("a live source ended quietly")


@pytest.mark.parametrize(
    "chunks",
    [
        [part(WHOLE)] * 3,
        [part(WHOLE, None)] * 3,
        [part(WHOLE, "nonsense")] * 3,
        [b"hello\r\n\r\n", *[part(WHOLE)] * 3],
        [part(WHOLE, boundary=b"----frame")] * 3,
        [part(WHOLE + b"\0" * 13)] * 3,
        [(part(WHOLE) * 3).replace(b"\r\n", b"\n")] if b"\r\n" not in WHOLE else [part(WHOLE)] * 3,
        [part(WHOLE)[i : i + 1] for i in range(len(part(WHOLE)))] + [part(WHOLE)] * 2,
    ],
    ids=["lengths", "no lengths", "lengths of nonsense", "preamble", "dashes", "padding", "line feeds", "byte by byte"],
)
def test_what_cameras_send_is_read(chunks: list[bytes]) -> None:
    with served(sends(MULTIPART, *chunks, b"--frame--\r\n")) as uri:
        images, skipped, error = read_to_the_end(uri)
    assert (len(images), skipped) == (3, 0)
    assert all(np.abs(image.astype(int) - 90).max() <= 2 for image in images)
    assert "the stream ended (after 3 frames)" in error


@pytest.mark.parametrize("kind", ["multipart/x-mixed-replace", "application/octet-stream", "text/plain"])
def test_a_stream_that_names_no_boundary_is_read(kind: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
    with served(sends(head, part(WHOLE, boundary=b"--abc") * 2)) as uri:
        assert len(read_to_the_end(uri)[0]) == 2


def test_chunked_answers_are_read() -> None:
    data = part(WHOLE) * 2
    chunks = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in (data[:100], data[100:]))
    head = MULTIPART.replace(b"HTTP/1.0", b"HTTP/1.1").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    with served(sends(head, chunks, b"0\r\n\r\n")) as uri:
        assert len(read_to_the_end(uri)[0]) == 2


def test_no_pixel_of_an_earlier_picture_comes_out() -> None:
    """Failure 7: OpenCV 4.10 and 4.11 filled what was cut off with the picture decoded before."""
    canary = jpeg(np.full((120, 160, 3), CANARY, np.uint8))
    image = cv2.GaussianBlur((np.random.default_rng(0).random((120, 160, 3)) * 255).astype(np.uint8), (9, 9), 0)
    whole = jpeg(image)
    cuts = [int(n) for n in np.linspace(0, len(whole) - 2, 40)]
    broken = [whole[:n] for n in cuts]
    faked = [whole[:n] + b"\xff\xd9" for n in cuts]
    stream = b"".join(part(canary) + part(data) for data in [*broken, *faked]) + part(whole)
    with served(sends(MULTIPART, stream)) as uri:
        images, skipped, _ = read_to_the_end(uri)
    shown = [canaries(picture) for picture in images]
    assert shown.count(120 * 160) == 80  # the canaries themselves
    assert set(shown) == {0, 120 * 160}
    assert skipped >= len(broken)
    assert len(images) + skipped == 161


@pytest.mark.parametrize("rate", [0.3, 3.0])
def test_lengths_that_lie_cost_pictures_but_not_the_stream(rate: float) -> None:
    liar = part(WHOLE, int(len(WHOLE) * rate))  # type: ignore[arg-type]
    with served(sends(MULTIPART, part(WHOLE), liar, *[part(WHOLE)] * 6)) as uri:
        images, skipped, _ = read_to_the_end(uri)
    assert len(images) >= 4
    assert skipped >= 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        b"GIF89a",
        WHOLE + WHOLE,
        WHOLE.replace(b"\x08\x00\x30\x00\x40", b"\x08\xff\xff\xff\xff"),
        b"\x89PNG\r\n\x1a\n" + cv2.imencode(".png", IMAGE)[1].tobytes()[8:],
        os.urandom(5000).replace(b"--frame", b""),
        b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000,
        b"\xff\xd8" + b"\xff" * 500_000,
    ],
    ids=["nothing", "no frame", "gif", "two", "monstrous", "png", "noise", "segments", "fill bytes"],
)
def test_what_is_no_picture_is_skipped_and_counted(data: bytes) -> None:
    with served(sends(MULTIPART, part(WHOLE), part(data), part(WHOLE))) as uri:
        images, skipped, error = read_to_the_end(uri)
    assert (len(images), skipped) == (2, 1)
    assert "1 broken" in error


def test_a_monstrous_picture_is_not_decoded(monkeypatch: pytest.MonkeyPatch, hurried: float) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with served(sends(MULTIPART, part(WHOLE.replace(b"\x08\x00\x30\x00\x40", b"\x08\xff\xff\xff\xff")))) as uri:
        refusal(uri, "1 broken")


@pytest.mark.parametrize(
    ("chunks", "match"),
    [
        ([MULTIPART, part(b"", 10_000_000_000)], "10000000000 bytes was announced"),
        ([MULTIPART, b"--frame\r\n", *[b"X-A: b\r\n"] * 100], "more than 64 header lines"),
        ([MULTIPART, b"--frame\r\n" + b"X-A: " + b"b" * 2_000_000], "more than 64 header lines"),
        ([b"HTTP/1.1 200 OK\r\n", *[b"X-A: b\r\n"] * 10_000], "headers"),
        ([b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 200_000], "no camera"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "no camera"),
        ([b"\0" * 100_000], "no camera"),
        ([], "no camera"),
        ([MULTIPART], "the stream ended"),
        ([MULTIPART, b"--frame--\r\n"], "the stream ended"),
        ([b"HTTP/1.1 404 Not Found\r\n\r\n"], "answered 404"),
        ([b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"], "web page"),
        ([b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + WHOLE], "a single picture"),
        ([b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"], "on to file"),
        ([b"HTTP/1.1 302 Found\r\nLocation: gopher://h/\r\n\r\n"], "on to gopher"),
        ([b"HTTP/1.1 302 Found\r\n\r\n"], "no camera is looked for"),
        ([b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n"], "more than 5 redirections"),
        ([b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=x\r\n\r\n"], r"password \(Digest\)"),
    ],
)
def test_servers_that_are_no_camera_are_errors_at_once(chunks: list[bytes], match: str) -> None:
    with served(sends(*chunks)) as uri:
        assert refusal(uri.replace("http://", "http://me:secret@"), match) < 3


def test_endless_pictures_and_garbage_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_multipart, "MAX_PART", 1_000_000)
    with served(sends(MULTIPART, b"--frame\r\n\r\n", *[b"\0" * 65_536] * 40)) as uri:
        refusal(uri, "more than 1000000 bytes")
    with served(sends(MULTIPART, *[b"\0" * 65_536] * 40)) as uri:
        refusal(uri, "1000000 bytes came without")


def trickle(begin: bytes, drop: bytes) -> Callable[[socket.socket, bytes], None]:
    def handler(connection: socket.socket, request: bytes) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(drop)
            time.sleep(0.05)

    return handler


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (MULTIPART, b"-"),
        (MULTIPART + b"--frame\r\n", b"X"),
        (MULTIPART + b"--frame\r\n\r\n", b"\0"),
        (MULTIPART, part(b"nothing")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    ],
    ids=["status", "headers", "preamble", "part headers", "body", "broken pictures", "chunk size"],
)
def test_a_server_that_trickles_cannot_hold_us(begin: bytes, drop: bytes, hurried: float) -> None:
    with served(trickle(begin, drop)) as uri:
        assert refusal(uri, "no camera|no more pictures") < 2.5 * hurried


def test_a_server_that_says_nothing_is_an_error_in_time(hurried: float) -> None:
    with served(sends(then="wait")) as uri:
        assert refusal(uri, "in time") < 2 * hurried


def test_a_connection_that_is_refused_is_an_error_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for scheme in ("http", "https", "rtsp"):
            address = f"{scheme}://me:secret@127.0.0.1:{free.getsockname()[1]}/live?token=secret"
            assert refusal(address, f"no camera at {scheme}://…@127") < 3


@pytest.mark.parametrize("uri", ["http://", "http:///x", "http://host:99999/", "http://[::1/", "http://h\u2028st/"])
def test_broken_addresses_are_errors(uri: str) -> None:
    refusal(uri, "no camera")


@pytest.mark.parametrize("password", ["secret/x", "secret?x", "secret#x", "secret@ho\u2100st:port/x"])
def test_a_password_that_makes_no_url_is_not_repeated(password: str) -> None:
    """Python's own words for it would be: Port could not be cast to integer value as 'secret'."""
    refusal(f"http://me:{password}@127.0.0.1/live", "the address is no URL; in a password write")


def test_a_redirection_to_no_url_is_an_error() -> None:
    with served(sends(b"HTTP/1.1 302 Found\r\nLocation: http://me:secret/x@h/\r\n\r\n")) as uri:
        refusal(uri, "the address is no URL")


@pytest.fixture
def video_over_tls(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, list[str]]]:
    """A server that shows the certificate of localhost, then the one that `param` names; and who was asked for what."""
    for name in ("localhost", "impostor"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    write_video(tmp_path / "clip.avi", 5)
    trusted = tmp_path / "trusted.pem"
    trusted.write_text("".join((tmp_path / f"{name}.pem").read_text() for name in ("localhost", "impostor")))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    video, asked = (tmp_path / "clip.avi").read_bytes(), list[str]()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: video/avi\r\nContent-Length: {len(video)}\r\n\r\n".encode()

    def serve() -> None:
        for name in ("localhost", request.param):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as secure:
                    secure.recv(4096)
                    asked.append(name)
                    secure.sendall(head + video)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://me:secret@localhost:{listener.getsockname()[1]}/clip.avi", asked
        thread.join(20)


@checks_certificates
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
@pytest.mark.parametrize("video_over_tls", ["impostor"], indirect=True)
def test_ffmpeg_talks_to_nobody_with_a_certificate_of_another_name(
    video_over_tls: tuple[str, list[str]], hurried: float
) -> None:
    """It connects anew, and by itself would check nothing: whoever sits between would get the password."""
    uri, asked = video_over_tls
    refusal(uri, "cannot be read as a video")
    assert asked == ["localhost"]


@checks_certificates
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")
@pytest.mark.parametrize("video_over_tls", ["localhost"], indirect=True)
def test_ffmpeg_reads_from_whom_the_certificate_names(video_over_tls: tuple[str, list[str]]) -> None:
    uri, asked = video_over_tls
    with open_source(uri) as source:
        assert next(iter(source)).image.shape == (240, 320, 3)
    assert asked == ["localhost", "localhost"]


def test_the_password_is_sent_and_goes_to_no_other_host() -> None:
    seen: list[bytes] = []
    secret = base64.b64encode(b"me:se:cret/secret")

    def camera(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        if b"GET /here?a=b%20c" in request:
            target = b"/there" if len(seen) == 1 else other.encode()
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + target + b"\r\n\r\n")
        else:
            connection.sendall(MULTIPART + part(WHOLE))

    with served(camera) as other, served(camera, "/here?a=b c") as uri:
        asked = uri.replace("http://", "http://me:se%3Acret%2Fsecret@")
        for _ in range(2):
            with open_source(asked) as source:
                assert next(iter(source)).image.shape == (48, 64, 3)
    assert [secret in request for request in seen] == [True, True, True, False]


def test_only_the_newest_error_names_how_far_it_came() -> None:
    with served(sends(MULTIPART, part(WHOLE) * 4)) as uri:
        assert "after 4 frames" in read_to_the_end(uri)[2]


def test_the_connection_is_closed_with_the_source_and_after_errors() -> None:
    with served(endless) as uri:
        before = held()[0]
        with open_source(uri) as source:
            next(iter(source))
        assert eventually(lambda: held()[0] <= before)
    with served(sends(MULTIPART, part(b"no picture"))) as uri:
        before = held()[0]
        for _ in range(20):
            refusal(uri, "1 broken")
        assert eventually(lambda: held()[0] <= before)


def test_a_stopped_mjpeg_server_is_an_error_in_time(hurried: float) -> None:
    with mjpeg_process() as (server, uri), open_source(uri) as source:
        frames = iter(source)
        assert next(frames).image.shape == (240, 320, 3)
        server.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(SourceError, match="no whole picture came for 1 s"):
            list(islice(frames, 10_000))
        assert time.monotonic() - begin < 3 * hurried
        assert refusal(uri, "in time") < 2 * hurried
        server.send_signal(signal.SIGCONT)
        with open_source(uri) as again:
            next(iter(again))


def test_a_stopped_and_a_killed_rtsp_server_is_an_error_in_time(rtsp: str, hurried: float) -> None:
    with rtsp_server() as (server, uri), open_source(uri) as source:
        frames = iter(source)
        assert next(frames).image.shape == (120, 160, 3)
        server.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        with pytest.raises(SourceError, match=r"gives no more pictures.*after \d+ frames"):
            list(islice(frames, 10_000))
        assert time.monotonic() - begin < 5 * hurried
        assert refusal(uri, "no camera at rtsp") < 5 * hurried
        server.kill()
        assert refusal(uri, "no camera at rtsp") < 5 * hurried


def test_the_options_for_rtsp_are_in_force_and_the_users_win(rtsp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = dict(option.split(";") for option in module.OPTIONS.split("|"))["protocol_whitelist"].split(",")
    assert not {"file", "concat", "subfile", "http", "pipe", "data"} & set(allowed)
    monkeypatch.setattr(module, "OPTIONS", "protocol_whitelist;file")
    refusal(rtsp, "no camera at rtsp")
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;rtsp,rtp,tcp|rtsp_transport;tcp")
    with open_source(rtsp) as source:
        next(iter(source))
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "protocol_whitelist;rtsp,rtp,tcp|rtsp_transport;tcp"


def test_a_video_over_http_is_read_and_its_end_is_an_error(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", 4)
    data = (tmp_path / "clip.avi").read_bytes()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: video/x-msvideo\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    with served(sends(head, data), "/clip.avi") as uri:
        images, _, error = read_to_the_end(uri)
    assert len(images) == 4
    assert "no more pictures" in error


@pytest.mark.parametrize("inner", ["file://{path}", "{path}", "concat:{path}|{path}"])
def test_a_playlist_over_http_opens_no_file(inner: str, tmp_path: Path, hurried: float) -> None:
    write_video(tmp_path / "clip.mp4")
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{inner.format(path=tmp_path / 'clip.mp4')}\n#EXT-X-ENDLIST\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n"
    with served(sends(head, text.encode()), "/live.m3u8") as uri:
        refusal(uri, "cannot be read as a video")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: apt install ffmpeg")
def test_ffmpeg_as_a_camera_and_its_end(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}/cam.mjpg"
    command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(tmp_path / "clip.mp4")]
    command += ["-c:v", "mjpeg", "-f", "mpjpeg", "-listen", "1", uri]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listening = f":{port:04X} 00000000:0000 0A"
        assert eventually(lambda: listening in Path("/proc/net/tcp").read_text())
        with open_source(uri) as source:
            frames = iter(source)
            assert [frame.index for frame in islice(frames, 12)] == list(range(12))
            assert source.skipped == 0
            server.kill()
            with pytest.raises(SourceError, match=r"the stream ended|reset"):
                list(islice(frames, 10_000))
    finally:
        server.kill()
        server.wait(10)


def test_opencv_says_nothing_of_broken_pictures_and_streams() -> None:
    """In a process of its own: how much FFmpeg says is settled at its first use."""
    script = (
        "import sys\nfrom edgefer.errors import SourceError\nfrom edgefer.runtime.sources import open_source\n"
        "for uri in sys.argv[1:]:\n"
        "    try:\n        print(sum(1 for _ in open_source(uri)))\n"
        "    except SourceError as error:\n        print(error)\n"
    )
    whole = jpeg(pictures(1)[0])
    with served(sends(MULTIPART, part(whole[:2000]), part(whole))) as uri, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uris = [uri, f"rtsp://127.0.0.1:{free.getsockname()[1]}/live"]
        done = subprocess.run([sys.executable, "-c", script, *uris], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert "ended" in done.stdout.splitlines()[0]
    assert "no camera" in done.stdout.splitlines()[1]


def test_an_opencv_that_checks_no_certificates_gets_no_https_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV before 4.13 ignores the options about certificates; plain http is read, and may not lead to https."""
    monkeypatch.setattr(cv2, "__version__", "4.12.0")
    with pytest.raises(SourceError, match="cannot be told to check certificates"):
        http._options("https://cam/video.mp4")
    allowed = dict(option.split(";") for option in http._options("http://cam/video.mp4").split("|"))[
        "protocol_whitelist"
    ]
    assert set(allowed.split(",")) == {"http", "httpproxy", "tcp", "crypto", "hls"}
