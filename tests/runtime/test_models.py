"""Known models: every way in which fetching one can go wrong, against a real server on the loopback."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgefer.cli import cli
from edgefer.errors import DetectorError
from edgefer.runtime import fetch, models
from edgefer.runtime.fetch import Patience, pull
from edgefer.runtime.models import KnownModel

CONTENTS = random.Random(1).randbytes(200_000)
MODEL = KnownModel(
    name="tiny",
    file="tiny.onnx",
    urls=("https://models.invalid/tiny.onnx",),
    bytes=len(CONTENTS),
    sha256=hashlib.sha256(CONTENTS).hexdigest(),
    licence="MIT",
    purpose="tests",
)
QUICK = Patience(read=0.4, slowest=100_000, slow_after=0.3, attempts=3, pause=0.01, lock=0.3)

Answer = Callable[[BaseHTTPRequestHandler, int], None]


class Server:
    """Answers the nth request with the nth of `answers`, the last one from then on."""

    def __init__(self, *answers: Answer) -> None:
        self.ranges: list[str | None] = []
        """The Range header of every request."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.ranges.append(self.headers["Range"])
                start = int((self.headers["Range"] or "bytes=0-")[6:-1])
                answers[min(len(outer.ranges), len(answers)) - 1](self, start)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self.url = f"http://127.0.0.1:{self._http.server_port}/models/"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def whole(handler: BaseHTTPRequestHandler, start: int) -> None:
    """A server as it should be."""
    head(handler, start, len(CONTENTS) - start)
    handler.wfile.write(CONTENTS[start:])


def head(handler: BaseHTTPRequestHandler, start: int, length: int | None) -> None:
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(CONTENTS) - 1}/{len(CONTENTS)}")
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()


def drops(handler: BaseHTTPRequestHandler, start: int) -> None:
    """Promises all, gives 60,000 bytes, and hangs up."""
    head(handler, start, len(CONTENTS) - start)
    handler.wfile.write(CONTENTS[start : start + 60_000])


def without_range(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, 0, len(CONTENTS))
    handler.wfile.write(CONTENTS)


def other_bytes(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, start, len(CONTENTS) - start)
    handler.wfile.write(bytes(len(CONTENTS) - start))


def absurdly_long(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "9" * 5000)  # more digits than Python makes a number of
    handler.end_headers()


def too_long(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, start, len(CONTENTS) + 1)
    handler.wfile.write(CONTENTS + b"!")


def too_long_unannounced(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, 0, None)
    for _ in range(50):
        handler.wfile.write(CONTENTS)


