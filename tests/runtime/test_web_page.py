"""The web preview in headless Chromium, driven through its debugging protocol.

With EDGEFER_SCREENSHOTS=FOLDER the page over the demo clip is kept as desktop.png and phone.png.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer.bundle import Bundle
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box
from edgefer.runtime.detectors.haar import Haar
from edgefer.runtime.engines import open_engine
from edgefer.runtime.frames import Frame
from edgefer.runtime.pipeline import Pipeline
from edgefer.runtime.results import FaceResult, FrameResult, Health
from edgefer.runtime.sinks.web import WebPreview
from edgefer.runtime.sources import open_source
from edgefer.runtime.tracker import Tracker

aiohttp = pytest.importorskip("aiohttp", reason="the web extra is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt install chromium"),
]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]
DESKTOP, PHONE = (1240, 840), (390, 844)
TITLE = "edgefer · test"


class Browser:
    """One Chromium with one page."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._events: list[dict[str, Any]] = []
        try:
            port = wait_for(lambda: (folder / "DevToolsActivePort").read_text().split("\n")[0], 20, OSError)
            self._socket = self._loop.run_until_complete(self._connect(port))
            for domain in ("Page", "Network", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.quit()
            raise

    async def _connect(self, port: str) -> Any:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f"http://127.0.0.1:{port}/json") as answer:
            page = next(target for target in await answer.json() if target["type"] == "page")
        return await self._session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are kept."""
        self._number += 1
        return self._loop.run_until_complete(self._call(self._number, method, parameters))

    async def _call(self, number: int, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = json.loads((await self._socket.receive(timeout=20)).data)
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])
            self._events.append(message)

    def open(self, url: str, size: tuple[int, int] = DESKTOP) -> None:
        """Go to a page; what was seen before is forgotten."""
        self.call("Page.navigate", url="about:blank")
        mobile = size[0] < 700
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=mobile
        )
        self._events.clear()
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """Return what a piece of JavaScript gives."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, css: str) -> str:
        return str(self.value(f"document.querySelector({css!r})?.textContent ?? ''"))

    def until(self, script: str, seconds: float = 10) -> Any:
        """Wait until a piece of JavaScript gives something true, and return it; what it needs may not be there yet."""
        return wait_for(
            lambda: self.value(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()"), seconds
        )

    def of(self, method: str) -> list[dict[str, Any]]:
        """Return the events of one kind so far."""
        self.value("1")  # what has happened by now has arrived before the answer
        return [event["params"] for event in self._events if event["method"] == method]

    def faults(self) -> list[Any]:
        """Return errors of the console, of scripts and of the page's policy."""
        thrown = self.of("Runtime.exceptionThrown")
        logged = [entry for entry in self.of("Log.entryAdded") if entry["entry"]["level"] in ("error", "warning")]
        return thrown + logged + [c for c in self.of("Runtime.consoleAPICalled") if c["type"] in ("error", "warning")]

    def requested(self) -> list[str]:
        return [event["request"]["url"] for event in self.of("Network.requestWillBeSent")]

    def screenshot(self, path: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def quit(self) -> None:
        if hasattr(self, "_session"):
            self._loop.run_until_complete(self._session.close())
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._loop.close()


def wait_for(ask: Callable[[], Any], seconds: float, *passing: type[Exception]) -> Any:
    """Return what `ask` gives as soon as it is true; `passing` errors mean not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = ask()
        except passing:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < end, f"nothing after {seconds} s"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


def preview(**options: Any) -> WebPreview:
    given: dict[str, Any] = {"port": 0, "token": None, "labels": FER2013_LABELS, "title": TITLE}
    return WebPreview(options.pop("host", "127.0.0.1"), **(given | options))


def health(frames: int, **values: Any) -> Health:
    stages = {"capture": 12.0, "detect": 8.1, "track": 0.1, "preprocess": 0.6, "infer": 1.4, "smooth": 0.1, "emit": 0.1}
    given: dict[str, Any] = {"camera": "up", "seconds": frames / 20, "frames": frames, "fps": 20.0, "dropped": 2}
    return Health(**(given | {"reconnects": 1, "stage_ms": stages, "temperature": 51.5} | values))


@contextmanager
def fed(sink: WebPreview, make: Callable[[int], tuple[Frame, FrameResult]], **values: Any) -> Iterator[None]:
    """Feed a sink 20 frames a second from a thread, as a run does, until the end of the block."""
    stop = threading.Event()

    def feed() -> None:
        index = 0
        while not stop.wait(0.05):
            if index % 10 == 0:
                sink.tell(health(index, **values))
            sink.write(*make(index))
            index += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def moving(index: int, faces: int = 1, labels: tuple[str, ...] = FER2013_LABELS) -> tuple[Frame, FrameResult]:
    """Return a frame whose colour and scores change all the time."""
    image = np.full((360, 640, 3), (index * 37) % 256, np.uint8)
    wave = np.abs(np.sin(index / 3 + np.arange(len(labels)))) + 0.01
    scores = dict(zip(labels, (wave / wave.sum()).tolist(), strict=True))
    label = max(scores, key=lambda name: scores[name])
    boxes = [Box(20 + 90 * (n % 6), 20 + 80 * (n // 6), 60, 60) for n in range(faces)]
    found = tuple(FaceResult(box, n + 1, label, scores[label], scores) for n, box in enumerate(boxes))
    return Frame(index, index / 20, image), FrameResult(index, index / 20, found, {"detect": 8.0})


PIXELS = "Array.from(document.getElementById('{}').getContext('2d').getImageData({}, {}, 1, 1).data).join()"
BARS = "Array.from(document.querySelectorAll('.track i'), (bar) => bar.getBoundingClientRect().width).join()"


def changes(browser: Browser, script: str) -> bool:
    before = browser.value(script)
    return bool(wait_for(lambda: browser.value(script) != before, 5))


def test_the_picture_updates_and_the_bars_move(browser: Browser) -> None:
    sink = preview()
    with fed(sink, moving):
        browser.open(sink.address)
        browser.until("document.querySelectorAll('.card').length === 1")
        browser.until("document.getElementById('blank').hidden")
        assert browser.faults() == []  # before pixels are read, of which Chromium warns
        assert changes(browser, PIXELS.format("picture", 600, 300))
        assert changes(browser, BARS)
        x = "document.getElementById('strip').width - 12"
        browser.until(f"{PIXELS.format('strip', x, 60)} !== '0,0,0,0'")
        assert browser.text("#state") == "live"
        assert browser.text("#title") == TITLE
        assert browser.text("#rate") == "20.0 frames/s"
        assert browser.text("#temperature") == "51.5 °C"
        assert browser.text("#dropped") == "2"
        assert browser.text("#reconnects") == "1"
        assert "detect8.1 ms" in browser.text("#stage-list")
    sink.close()


def test_the_page_asks_no_other_host(browser: Browser) -> None:
    sink = preview()
    with fed(sink, moving):
        browser.open(sink.address)
        browser.until("document.getElementById('blank').hidden")
        asked = [url for url in browser.requested() if not url.startswith("data:")]
    sink.close()
    assert sorted(asked) == [sink.address, f"{sink.address}events", f"{sink.address}stream"]


@pytest.mark.parametrize("faces", [0, 1, 20])
def test_a_phone_does_not_scroll_sideways(browser: Browser, faces: int) -> None:
    labels = ("a label that is far too long to fit on any phone, and goes on and on", *FER2013_LABELS)
    sink = preview(labels=labels, title="W" * 200)
    with fed(sink, lambda index: moving(index, faces, labels)):
        browser.open(sink.address, PHONE)
        browser.until(f"document.querySelectorAll('.card').length === {faces} && {BARS} !== null")
        browser.until("document.getElementById('blank').hidden")
        assert browser.value("innerWidth") == PHONE[0]
        assert browser.value("document.documentElement.scrollWidth") <= PHONE[0]
        assert browser.text("#nobody") == "No face in sight"
        assert browser.value("document.getElementById('nobody').hidden") == (faces > 0)
        assert browser.faults() == []
    sink.close()


def test_the_token_of_the_link_opens_the_page_and_leaves_the_address(browser: Browser) -> None:
    sink = preview(token="a-token-of-the-user")
    with fed(sink, moving):
        browser.open(f"{sink.address}?token=wrong-wrong-wrong")
        browser.until("document.body?.textContent.includes('token is missing or wrong')")
        browser.open(f"{sink.address}?token=a-token-of-the-user")
        browser.until("document.querySelectorAll('.card').length === 1 && document.getElementById('blank').hidden")
        assert browser.value("location.href") == sink.address
        assert browser.value("document.cookie") == ""
        assert browser.faults() == []
        browser.open(sink.address)
        browser.until("document.querySelectorAll('.card').length === 1 && document.getElementById('blank').hidden")
        browser.call("Network.clearBrowserCookies")
        browser.open(sink.address)
        browser.until("document.body?.textContent.includes('token is missing or wrong')")
    sink.close()


def test_labels_are_text_and_nothing_else(browser: Browser) -> None:
    labels = ("<img src=x onerror=document.title='run'>", "</script><script>document.title='run'</script>", "__proto__")
    sink = preview(labels=labels, title="<b>title</b>")
    with fed(sink, lambda index: moving(index, 1, labels)):
        browser.open(sink.address)
        browser.until("document.querySelectorAll('.card').length === 1")
        shown = browser.value("Array.from(document.querySelectorAll('.card li span'), (name) => name.textContent)")
        assert tuple(shown) == labels
        assert browser.value("document.querySelectorAll('img, b b').length") == 0
        assert browser.value("document.title") == "<b>title</b>"
        assert browser.faults() == []
    sink.close()


def test_numbers_that_are_none_are_shown_as_such(browser: Browser) -> None:
    def make(index: int) -> tuple[Frame, FrameResult]:
        frame, result = moving(index)
        nan = float("nan")
        face = FaceResult(result.faces[0].box, 1, "happy", nan, dict.fromkeys(FER2013_LABELS, nan), certain=False)
        return frame, FrameResult(index, nan, (face,), {})

    sink = preview()
    with fed(sink, make, temperature=None, fps=float("nan")):
        browser.open(sink.address)
        browser.until("document.querySelectorAll('.card').length === 1")
        assert browser.text(".card h3") == "#1uncertain–"
        assert browser.text("#temperature") == "–"
        assert browser.text("#rate") == "– frames/s"
        assert browser.faults() == []
    sink.close()


def test_without_picture_the_page_says_so(browser: Browser) -> None:
    sink = preview(picture=False)
    with fed(sink, moving):
        browser.open(sink.address)
        browser.until("document.querySelectorAll('.card').length === 1")
        assert browser.value("document.getElementById('view').hidden")
        assert "without the picture" in browser.value("document.body.innerText")
        assert not [url for url in browser.requested() if "stream" in url]
        assert browser.faults() == []
    sink.close()


def test_a_lost_camera_and_a_lost_server_are_said_and_found_again(browser: Browser) -> None:
    sink = preview()
    with fed(sink, moving, camera="lost", fps=0.0):
        browser.open(sink.address)
        browser.until("document.getElementById('banner').textContent.startsWith('The camera is lost')")
    sink.close()
    browser.until("document.getElementById('state').textContent === 'connection lost'")
    port = int(sink.address.rstrip("/").rpartition(":")[2])
    again = preview(port=port)
    with fed(again, moving):
        browser.until("document.getElementById('state').textContent === 'live'", 15)
        browser.until("document.getElementById('banner').hidden && document.getElementById('blank').hidden")
        assert changes(browser, PIXELS.format("picture", 600, 300))
    again.close()


def test_the_demo_clip_through_the_real_pipeline(browser: Browser, tiny_bundle: Bundle) -> None:
    folder = os.environ.get("EDGEFER_SCREENSHOTS")
    loaded = open_engine(tiny_bundle, "litert", "int8")
    pipeline = Pipeline(loaded.engine, tiny_bundle.labels, tiny_bundle.preprocess, Haar(), Tracker())
    sink = preview(labels=tiny_bundle.labels, title=f"edgefer · {tiny_bundle.name}")
    stop = threading.Event()

    def run() -> None:
        began = time.monotonic()
        with open_source("demo:5000") as source:
            for frame in source:
                start = time.monotonic()
                result = pipeline.process(frame)
                sink.write(frame, result)
                rest = max(0.0, 0.1 - (time.monotonic() - start))
                if frame.index % 10 == 0:
                    stages = {"capture": 1000 * rest, **result.stage_ms}
                    seconds = time.monotonic() - began
                    fps = (frame.index + 1) / max(seconds, 0.1)
                    sink.tell(Health("up", seconds, frame.index + 1, fps, 0, 0, stages, None))
                if stop.wait(rest):
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        browser.open(sink.address)
        browser.until("document.querySelectorAll('.card').length === 2 && document.getElementById('blank').hidden")
        assert changes(browser, BARS)
        assert browser.faults() == []
        if folder:
            browser.until("samples.size > 120", 90)  # the strip is full
            sure = "Array.from(document.querySelectorAll('.card h3'), (h) => parseInt(h.lastChild.textContent))"
            browser.until(f"{sure}.every((percent) => percent > 75)", 30)
            browser.screenshot(Path(folder) / "desktop.png")
            browser.call("Emulation.setDeviceMetricsOverride", width=390, height=840, deviceScaleFactor=1, mobile=True)
            browser.until("document.getElementById('strip').clientWidth < 390")
            browser.value("new Promise((done) => setTimeout(done, 1000))")  # the strip is drawn anew
            browser.screenshot(Path(folder) / "phone.png")
    finally:
        stop.set()
        thread.join()
        sink.close()
        loaded.engine.close()
