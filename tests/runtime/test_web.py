"""The web preview as its clients meet it: a real server on loopback, and sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from edgefer.errors import MissingDependencyError, SinkError
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box, Pixels
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FaceResult, FrameResult, Health
from edgefer.runtime.sinks.web import WebPreview

pytest.importorskip("aiohttp", reason="the web extra is not installed")
from edgefer.runtime.sinks._web import pictures, routes, sending, server

TOKEN = "correct-horse-battery"
ROUTES = ("/", "/stream", "/events", "/health", "/nothing")
NOISE = np.random.default_rng(5).integers(0, 256, (360, 640, 3), np.uint8)
SCORES = {label: 0.1 for label in FER2013_LABELS} | {"happy": 0.4}


def preview(**options: Any) -> WebPreview:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "token": None, "labels": FER2013_LABELS, "title": "test"}
    return WebPreview(**(given | options))


@pytest.fixture
def open_preview() -> Iterator[Callable[..., WebPreview]]:
    """Makes previews that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> WebPreview:
            sink = preview(**options)
            stack.callback(sink.close)
            return sink

        yield make


def port_of(sink: WebPreview) -> int:
    return int(sink.address.rstrip("/").rpartition(":")[2])


def shot(index: int = 0, image: Pixels = NOISE, faces: int = 1) -> tuple[Frame, FrameResult]:
    found = tuple(FaceResult(Box(200, 100, 120, 120), n, "happy", 0.4, SCORES) for n in range(faces))
    return Frame(index, index / 25, image), FrameResult(index, index / 25, found, {"detect": 8.0})


def health(**values: Any) -> Health:
    given: dict[str, Any] = {"camera": "up", "seconds": 2.0, "frames": 50, "fps": 25.0, "dropped": 0, "reconnects": 0}
    return Health(**(given | {"stage_ms": {"detect": 8.0}, "temperature": 50.0} | values))


