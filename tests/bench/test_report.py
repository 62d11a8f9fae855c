"""Reports: everything from a record is escaped, what is no evidence is marked, and kinds do not mix."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgefer import metrics
from edgefer.bench._blocks import WARNING
from edgefer.bench.accuracy import Evaluation, as_text, confusion_png
from edgefer.bench.latency import Latency
from edgefer.bench.record import BenchRecord, BundleIdentity, Measurement
from edgefer.bench.report import render_html, render_markdown, write_report
from edgefer.errors import RecordError

HOSTILE = "<script>alert('x')</script>|`a`[b](javascript:c)$\\frac{$&\n# \x00\u202eé"


def latency(p50: float) -> Latency:
    return Latency(1024, 60.0, p50, 0.1, p50 / 2, p50, p50 * 1.5, p50 * 2, p50 * 3, p50 * 9)


def model(engine: str, p50: float, **changes: object) -> Measurement:
    base = Measurement(
        "model", engine, "1.2", "CPU", "m.int8.tflite", "int8", 83040, 2, latency(p50), load_ms=16.04, first_ms=0.31
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def pipeline(faces: int, p50: float, found: float) -> Measurement:
    stages = {"detect": {"p50": p50 * 0.9, "p99": p50}, "infer": {"p50": 0.05, "p99": 0.1}}
    changes = {"scope": "pipeline", "load_ms": None, "first_ms": None, "faces": faces, "faces_found": found}
    return model("litert", p50, **changes, detector="haar", stages_ms=stages)


def record(*measurements: Measurement, **changes: object) -> BenchRecord:
    base = BenchRecord(
        command="edgefer bench --json r.json",
        created="2025-11-21T05:00:00+00:00",
        device="rpi5",
        environment={"before": {"cpu": "Cortex-A76", "cores": 4, "temperatures_c": {"cpu": 48.5}}, "after": {}},
        bundle=BundleIdentity("edge-s", "edge-s", "a1b2" * 16, ("happy", "sad")),
        measurements=measurements or (model("litert", 1.0),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def evaluation(names: tuple[str, ...] = ("happy", "sad")) -> Evaluation:
    figures = metrics.measure(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]), names)
    return Evaluation(figures, names, "litert", "2.3", "XNNPACK", "m.int8.tflite", "int8", "test", 0.1, skipped=2)


class Page(HTMLParser):
    """Collects tags, texts and tables, and refuses tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def plots(page: str) -> list[ElementTree.Element]:
    found = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
    return [ElementTree.fromstring(base64.b64decode(data)) for data in found]


def hostile() -> BenchRecord:
    return record(
        model(HOSTILE, 1.0, engine_version=HOSTILE, provider=HOSTILE, artifact=HOSTILE, precision=HOSTILE),
        replace(pipeline(1, 9.0, 1.0), detector=HOSTILE, stages_ms={HOSTILE: {"p50": 1.0, "p99": 1.0}}),
        command=HOSTILE,
        device=HOSTILE,
        invalid_reasons=(HOSTILE,),
        bundle=BundleIdentity(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,)),
        environment={
            "before": {"cpu": HOSTILE, "packages": {HOSTILE: [HOSTILE]}, "cores": {}},
            "after": {"throttled": 3},
        },
    )