def missing(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_error(404)


def failing(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_error(503)


def to_http(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:9/tiny.onnx?token=secret")
    handler.end_headers()


def to_file(handler: BaseHTTPRequestHandler, start: int) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/hostname")
    handler.end_headers()


def elsewhere(handler: BaseHTTPRequestHandler, start: int) -> None:
    """Goes on 1,000 bytes further than it was asked to."""
    head(handler, start + 1000, len(CONTENTS) - start - 1000)
    handler.wfile.write(CONTENTS[start + 1000 :])


def trickles(handler: BaseHTTPRequestHandler, start: int) -> None:
    head(handler, start, len(CONTENTS) - start)
    for at in range(start, min(start + 400, len(CONTENTS))):
        handler.wfile.write(CONTENTS[at : at + 1])
        handler.wfile.flush()
        time.sleep(0.02)


def silent(handler: BaseHTTPRequestHandler, start: int) -> None:
    """Gives half and then nothing, without hanging up."""
    head(handler, start, len(CONTENTS) - start)
    handler.wfile.write(CONTENTS[start : start + 100_000])
    handler.wfile.flush()
    handler.connection.settimeout(20)
    handler.rfile.read(1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    return tmp_path / "models"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Answer) -> Server:
        servers.append(Server(*answers))
        monkeypatch.setenv(fetch.MIRROR, servers[-1].url)
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def left_over(cache: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in cache.iterdir() if not path.name.endswith(".lock")}


def test_a_model_is_fetched_once_and_then_found(cache: Path, serve: Callable[..., Server]) -> None:
    server = serve(whole)
    seen: list[tuple[int, int]] = []
    path = pull(MODEL, lambda done, total: seen.append((done, total)), patience=QUICK)
    assert path == cache / "tiny.onnx"
    assert path.read_bytes() == CONTENTS == models.read(MODEL)
    assert seen[-1] == (len(CONTENTS), len(CONTENTS))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert pull(MODEL, patience=QUICK) == path
    assert server.ranges == [None]
    assert left_over(cache) == {"tiny.onnx": len(CONTENTS)}


def test_a_connection_that_drops_is_resumed(serve: Callable[..., Server]) -> None:
    server = serve(drops, drops, whole)
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == [None, "bytes=60000-", "bytes=120000-"]


def test_what_came_is_kept_for_the_next_time(cache: Path, serve: Callable[..., Server]) -> None:
    serve(drops, drops, failing)
    with pytest.raises(DetectorError, match=r"127\.0\.0\.1: HTTP 503"):
        pull(MODEL, patience=QUICK)
    assert left_over(cache) == {"tiny.onnx.part": 120_000}
    server = serve(whole)
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == ["bytes=120000-"]


def test_a_server_without_ranges_begins_anew(serve: Callable[..., Server]) -> None:
    server = serve(drops, without_range)
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == [None, "bytes=60000-"]


def test_a_server_that_goes_on_elsewhere_is_asked_anew(serve: Callable[..., Server]) -> None:
    server = serve(drops, elsewhere, whole)
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == [None, "bytes=60000-", None]


def test_a_wrong_beginning_from_before_is_thrown_away(cache: Path, serve: Callable[..., Server]) -> None:
    cache.mkdir()
    (cache / "tiny.onnx.part").write_bytes(bytes(50_000))
    server = serve(whole)
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == ["bytes=50000-", None]


@pytest.mark.parametrize("size", [len(CONTENTS), len(CONTENTS) + 5])
def test_a_part_that_is_whole_needs_no_server_and_a_longer_one_is_no_use(
    cache: Path, serve: Callable[..., Server], size: int
) -> None:
    cache.mkdir()
    (cache / "tiny.onnx.part").write_bytes((CONTENTS + bytes(5))[:size])
    server = serve(whole)
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == ([] if size == len(CONTENTS) else [None])


@pytest.mark.parametrize(
    ("answer", "message", "kept"),
    [
        (other_bytes, "another SHA-256", {}),
        (too_long, "it offers 200001 bytes where 200000 are missing", {"tiny.onnx.part": 0}),
        (absurdly_long, "it offers 99999999999999999999 bytes where", {"tiny.onnx.part": 0}),
        (too_long_unannounced, "more than the 200000 bytes", {"tiny.onnx.part": 0}),
        (missing, "HTTP 404", {"tiny.onnx.part": 0}),
        (to_http, r"redirects to 'http:.*', which is not https", {"tiny.onnx.part": 0}),
        (to_file, "HTTP 302 Found", {"tiny.onnx.part": 0}),
        (trickles, "too slow", None),
        (silent, r"nothing came for 0\.4 s", {"tiny.onnx.part": 100_000}),
    ],
)
def test_a_server_that_misbehaves_is_named_with_what_to_do(
    cache: Path, serve: Callable[..., Server], answer: Answer, message: str, kept: dict[str, int] | None
) -> None:
    serve(answer)
    patience = Patience(**{**QUICK.__dict__, "attempts": 1})
    start = time.monotonic()
    with pytest.raises(DetectorError, match=message) as caught:
        pull(MODEL, patience=patience)
    assert time.monotonic() - start < 5
    text = str(caught.value)
    assert "\n" not in text
    assert "secret" not in text
    assert "/etc" not in text
    assert "--detector-model FILE" in text
    assert MODEL.sha256 in text
    assert not (cache / "tiny.onnx").exists()
    if kept is not None:
        assert left_over(cache) == kept


def test_what_is_wrong_for_good_is_not_tried_again(serve: Callable[..., Server]) -> None:
    server = serve(missing)
    with pytest.raises(DetectorError):
        pull(MODEL, patience=QUICK)
    assert server.ranges == [None]


def test_the_second_address_is_asked_when_the_first_fails(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = serve(drops, missing), serve(whole)
    monkeypatch.delenv(fetch.MIRROR)
    both = KnownModel(**{**MODEL.__dict__, "urls": (broken.url, good.url)})
    assert pull(both, patience=QUICK).read_bytes() == CONTENTS
    assert good.ranges == ["bytes=60000-"]


def test_without_a_network_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr(models, "KNOWN", (MODEL,))
    monkeypatch.setattr(fetch.pull, "__defaults__", (*(fetch.pull.__defaults__ or ())[:2], QUICK))
    done = subprocess_like(["models", "pull", "tiny"])
    assert done[0] == 1
    assert done[1].startswith("edgefer: tiny cannot be fetched (models.invalid: Name or service not known); get https:")
    assert "(200000 bytes, SHA-256 " in done[1]
    assert done[1].count("\n") == 1


def subprocess_like(arguments: list[str]) -> tuple[int, str]:
    """Run the command line as the program does; its exit code and standard error."""
    import contextlib
    import io

    from edgefer.cli import main

    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0), stream.getvalue()


def test_a_cached_file_that_is_another_is_not_used_but_fetched_anew(cache: Path, serve: Callable[..., Server]) -> None:
    cache.mkdir()
    (cache / "tiny.onnx").write_bytes(b"x" + CONTENTS[1:])
    with pytest.raises(DetectorError, match=r"not the tiny model.*edgefer models pull tiny"):
        models.read(MODEL)
    serve(whole)
    said: list[str] = []
    assert pull(MODEL, say=said.append, patience=QUICK).read_bytes() == CONTENTS
    assert len(said) == 1
    assert "another SHA-256" in said[0]


def test_a_killed_download_goes_on_where_it_stopped(cache: Path, serve: Callable[..., Server]) -> None:
    server = serve(silent, whole)
    code = (
        "from edgefer.runtime import fetch, models\n"
        f"fetch.pull(models.KnownModel(**{MODEL.__dict__!r}), lambda done, total: print(done, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 100_000:
                break
        process.send_signal(signal.SIGKILL)
    assert not (cache / "tiny.onnx").exists()
    kept = left_over(cache)["tiny.onnx.part"]  # what stood in the dead process's buffer is lost
    assert 0 < kept <= 100_000
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS
    assert server.ranges == [None, f"bytes={kept}-"]


def test_two_at_once_fetch_it_once(serve: Callable[..., Server]) -> None:
    def slowly(handler: BaseHTTPRequestHandler, start: int) -> None:
        time.sleep(0.2)
        whole(handler, start)

    server = serve(slowly)
    patience = Patience(lock=10)
    threads = [threading.Thread(target=pull, args=(MODEL,), kwargs={"patience": patience}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert models.read(MODEL) == CONTENTS
    assert server.ranges == [None]


def test_one_that_holds_the_lock_for_long_is_told_of(cache: Path, serve: Callable[..., Server]) -> None:
    server = serve(whole)
    cache.mkdir()
    with (cache / ".tiny.onnx.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DetectorError, match="another edgefer has been fetching tiny"):
            pull(MODEL, patience=QUICK)
    assert server.ranges == []
    assert pull(MODEL, patience=QUICK).read_bytes() == CONTENTS


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/",
        "ftp://127.0.0.1/",
        "file:///tmp",
        "models.example",
        "https://user:password@models.example/",
        "https://models.example/?token=password",
        "https://[::1/",
        "https://models.example:port/",
        "https://user:password/x@models.example/",
        "user:password@models.example/",
        "https:/user:password@models.example/",
        "https://models.example/#token=password",
    ],
)
def test_a_mirror_that_is_not_safe_is_refused_without_its_secrets(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(fetch.MIRROR, url)
    with pytest.raises(DetectorError, match=fetch.MIRROR) as caught:
        pull(MODEL, patience=QUICK)
    assert "password" not in str(caught.value).replace("user name, password, query", "")
    assert "token" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/own", "/shared", "/own/models"),
        (None, "/shared", "/shared/edgefer/models"),
        (None, "relative", "/home/x/.cache/edgefer/models"),
        (None, None, "/home/x/.cache/edgefer/models"),
    ],
)
def test_where_models_are_kept(
    monkeypatch: pytest.MonkeyPatch, own: str | None, shared: str | None, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    for name, value in (("EDGEFER_CACHE_DIR", own), ("XDG_CACHE_HOME", shared)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert str(models.folder()) == expected


def test_a_cache_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the way")
    with pytest.raises(OSError, match="File exists"):
        pull(MODEL, patience=QUICK)
    with pytest.raises(DetectorError, match="cannot be read"):
        models.read(MODEL)


def test_the_table_is_sound() -> None:
    for model in models.KNOWN:
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.bytes < 50_000_000
        assert model.urls
        assert all(url.startswith("https://") and url.endswith(f"/{model.file}") for url in model.urls)
        assert all("/main/" not in url for url in model.urls)  # a commit, not whatever stands there today
        assert models.find(model.name) is model
    with pytest.raises(DetectorError, match="choose one of: yunet"):
        models.find("yolo")


def test_the_command_lists_pulls_and_finds(
    cache: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "KNOWN", (MODEL,))
    serve(whole)
    invoke = CliRunner().invoke

    def state() -> str:
        (row,) = json.loads(invoke(cli, ["models", "list", "--json"]).stdout)
        assert row["sha256"] == MODEL.sha256
        return str(row["state"])

    assert state() == "missing"
    missing_path = invoke(cli, ["models", "path", "tiny"])
    assert isinstance(missing_path.exception, DetectorError)
    assert "edgefer models pull tiny" in str(missing_path.exception)
    pulled = invoke(cli, ["models", "pull", "tiny"])
    assert pulled.exit_code == 0
    assert pulled.stdout == f"{cache / 'tiny.onnx'}\n"
    assert state() == "here"
    assert invoke(cli, ["models", "path", "tiny"]).stdout == pulled.stdout
    assert "200,000" in invoke(cli, ["models", "list"]).stdout
    (cache / "tiny.onnx").write_bytes(b"")
    assert state() == "wrong"
    assert invoke(cli, ["models", "pull", "tiny"]).exit_code == 0
    assert state() == "here"
