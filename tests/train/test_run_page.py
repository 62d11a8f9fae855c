"""The page of a run: complete, in one file, and safe with any text."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.errors import TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.metrics import measure
from edgefer.train import run_figures
from edgefer.train.run_page import Run, _report, write_run_page
from edgefer.train.state import EpochReport
from edgefer.train.temperature import softmax

pytest.importorskip("matplotlib", reason="needs edgefer[train]")

PNGS = ("classes.png", "confused.png", "confusion.png", "curves.png", "reliability.png")
HOSTILE = (
    "<b>",
    "<script>alert(1)</script>",
    "$\\frac{",
    "a name that is much too long to stand beside a bar",
    "é\n\x00",
)


def reports(n: int) -> tuple[EpochReport, ...]:
    return tuple(
        EpochReport(e, 2 / e, 0.3 + 0.1 * e, 1.8 / e, 0.7 - 0.05 * abs(e - 2), 1e-3 / e, 61.0) for e in range(1, n + 1)
    )


def run_of(names: tuple[str, ...] = FER2013_LABELS, wrong: float = 1.5, n: int = 84, **changes: Any) -> Run:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % len(names)
    logits = 3 * np.eye(len(names))[labels] + rng.normal(0, wrong, (n, len(names)))
    images = np.tile(cartoon.dataset(1, 0)[0], (n, 1, 1))[:n]
    after = softmax(logits, 1.5)
    base = Run(
        title="a run",
        facts=(("learning rate", "0.002"), ("data", "drawn")),
        history=reports(3),
        probabilities=after,
        raw=softmax(logits),
        labels=labels,
        names=names,
        images=images,
        accuracy=measure(after, labels, names),
    )
    return replace(base, **changes)


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one page was written, over an earlier one."""
    folder = tmp_path_factory.mktemp("run") / "page"
    folder.mkdir()
    for name in (*PNGS, "index.html"):
        (folder / name).write_text("old")
    assert write_run_page(run_of(), folder) == folder / "index.html"
    return folder


def test_the_page_holds_every_drawing_and_needs_no_other_file(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted([*PNGS, "index.html"])
    read = Reader((folder / "index.html").read_text(encoding="utf-8"))
    links = [value or "" for name, value in read.attributes if name in {"src", "href"}]
    inside = [base64.b64decode(link.removeprefix("data:image/png;base64,")) for link in links]
    assert sorted(inside) == sorted((folder / name).read_bytes() for name in PNGS)
    assert all(png.startswith(b"\x89PNG\r\n\x1a\n") for png in inside)
    assert {value for name, value in read.attributes if name == "width"} == {"960"}


def test_the_page_says_the_figures(folder: Path) -> None:
    run = run_of()
    read = Reader((folder / "index.html").read_text(encoding="utf-8"))
    text = " ".join(read.texts)
    assert f"{run.accuracy.accuracy:.2%} (95 % interval" in text
    assert f"{run.accuracy.ece:.2%};" in text
    assert "2 of 3" in read.texts  # the best epoch
    assert "3 min 3 s" in read.texts
    assert {"learning rate", "0.002", "happy", f"{run.accuracy.per_class['happy'].f1:.3f}"} <= set(read.texts)


def test_no_text_becomes_markup(tmp_path: Path) -> None:
    run = run_of(HOSTILE, n=60, title="<b>bold</b>", facts=[("<i>", "<b>x</b>")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = write_run_page(run, tmp_path).read_text(encoding="utf-8")
    read = Reader(text)
    assert not {"b", "i", "script"} & set(read.tags)
    assert {"<b>", "<b>bold</b>", "<i>", "<b>x</b>", "<script>alert(1)</script>"} <= set(read.texts)
    assert "\x00" not in text


def history(n: int, *left_out: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in vars(r).items() if k not in left_out} for r in reports(n)]


TWO, MANY = run_of(("happy", "sad"), n=2), run_of(tuple(f"class {i}" for i in range(20)), n=60)
PERFECT = run_of(wrong=0.0)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: run_figures.curves(history(1), 1),
        lambda: run_figures.curves(history(3, "learning_rate"), 2),
        lambda: run_figures.confusion(TWO.accuracy.confusion, TWO.names),
        lambda: run_figures.confusion(MANY.accuracy.confusion, MANY.names),
        lambda: run_figures.reliability(TWO.raw, TWO.probabilities, TWO.labels),
        lambda: run_figures.mistakes(PERFECT.probabilities, PERFECT.labels, PERFECT.names, PERFECT.images),
        lambda: run_figures.mistakes(TWO.probabilities[:, ::-1], TWO.labels, TWO.names, TWO.images),
        lambda: run_figures.classes(MANY.accuracy.per_class),
        lambda: run_figures.classes({str(i): PERFECT.accuracy.per_class["sad"] for i in range(1000)}),
    ],
    ids=[
        "1 epoch",
        "no learning rate",
        "confusion of 2",
        "confusion of 20",
        "2 pictures",
        "no mistake",
        "2 mistakes",
        "20 classes",
        "1000 classes",
    ],
)
def test_unusual_runs_are_drawn(draw: Callable[[], bytes]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw().startswith(b"\x89PNG")


def test_the_same_run_gives_the_same_bytes() -> None:
    figures = run_of().accuracy.per_class
    assert run_figures.classes(figures) == run_figures.classes(figures)


def test_a_history_may_be_reports_or_mappings() -> None:
    assert vars(reports(1)[0]) == _report(reports(1)[0]) == _report(vars(reports(1)[0]))


def test_settings_of_matplotlib_stay_as_they_are() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    run_figures.classes(run_of().accuracy.per_class)
    assert dict(matplotlib.rcParams) == before


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match="cannot write"):
        write_run_page(run_of(), tmp_path / "file")


def test_what_does_not_fit_is_a_mistake_of_the_caller() -> None:
    run = run_of()
    with pytest.raises(ValueError, match="do not fit"):
        replace(run, labels=run.labels[:-1])
    with pytest.raises(ValueError, match="at least one epoch"):
        replace(run, history=())
