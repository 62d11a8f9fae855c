"""The report in headless Chromium: nothing amiss in its console, nothing loaded, every drawing there and readable.

With EDGEFER_SCREENSHOTS=FOLDER the whole page is kept as report-desktop.png and report-phone.png.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp", reason="the web extra is not installed")

from edgefer.bench.plots import frontier
from edgefer.bench.report import render_html, write_report
from tests.bench import records
from tests.bench.test_report import hostile
from tests.runtime.test_web_page import CHROMIUM, DESKTOP, PHONE, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; on Debian: apt install chromium"),
]
IMAGES = "Array.from(document.images, (i) => [i.alt, i.complete, i.naturalWidth, i.naturalHeight])"
BOXES = """Array.from(document.images, (image) => {
  const holder = document.createElement('div')
  holder.innerHTML = new TextDecoder().decode(Uint8Array.from(atob(image.src.split(',')[1]), (c) => c.charCodeAt(0)))
  document.body.append(holder)
  const drawing = holder.querySelector('svg')
  const whole = drawing.getBoundingClientRect()
  const boxes = Array.from(drawing.querySelectorAll('text'), (text) => {
    const {left, top, right, bottom} = text.getBoundingClientRect()
    return [text.textContent, left - whole.left, top - whole.top, right - whole.left, bottom - whole.top]
  })
  const result = [image.alt, whole.width, whole.height, boxes]
  holder.remove()
  return result
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(list(records.records().values()), path, records.evaluations())
    return path


def loaded(browser: Browser, path: Path, size: tuple[int, int]) -> list[Any]:
    """Open a page, check that all of it is there and nothing went wrong, and return its images."""
    browser.open(path.as_uri(), size)
    browser.until("document.readyState === 'complete' && document.images.length > 0")
    images: list[Any] = browser.value(IMAGES)
    assert [image for image in images if not image[1] or not image[2] or not image[3]] == []
    assert browser.faults() == []
    assert [url for url in browser.requested() if not url.startswith("data:")] == [path.as_uri()]
    return images


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_loads_alone_and_without_a_fault(browser: Browser, report: Path, size: tuple[int, int]) -> None:
    assert len(loaded(browser, report, size)) == 18
    assert browser.value("document.documentElement.scrollWidth") <= size[0]
    narrow = browser.value(
        "Math.min(...Array.from(document.images, (i) => i.getBoundingClientRect().width / i.naturalWidth))"
    )
    assert narrow > 0.7, "letters of 9 points would be too small to be read"
    folder = os.environ.get("EDGEFER_SCREENSHOTS")
    if folder:
        height = browser.value("document.documentElement.scrollHeight")
        browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=height,
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        browser.screenshot(Path(folder) / f"report-{'phone' if size == PHONE else 'desktop'}.png")


def test_links_lead_to_the_targets(browser: Browser, report: Path) -> None:
    loaded(browser, report, DESKTOP)
    links = "document.querySelectorAll('nav a')"
    assert browser.value(f"{links}.length") == 7
    assert browser.value(
        f"Array.from({links}, (a) => document.querySelector(a.hash)?.textContent === a.textContent).every(Boolean)"
    )


def test_hostile_texts_do_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    write_report(hostile()[0], path, hostile()[1])
    loaded(browser, path, DESKTOP)
    assert browser.value("document.scripts.length") == 0


def apart(boxes: list[Any]) -> bool:
    """Return whether no two boxes overlap by more than a hair."""
    return all(
        min(a[3], b[3]) - max(a[1], b[1]) < 1 or min(a[4], b[4]) - max(a[2], b[2]) < 1
        for a, b in itertools.combinations(boxes, 2)
    )


def test_no_text_of_a_drawing_is_cut_off(browser: Browser, report: Path) -> None:
    loaded(browser, report, DESKTOP)
    for alt, width, height, boxes in browser.value(BOXES):
        outside = [b for b in boxes if b[1] < -1 or b[2] < -1 or b[3] > width + 1 or b[4] > height + 1]
        assert outside == [], alt


@pytest.mark.parametrize("step", [0.0, 0.003, 0.02])
def test_the_names_of_a_dozen_points_can_be_read(browser: Browser, tmp_path: Path, step: float) -> None:
    """Six artifacts of each of two bundles; with step 0 all of a bundle are equally accurate, as they usually are."""
    every = []
    for name, factor, lost in (("edge-s", 1.0, 0.0), ("edge-xs", 0.4, 0.08)):
        base = records.x86()
        rows = [records.model(m.engine, m.precision, 1, m.latency.p50 * factor) for m in base.measurements[1:12:2]]
        scores = [
            replace(s, accuracy=s.accuracy - lost + i * step, ci95=(s.ci95[0] - lost, s.ci95[1] + 6 * step))
            for i, s in enumerate(base.scores)
        ]
        bundle = replace(base.bundle, name=name, digest=name * 8)
        every.append(
            replace(base, measurements=tuple(rows), scores=tuple(scores), bundle=bundle, sustained=None, trace=None)
        )
    path = tmp_path / "points.html"
    path.write_text(render_html(every), encoding="utf-8")
    loaded(browser, path, DESKTOP)
    drawing = next(d for d in browser.value(BOXES) if d[0].startswith("Accuracy over latency"))
    names = [box for box in drawing[3] if box[0].endswith(" kB")]
    assert len(names) == 12 <= frontier.MAX_POINTS
    assert apart(names)
