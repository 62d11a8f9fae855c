"""Real servers on loopback that send what a test tells them, and the pictures they send."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from edgefer.cartoon.clip import clip

SYSTEM_PYTHON = "/usr/bin/python3"
MULTIPART = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
CANARY = (0, 0, 255)

Handler = Callable[[socket.socket, bytes], None]


@functools.cache
def pictures(count: int = 6) -> list[np.ndarray]:
    return [image for image, _ in clip(count, size=(320, 240), faces=1)]


def jpeg(image: np.ndarray, *flags: int) -> bytes:
    return bytes(cv2.imencode(".jpg", image, list(flags))[1].tobytes())


def part(body: bytes, length: int | str | None = "true", boundary: bytes = b"--frame") -> bytes:
    """One part of a stream; `length` None leaves the header out, a number is what it says."""
    stated = len(body) if length == "true" else length
    header = b"" if stated is None else f"Content-Length: {stated}\r\n".encode()
    return boundary + b"\r\nContent-Type: image/jpeg\r\n" + header + b"\r\n" + body + b"\r\n"


def canaries(image: np.ndarray) -> int:
    """Return how many pixels are of the canary's red, give or take what JPEG does to it."""
    return int((np.abs(image.astype(int) - CANARY).max(axis=2) < 12).sum())


@contextlib.contextmanager
def served(handler: Handler, path: str = "/video.mjpg") -> Iterator[str]:
    """Serve each connection in a thread with `handler(connection, request)`; yield the address."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request and (data := connection.recv(4096)):
                request += data
            handler(connection, request)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def sends(*chunks: bytes, then: str = "close") -> Handler:
    """A handler that sends these bytes, and then closes, or waits until the reader has gone."""

    def handler(connection: socket.socket, request: bytes) -> None:
        for chunk in chunks:
            connection.sendall(chunk)
        if then == "wait":
            connection.settimeout(30)
            connection.recv(1)

    return handler


def endless(connection: socket.socket, request: bytes) -> None:
    """A camera as it should be."""
    parts = [part(jpeg(image)) for image in pictures()]
    connection.sendall(MULTIPART)
    while True:
        for data in parts:
            connection.sendall(data)
        time.sleep(0.002)


@contextlib.contextmanager
def process(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server in a process of its own, which prints its address as its first line; yield both."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait(10)
        assert child.stdout is not None
        child.stdout.close()


def rtsp_server() -> contextlib.AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    return process(SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")))


def mjpeg_process() -> contextlib.AbstractContextManager[tuple[subprocess.Popen[str], str]]:
    code = (
        "from tests.runtime.sources.servers import *\n"
        "with served(endless) as uri:\n"
        "    print(uri, flush=True)\n"
        "    time.sleep(60)\n"
    )
    return process(sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n{code}")


def held() -> tuple[int, int]:
    """Return how many file descriptors and threads this process has."""
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