def ask(sink: WebPreview, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """Return the answer, of which the head is read; underscores in names of headers stand for hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(sink), timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    return connection.getresponse()


def status(sink: WebPreview, path: str, method: str = "GET", **headers: str) -> int:
    with ask(sink, path, method, **headers) as answer:
        return answer.status


def raw(sink: WebPreview, data: bytes, receive_buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(10)
    client.connect(("127.0.0.1", port_of(sink)))
    client.sendall(data)
    return client


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def wait_until(ask: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@contextlib.contextmanager
def fed(sink: WebPreview, image: Pixels = NOISE) -> Iterator[None]:
    stop = threading.Event()

    def feed() -> None:
        index = 0
        while not stop.wait(0.02):
            sink.write(*shot(index, image))
            index += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def next_picture(answer: http.client.HTTPResponse) -> Pixels:
    """Return the next picture of a stream, decoded."""
    length = 0
    while line := answer.readline().strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        elif line.startswith(b"--"):
            continue
    picture = cv2.imdecode(np.frombuffer(answer.read(length), np.uint8), cv2.IMREAD_COLOR)
    assert answer.readline() == b"\r\n"
    return np.asarray(picture, np.uint8)


def next_event(answer: http.client.HTTPResponse, name: str) -> dict[str, Any]:
    end = time.monotonic() + 10
    while (line := answer.readline()) and time.monotonic() < end:
        if line == f"event: {name}\n".encode():
            while not (line := answer.readline()).startswith(b"data: "):
                pass
            return dict(json.loads(line[6:], parse_constant=lambda found: pytest.fail(f"{found} is no JSON")))
    raise AssertionError(f"there was no event {name}")


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_needs_the_token(path: str, open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview(token=TOKEN)
    sink.write(*shot())
    right = 404 if path == "/nothing" else 200
    for method in ("GET", "HEAD"):
        assert status(sink, path, method) == 401
        assert status(sink, f"{path}?token={TOKEN}", method) == right
    assert status(sink, path, "POST") == 401
    assert status(sink, f"{path}?token={TOKEN}", "POST") == 405
    for wrong in ("", "wrong", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "%ff%00", "%c3%bc"):
        assert status(sink, f"{path}?token={wrong}") == 401
        assert status(sink, path, Authorization=f"Bearer {wrong}", Cookie=f"edgefer_{port_of(sink)}={wrong}") == 401
    assert status(sink, path, Authorization=f"Bearer {TOKEN}") == right
    cookie = ask(sink, f"/?token={TOKEN}").headers["Set-Cookie"]
    assert status(sink, path, Cookie=cookie.split(";")[0]) == right


def test_the_cookie_is_not_the_token_and_no_script_or_other_site_gets_it(
    open_preview: Callable[..., WebPreview],
) -> None:
    sink = open_preview(token=TOKEN)
    cookie = ask(sink, "/", Authorization=f"Bearer {TOKEN}").headers["Set-Cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert TOKEN not in cookie
    assert ask(sink, "/").headers["Set-Cookie"] is None
    assert ask(open_preview(), "/").headers["Set-Cookie"] is None


def test_an_address_that_others_reach_gets_a_token_of_its_own(open_preview: Callable[..., WebPreview]) -> None:
    one, two = open_preview(host="0.0.0.0"), open_preview(host="0.0.0.0")
    assert one.guarded
    assert "0.0.0.0" not in one.address
    token = one.link.partition("?token=")[2]
    assert len(token) >= 24
    assert one.link == f"{one.address}?token={token}"
    assert token not in two.link
    assert status(one, "/") == 401
    assert status(one, f"/?token={token}") == 200
    assert status(one, f"/?token={token}", Host="camera.local:8080") == 200


def test_a_token_of_the_user_is_in_no_link(open_preview: Callable[..., WebPreview]) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        sink = open_preview(host=host, token=TOKEN)
        assert sink.guarded
        assert sink.link == sink.address
    free = open_preview()
    assert not free.guarded
    assert free.link == free.address == f"http://127.0.0.1:{port_of(free)}/"


@pytest.mark.parametrize("token", ["", "short", "x" * 257, "with spaces in it", "ümlaute-ümlaute"])
def test_useless_tokens_are_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(SinkError, match="token") as caught:
        preview(token=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:9999", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("192.168.1.5", 403),
        ("[::1", 403),
        ("", 403),
        ("user@localhost:80@evil.example", 403),
    ],
)
def test_without_token_only_names_of_this_machine_are_answered(
    host: str, expected: int, open_preview: Callable[..., WebPreview]
) -> None:
    assert status(open_preview(), "/", Host=host) == expected


def test_other_pages_are_not_answered(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview()
    host = f"127.0.0.1:{port_of(sink)}"
    assert status(sink, "/events", Origin=f"http://{host}") == 200
    for origin in ("http://evil.example", "null", "", f"http://{host}.evil.example", "http://127.0.0.1:1"):
        assert status(sink, "/events", Origin=origin) == 403
    assert status(sink, "/stream", Sec_Fetch_Site="same-origin") == 200
    for site in ("cross-site", "same-site"):
        assert status(sink, "/stream", Sec_Fetch_Site=site, Sec_Fetch_Dest="image") == 403
        assert status(sink, "/", Sec_Fetch_Site=site, Sec_Fetch_Dest="iframe") == 403
        assert status(sink, "/", Sec_Fetch_Site=site, Sec_Fetch_Dest="document") == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(method: str, open_preview: Callable[..., WebPreview]) -> None:
    with ask(open_preview(), "/", method) as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/page.html", "/../etc/passwd", "/%2e%2e/etc/passwd", "//", "/stream/", "/health/x"])
def test_there_are_no_other_paths(path: str, open_preview: Callable[..., WebPreview]) -> None:
    assert status(open_preview(), path) == 404


@pytest.mark.parametrize(
    "data",
    [
        b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /?token=correct-horse-battery HTTP/9\r\n\r\n",
        b"GET /?token=correct-horse-battery" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\ncorrect-horse-battery\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03correct-horse-battery\r\n\r\n",
    ],
)
def test_malformed_requests_are_refused_and_leave_no_trace(
    data: bytes,
    open_preview: Callable[..., WebPreview],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = open_preview(token=TOKEN)
    with raw(sink, data) as client:
        assert client.recv(100).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert status(sink, f"/?token={TOKEN}") == 200
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_tells_browsers_to_be_careful(path: str, open_preview: Callable[..., WebPreview]) -> None:
    guarded = open_preview(token=TOKEN)
    for answer in (ask(open_preview(), path), ask(guarded, path), ask(guarded, f"{path}?token={TOKEN}", "POST")):
        with answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert answer.headers["Server"] == "edgefer"


def test_the_policy_names_the_style_and_the_script_of_the_page(open_preview: Callable[..., WebPreview]) -> None:
    with ask(open_preview(), "/") as answer:
        page = answer.read().decode()
    for tag in ("style", "script"):
        parts = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        assert len(parts) == 1
        digest = base64.b64encode(hashlib.sha256(parts[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}';" in answer.headers["Content-Security-Policy"]
    assert "page.css" not in page
    assert "page.js" not in page
    assert set(re.findall(r"https?://[^'\"\s]*", page)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "style=" not in page


def test_events_tell_labels_health_and_faces_in_finite_numbers(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview(title="Tür \ud800 </script>", labels=("happy", "own"))
    sink.tell(health(fps=float("inf"), temperature=float("nan"), stage_ms={"detect": float("nan")}))
    with ask(sink, "/events") as answer:
        assert answer.readline() == b"retry: 2000\n"
        hello = next_event(answer, "hello")
        assert hello["title"] == "Tür \ud800 </script>"
        assert hello["labels"] == ["happy", "own"]
        assert hello["colours"][0] == "#fac828"
        assert hello["picture"]
        told = next_event(answer, "health")
        assert (told["fps"], told["temperature"], told["stage_ms"]) == (None, None, {"detect": None})
        assert (told["camera"], told["frames"]) == ("up", 50)
        nan = FaceResult(Box(np.int32(1), 2, 3, 4), 7, "happy", float("nan"), {"happy": float("nan")}, certain=False)  # type: ignore[arg-type]
        sink.write(Frame(3, 0.12, NOISE), FrameResult(3, float("nan"), (nan,), {}))
        face = {"box": [1, 2, 3, 4], "id": 7, "label": "uncertain", "confidence": None, "certain": False}
        event = next_event(answer, "frame")
        assert event == {"frame": 3, "time": None, "size": [640, 360], "faces": [face | {"scores": {"happy": None}}]}


def test_health_is_for_monitors(open_preview: Callable[..., WebPreview], monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_preview()

    def told() -> tuple[int, dict[str, Any]]:
        with ask(sink, "/health") as answer:
            return answer.status, json.loads(answer.read())

    assert told() == (503, {"healthy": False, "frame_age": None})
    sink.write(*shot())
    sink.tell(health())
    wait_until(lambda: told()[1].get("frames") == 50)
    assert told()[0] == 200
    assert told()[1]["healthy"]
    sink.tell(health(camera="lost"))
    wait_until(lambda: told()[0] == 503)
    sink.tell(health())
    wait_until(lambda: told()[0] == 200)
    monkeypatch.setattr(routes, "STALE_SECONDS", 0.01)
    wait_until(lambda: told()[0] == 503)
    assert not told()[1]["healthy"]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2160, 3840), (540, 960)),
        ((1920, 1080), (960, 540)),
        ((1, 1), (1, 1)),
        ((3, 2000), (1, 960)),
        ((48, 48), (48, 48)),
    ],
)
def test_pictures_fit_a_phone(
    shape: tuple[int, int], size: tuple[int, int], open_preview: Callable[..., WebPreview]
) -> None:
    sink = open_preview()
    with ask(sink, "/stream") as answer:
        assert answer.headers["Content-Type"] == "multipart/x-mixed-replace; boundary=frame"
        with fed(sink, np.zeros((*shape, 3), np.uint8)):
            assert next_picture(answer).shape == (*size, 3)


def test_opencv_reads_the_stream(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview(token=TOKEN)
    with fed(sink):
        capture = cv2.VideoCapture(f"{sink.address}stream?token={TOKEN}", cv2.CAP_FFMPEG)
        read = [capture.read() for _ in range(3)]
        capture.release()
    assert [(good, picture.shape) for good, picture in read] == [(True, (360, 640, 3))] * 3


def test_blurred_faces_never_leave_the_machine(open_preview: Callable[..., WebPreview]) -> None:
    def inside(blur: bool) -> Pixels:
        sink = open_preview(blur=blur)
        with ask(sink, "/stream") as answer, fed(sink):
            return next_picture(answer)

    plain, blurred = inside(False), inside(True)
    face, elsewhere = np.s_[110:210, 210:310], np.s_[230:350, 400:630]

    def likeness(served: Pixels, part: tuple[slice, slice]) -> float:
        return float(np.corrcoef(served[part].mean(2).ravel(), NOISE[part].mean(2).ravel())[0, 1])

    assert likeness(plain, face) > 0.8
    assert abs(likeness(blurred, face)) < 0.2
    assert blurred[face].std() < 0.2 * plain[face].std()
    assert likeness(blurred, elsewhere) > 0.8


def test_without_picture_there_is_no_stream(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview(picture=False)
    assert status(sink, "/stream") == 404
    with ask(sink, "/events") as answer, fed(sink):
        assert not next_event(answer, "hello")["picture"]
        assert len(next_event(answer, "frame")["faces"]) == 1


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts pictures as they are made."""
    made: list[int] = []
    jpeg = pictures.jpeg

    def counted(image: Pixels, faces: Any, blur: bool) -> bytes:
        made.append(1)
        return jpeg(image, faces, blur)

    monkeypatch.setattr(pictures, "jpeg", counted)
    return made


def test_nothing_is_drawn_while_nobody_watches(drawn: list[int], open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview()
    with fed(sink):
        with ask(sink, "/events") as answer:
            assert next_event(answer, "frame")
        assert drawn == []
        with ask(sink, "/stream") as answer:
            next_picture(answer)
        assert drawn
        wait_until(lambda: sink._feed.pictures.watchers == 0)
        time.sleep(0.1)  # one may be in the making
        before = len(drawn)
        time.sleep(0.3)
        assert len(drawn) == before
    assert not sink._feed._slot
    assert sink._feed.pictures._value is None


def test_a_picture_is_drawn_once_for_all_and_fifteen_times_a_second(
    drawn: list[int], open_preview: Callable[..., WebPreview]
) -> None:
    sink = open_preview()
    with contextlib.ExitStack() as stack, fed(sink):
        answers = [stack.enter_context(ask(sink, "/stream")) for _ in range(4)]
        began, before = time.monotonic(), len(drawn)
        for _ in range(6):
            for answer in answers:
                next_picture(answer)
        took, made = time.monotonic() - began, len(drawn) - before
    assert took >= 4 / 15
    assert made <= took * 15 + 2


@pytest.mark.parametrize("path", ["/stream", "/events"])
def test_one_watcher_too_many_is_told_so(path: str, open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(ask(sink, path))
        assert [stack.enter_context(ask(sink, path)).status for _ in range(15)] == [200] * 15
        refused = stack.enter_context(ask(sink, path))
        assert refused.status == 503
        assert refused.read() == b"16 people are watching already; try again later.\n"
        first.close()
        wait_until(lambda: status(sink, path) == 200)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_two_hundred_clients_that_never_read_or_vanish_leave_nothing(
    open_preview: Callable[..., WebPreview], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ASK_SECONDS", 0.5)
    monkeypatch.setattr(sending, "WRITE_SECONDS", 0.5)
    sink = open_preview()
    loop = sink._server._loop
    assert loop is not None
    with fed(sink):
        with ask(sink, "/stream") as answer:  # all threads are there now
            next_picture(answer)
        wait_until(lambda: sink._feed.pictures.watchers == 0)
        time.sleep(0.1)
        threads, files, tasks = threading.active_count(), descriptors(), len(asyncio.all_tasks(loop))
        clients = []
        for number in range(200):
            data = (request("/stream"), b"", request("/events"), b"GET /stream HT", request("/"))[number % 5]
            clients.append(raw(sink, data, receive_buffer=4096))
            if number % 3 == 0:
                clients.pop().close()
        wait_until(lambda: sink._feed.pictures.watchers == 0 and sink._feed.events.watchers == 0, 20)
        wait_until(lambda: descriptors() - files == len(clients), 10)  # the server's ends are closed, ours are not
        assert not sink._server._unasked
        assert len(asyncio.all_tasks(loop)) == tasks
        for client in clients:
            client.close()
        assert (threading.active_count(), descriptors()) == (threads, files)
        with ask(sink, "/stream") as answer:
            assert next_picture(answer).shape == (360, 640, 3)


def test_who_reads_hardly_anything_is_dropped(
    open_preview: Callable[..., WebPreview], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "WRITE_SECONDS", 0.5)
    sink = open_preview()
    with raw(sink, request("/stream"), 4096) as client, fed(sink):
        wait_until(lambda: sink._feed.pictures.watchers == 1)

        def gone() -> bool:
            client.recv(1000)  # some, so that the connection looks alive, but far too little
            return sink._feed.pictures.watchers == 0

        with contextlib.suppress(ConnectionResetError):
            wait_until(gone, 4)
        wait_until(lambda: sink._feed.pictures.watchers == 0, 1)


def test_connections_that_ask_for_nothing_are_limited(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview()
    files = descriptors()

    def served() -> bool:
        with contextlib.suppress(ConnectionError):
            return status(sink, "/") == 200
        return False

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw(sink, b"")) for _ in range(server.MAX_CONNECTIONS + 40)]
        wait_until(lambda: descriptors() - files - len(clients) == server.MAX_CONNECTIONS, server.ASK_SECONDS / 2)
        assert not served()
        for client in clients:
            client.close()
        wait_until(served, server.ASK_SECONDS / 2)


@pytest.mark.alone
def test_a_client_that_stalls_does_not_slow_down_the_run(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview()
    with raw(sink, request("/stream"), 4096), raw(sink, request("/events"), 4096):
        wait_until(lambda: sink._feed.pictures.watchers == 1 and sink._feed.events.watchers == 1)
        for _ in range(3):  # other programs of this machine may disturb one trial
            took = []
            for index in range(500):
                frame, result = shot(index)
                start = time.perf_counter()
                sink.write(frame, result)
                took.append(time.perf_counter() - start)
                time.sleep(0.002)
            if sorted(took)[494] < 0.001:
                break
        assert sorted(took)[494] < 0.001


def test_who_reads_slowly_gets_new_pictures_not_old_ones(open_preview: Callable[..., WebPreview]) -> None:
    sink = open_preview()
    image = NOISE.copy()  # noise is large as a JPEG, so that few fit into the kernel's buffers
    connection = http.client.HTTPConnection("127.0.0.1", port_of(sink), timeout=10)
    connection.sock = raw(sink, b"", 4096)
    connection.request("GET", "/stream")
    with connection.getresponse() as answer:
        for grey in range(250):
            image = image.copy()
            image[:, :100] = grey
            sink.write(*shot(grey, image))
            time.sleep(0.004)
        seen = [0]
        while seen[-1] < 240:
            seen.append(round(next_picture(answer)[:, 10:90].mean()))
    assert seen[1:] == sorted(set(seen[1:]))
    assert len(seen) < 6
    connection.close()


def test_closing_takes_no_longer_than_three_seconds_whoever_watches() -> None:
    threads, files = set(threading.enumerate()), descriptors()
    sink = preview()
    clients = [raw(sink, data, 4096) for data in (request("/stream"), request("/events"), b"", b"GET /") * 3]
    wait_until(lambda: sink._feed.pictures.watchers == 3 and sink._feed.events.watchers == 3)
    for index in range(40):
        sink.write(*shot(index))
        time.sleep(0.02)
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 3
    sink.write(*shot())
    sink.tell(health())
    sink.close()
    for client in clients:
        client.close()
    assert set(threading.enumerate()) == threads
    assert descriptors() == files
    with pytest.raises(ConnectionRefusedError):
        status(sink, "/")


def test_a_port_in_use_says_what_to_do_and_is_free_after_closing() -> None:
    first = preview()
    with pytest.raises(SinkError, match=rf"127\.0\.0\.1:{port_of(first)}: another program listens there; choose"):
        preview(port=port_of(first))
    with ask(first, "/events"):
        first.close()
    again = preview(port=port_of(first))
    assert status(again, "/") == 200
    again.close()


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("192.0.2.7", 0, "this machine has no such address; use 127.0.0.1"),
        ("no-such-host.invalid", 0, "no address is known for that name"),
        ("a" * 300, 0, "no address is known for that name"),
        ("", 0, "needs an address to listen on"),
        ("127.0.0.1", 70_000, "from 0 to 65535"),
        ("127.0.0.1", -1, "from 0 to 65535"),
    ],
)
def test_impossible_addresses_are_refused_at_once(host: str, port: int, message: str) -> None:
    with pytest.raises(SinkError, match=message):
        preview(host=host, port=port)


def test_ipv6_and_names_work_too(open_preview: Callable[..., WebPreview]) -> None:
    named = open_preview(host="localhost")
    assert status(named, "/") == 200
    assert not named.guarded
    try:
        sink = open_preview(host="::1")
    except SinkError:
        pytest.skip("this machine has no IPv6")
    assert sink.address == f"http://[::1]:{port_of(sink)}/"
    connection = http.client.HTTPConnection("::1", port_of(sink), timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200


def test_a_fault_while_drawing_is_reported_at_the_next_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise SinkError("it cannot be encoded")

    monkeypatch.setattr(pictures, "jpeg", broken)
    sink = preview()
    with contextlib.suppress(ConnectionError), ask(sink, "/stream"):
        sink.write(*shot())
        wait_until(lambda: not sink._thread.is_alive())
        with pytest.raises(SinkError, match="the web preview has failed: it cannot be encoded"):
            sink.write(*shot())
        with pytest.raises(SinkError, match="it cannot be encoded"):
            sink.tell(health())
    sink.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgefer")]


def test_a_missing_aiohttp_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgefer\[web\]'"):
        preview()


def test_aiohttp_is_imported_when_a_preview_is_made_and_not_before() -> None:
    script = "import sys, edgefer.runtime.sinks.web; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