def test_html_holds_hostile_texts_as_texts() -> None:
    text = render_html([hostile()], [evaluation((HOSTILE, "sad"))])
    page = Page(text)
    assert "script" not in page.tags
    assert not {"a", "iframe", "link"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\x00" not in text
    assert "\u202e" not in text
    assert "<script>alert('x')</script>" in "".join(page.text)
    for plot in plots(text):
        assert not [e for e in plot.iter() if e.tag.endswith("script")]


def test_markdown_holds_hostile_texts_as_texts() -> None:
    text = render_markdown([hostile()], [evaluation((HOSTILE, "sad"))])
    code = [line for line in text.splitlines() if line.startswith("    ")]
    prose = "\n".join(line for line in text.splitlines() if line not in code)
    assert len(code) == 1
    assert not re.search(r"(?<!\\)[<`]", prose)
    assert "\n# " not in prose[1:]
    tables = [line for line in prose.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert set(bars) <= {12, 10, 6, 7, 11, 13}
    assert bars[0] == bars[1] == bars[2]


def test_the_page_needs_no_other_file() -> None:
    page = Page(render_html([record()]))
    links = [value for name, value in page.attributes if name in {"src", "href"}]
    assert links
    assert all(value and value.startswith("data:") for value in links)
    assert ("name", "viewport") in page.attributes
    assert WARNING in page.text


def test_rows_are_sorted_by_p50_and_have_every_column() -> None:
    text = render_markdown([record(model("slow", 5.0), model("fast", 1.0), model("middle", 20.0))])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    head = "| engine | provider | artifact | kB | threads | load ms | first ms | p50 ms | p90 ms | p99 ms |"
    assert rows[0] == head
    assert [row.split()[1] for row in rows[2:]] == ["fast", "slow", "middle"]
    assert rows[2] == "| fast 1.2 | CPU | m.int8.tflite (int8) | 83 | 2 | 16.0 | 0.310 | 1.000 | 1.500 | 3.000 |"


def test_a_pipeline_shows_faces_stages_and_frames_a_second() -> None:
    text = render_markdown([record(pipeline(3, 50.0, 2.4), pipeline(0, 20.0, 0.0))])
    assert "| fps |" in text
    assert "| haar | 0 | 20.0 | 30.0 | 60.0 | 50.0 |" in text
    assert "| haar | 3 (found 2.4) | 50.0 | 75.0 | 150.0 | 20.0 |" in text
    assert "| engine | artifact | threads | faces | detect | infer |" in text


def test_what_is_not_valid_is_marked_and_comes_last() -> None:
    bad = record(model("litert", 0.1), invalid_reasons=("under-voltage, after the measurement",))
    text = render_markdown([bad, record(model("litert", 1.0))])
    assert "**Not valid: edge-s (a1b2a1b2)" in text
    assert "under-voltage, after the measurement" in text
    rows = [line for line in text.splitlines() if line.startswith("| litert")]
    assert ["NOT VALID" in row for row in rows] == [False, True]
    page = render_html([bad])
    assert 'class="invalid"' in page
    assert 'class="bad"' in page
    (plot,) = plots(page)
    assert "not valid" in "".join(plot.itertext())


def test_kinds_never_share_a_table() -> None:
    emulated = record(kind="emulated", bit_identical=True, instructions_per_inference=4_260_000, measurements=())
    estimated = record(model("litert", 0.2), kind="estimated")
    text = render_markdown([estimated, emulated, record(model("litert", 1.0))])
    sections = text.split("\n## ")[1:]
    assert [s.splitlines()[0].rpartition(" ")[2] for s in sections] == ["measured", "emulated", "estimated"]
    assert "| litert 1.2 | CPU" not in sections[1]
    assert "| edge-s | yes | 4,260,000 |" in sections[1]
    assert all(s.count("| litert 1.2 |") == n for s, n in zip(sections, (1, 0, 1), strict=True))


def test_machines_never_share_a_table() -> None:
    other = record(environment={"before": {"cpu": "AMD EPYC", "cores": 2}, "after": {}}, device="x86")
    text = render_markdown([record(), other, record(model("onnxruntime", 2.0))])
    assert [s.splitlines()[0] for s in text.split("\n## ")[1:]] == [
        "rpi5 – Cortex-A76, 4 cores – measured",
        "x86 – AMD EPYC, 2 cores – measured",
    ]


def test_rows_of_several_bundles_say_which() -> None:
    other = record(model("litert", 2.0), bundle=BundleIdentity("edge-xs", "edge-xs", "ff" * 32, ("happy",)))
    text = render_markdown([record(), other])
    assert "| edge-s | litert 1.2 |" in text
    assert "| edge-xs | litert 1.2 |" in text


def test_a_quick_record_says_so() -> None:
    assert "litert 1.2 – quick" in render_markdown([record(quick=True)])


def test_command_and_environment_are_there() -> None:
    text = render_markdown([record()])
    assert "    edgefer bench --json r.json\n" in text
    assert "- cpu: Cortex-A76" in text
    assert "- temperatures, °C: cpu 48.5 before; – after" in text


def test_an_evaluation_is_shown() -> None:
    page = Page(render_html([], [evaluation()]))
    assert "accuracy of m.int8.tflite in litert 2.3, split test" in page.text
    assert any("0.6667 (95 % interval" in text for text in page.text)


@pytest.mark.parametrize("suffix", [".html", ".md"])
def test_the_suffix_decides(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    write_report([record()], path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>" if suffix == ".html" else "# edgefer")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"\.html or \.md"):
        write_report([record()], tmp_path / "report.pdf")
    with pytest.raises(RecordError, match="nothing to report"):
        write_report([], tmp_path / "report.md")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write"):
        write_report([record()], tmp_path / "file" / "report.md")


def test_the_text_of_an_evaluation_is_aligned() -> None:
    lines = as_text(evaluation()).splitlines()
    assert "split test: 3 pictures, 2 could not be read" in lines
    first = next(i for i, line in enumerate(lines) if line.startswith("class"))
    assert len({len(line) for line in lines[first : first + 3]}) == 1
    assert len({len(line) for line in lines[-3:]}) == 1
    assert lines[-2].split() == ["happy", "1", "0"]
    assert lines[-1].split() == ["sad", "1", "1"]


def test_the_confusion_matrix_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    confusion_png(evaluation(("a $\\frac$", "sad")), path)
    assert path.read_bytes().startswith(b"\x89PNG")
