"""Reports: everything from a record is escaped, what is no evidence is marked, kinds do not mix, size is bounded.

With EDGEFER_WRITE_GOLDEN=1 the goldens are written anew: look at the difference before they are kept.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from edgefer.bench.counted import Emulator, Estimate
from edgefer.bench.detection import DetectionRecord
from edgefer.bench.evaluation import Evaluation, read_evaluations
from edgefer.bench.plots import canvas, frontier
from edgefer.bench.record import BenchRecord, read_record, write_record
from edgefer.bench.report import read, render_html, render_markdown, write_report
from edgefer.bench.reporting.blocks import MAX_ROWS
from edgefer.bench.reporting.contents import WARNING
from edgefer.bench.reporting.targets import NOTES
from edgefer.bench.robustness import Robustness, Row
from edgefer.bench.rows import BundleIdentity, Score, Sustained
from edgefer.commands.report import command
from edgefer.errors import MissingDependencyError, RecordError
from tests.bench import records

GOLDEN = Path(__file__).parent / "golden" / "report"
WRITE = os.environ.get("EDGEFER_WRITE_GOLDEN") == "1"
HOSTILE = "<script>alert('x')</script>|`a`[b](javascript:c)$\\frac{$&\n# \x00\u202eé\ud800]]>"
SVG = re.compile(r'src="data:image/svg\+xml;base64,([^"]+)"')
everything = pytest.mark.parametrize("name", sorted(records.records()))


class Page(HTMLParser):
    """Collects tags and texts, and refuses tags that are not closed."""

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
    return [ElementTree.fromstring(base64.b64decode(data)) for data in SVG.findall(page)]


def texts(plot: ElementTree.Element) -> list[str]:
    return [e.text or "" for e in plot.iter() if e.tag.endswith("}text")]


def small(**changes: Any) -> BenchRecord:
    """Return a record of one row without anything else."""
    base = replace(records.x86(), measurements=records.x86().measurements[:1], scores=(), sustained=None, trace=None)
    return replace(base, **({"notes": ()} | changes))


def table(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table of a Markdown page below a heading."""
    rows = []
    for line in text.partition(f" {heading}\n")[2].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            return rows
    return rows


# Goldens


def kept(path: Path, text: str) -> str:
    """Return the golden text; it is `text` when goldens are written."""
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


@everything
def test_golden_records_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    record = records.records()[name]
    write_record(record, tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == kept(GOLDEN / f"{name}.json", (tmp_path / "r.json").read_text())
    assert read_record(GOLDEN / f"{name}.json") == record


def test_golden_evaluations_are_read_as_they_were_written() -> None:
    found = records.evaluations()
    text = json.dumps([e.as_dict() for e in found], indent=1) + "\n"
    assert text == kept(GOLDEN / "evaluations.json", text)
    assert read_evaluations(GOLDEN / "evaluations.json") == found


def golden_files() -> tuple[list[BenchRecord], list[Evaluation], list[DetectionRecord]]:
    return read([*(GOLDEN / f"{name}.json" for name in records.records()), GOLDEN / "evaluations.json"])


def test_golden_markdown() -> None:
    text = render_markdown(*golden_files())
    assert text == kept(GOLDEN / "report.md", text)


@pytest.fixture(scope="module")
def whole_page() -> str:
    return render_html(*golden_files())


def test_golden_html_without_its_drawings(whole_page: str) -> None:
    text = SVG.sub('src="…"', whole_page)  # other versions of matplotlib and its fonts draw other bytes
    assert text == kept(GOLDEN / "report.html", text)


def test_drawings_say_what_they_show(whole_page: str) -> None:
    found = dict(zip(re.findall(r'<img alt="([^"]+)"', whole_page), plots(whole_page), strict=True))
    distribution = texts(found["Distribution of the times: Model: one face crop at a time"])
    assert "onnxruntime fp32, 6 threads" in distribution  # the last target of that name: the Jetson's
    points = texts(found["Accuracy over latency, size as area; validation"])
    for name in ("litert int8, 452 kB", "openvino fp32, 1,746 kB", "accuracy", "p50 in milliseconds (logarithmic)"):
        assert name in points
    stages = texts(found["Stages of a frame"])
    assert {" detect", " infer", "litert int8, 1 thread, 1 face, NOT VALID"} <= set(stages)
    classes = texts(found["Instructions per inference by class"])
    assert {" dot product", " load/store", "litert int8", "4.28", "million instructions per inference"} <= set(classes)
    assert {"°C, hottest zone", "MHz, slowest core"} <= set(texts(found["Heat, clock and power over time"]))
    assert {"p50 ms of each part", "watts of rapl package-0"} <= set(texts(found["Sustained run: p50 over time"]))
    spoilt = texts(found["Robustness: accuracy on spoilt pictures"])
    assert {"blur", "jpeg", "low resolution", " litert fp32", " litert int8"} <= set(spoilt)
    assert {"260", "surprise", "predicted"} <= set(texts(found["Confusion matrix"]))
    assert {"confidence", "part that is right"} <= set(texts(found["Reliability diagram"]))


def test_the_same_records_give_the_same_drawings(whole_page: str) -> None:
    again = SVG.findall(render_html([records.x86(), records.emulated("rpi5")], records.evaluations()))
    assert len(again) == 12
    assert set(again) <= set(SVG.findall(whole_page))


# Texts of strangers


def hostile() -> tuple[list[BenchRecord], list[Evaluation]]:
    bundle = BundleIdentity(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), {HOSTILE: HOSTILE})
    x86 = records.x86()
    rows = [
        replace(m, engine=HOSTILE, engine_version=HOSTILE, provider=HOSTILE, artifact=HOSTILE, precision=HOSTILE)
        for m in x86.measurements
    ]
    rows += [replace(m, provider_wanted=HOSTILE) for m in rows[:1]]
    rows += [replace(rows[-2], detector=HOSTILE, stages_ms={HOSTILE: {"p50": 1.0, "p99": 1.0}})]
    score = replace(x86.scores[0], engine=HOSTILE, artifact=HOSTILE, precision=HOSTILE, split=HOSTILE, data=HOSTILE)
    assert x86.sustained is not None
    assert x86.trace is not None
    measured = replace(
        x86,
        command=HOSTILE,
        device=HOSTILE,
        created=HOSTILE,
        noisy_reasons=(HOSTILE,),
        notes=(HOSTILE,),
        bundle=bundle,
        environment={"before": {"cpu": HOSTILE, HOSTILE: [{HOSTILE: HOSTILE}], "cores": {}}, "after": {"throttled": 3}},
        measurements=tuple(rows),
        scores=(score,),
        sustained=replace(x86.sustained, engine=HOSTILE, artifact=HOSTILE, precision=HOSTILE),
        trace=replace(x86.trace, power_source=HOSTILE[:100], throttled=(HOSTILE,)),
    )
    rpi = records.emulated("rpi5")
    emulations = tuple(
        replace(e, engine=HOSTILE, engine_version=HOSTILE, provider=HOSTILE, artifact=HOSTILE, precision=HOSTILE)
        for e in rpi.emulations
    )
    common = {"emulator": Emulator(HOSTILE, HOSTILE, HOSTILE), "bundle": bundle, "device": HOSTILE}
    emulated = replace(rpi, emulations=emulations, invalid_reasons=(HOSTILE,), **common)
    estimates = (Estimate(HOSTILE, HOSTILE, HOSTILE, 1, 1.0, 0.1),)
    estimated = replace(records.estimated(), estimates=estimates, **common)
    e = records.evaluation("int8")
    assert e.robustness is not None
    names = dict(zip(e.labels, (HOSTILE, *e.labels[1:]), strict=True))
    evaluation = replace(
        e,
        bundle=replace(bundle, labels=tuple(names.values())),
        accuracy=replace(e.accuracy, per_class={names[k]: v for k, v in e.accuracy.per_class.items()}),
        **dict.fromkeys(("engine", "engine_version", "provider", "artifact", "precision", "split", "data"), HOSTILE),
        command=HOSTILE,
        votes=None if e.votes is None else replace(e.votes, left_out={HOSTILE: 3}),
        robustness=replace(e.robustness, rows=tuple(replace(r, name=HOSTILE, unit=HOSTILE) for r in e.robustness.rows)),
    )
    invalid = replace(measured, invalid_reasons=(HOSTILE,), bundle=replace(bundle, digest="x"))
    return [measured, invalid, emulated, estimated], [evaluation]


def test_html_holds_hostile_texts_as_texts() -> None:
    text = render_html(*hostile())
    page = Page(text)
    assert not {"script", "iframe", "link", "object", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    assert not {"\x00", "\u202e", "\ud800"} & set(text)
    assert "<script>alert('x')</script>" in "".join(page.text)
    found = plots(text)
    assert len(found) > 10
    for plot in found:
        tags = {e.tag.rpartition("}")[2] for e in plot.iter()}
        assert tags <= {"svg", "metadata", "RDF", "Work", "type", "format", "creator", "Agent", "title"} | {
            "defs", "style", "g", "path", "use", "text", "tspan", "clipPath", "rect", "image", "pattern"
        }  # fmt: skip
        links = [v for e in plot.iter() for k, v in e.attrib.items() if k.rpartition("}")[2] == "href"]
        assert all(link.startswith(("#", "data:image/png")) for link in links)
    assert any("<script>alert" in said for plot in found for said in texts(plot))


def test_markdown_holds_hostile_texts_as_texts() -> None:
    text = render_markdown(*hostile())
    code = [line for line in text.splitlines() if line.startswith("    ")]
    prose = [line for line in text.splitlines() if line not in code]
    assert len(code) == 5
    assert not re.search(r"(?<!\\)[<`\[]", "\n".join(prose))
    assert {line.partition(" ")[0] for line in prose if line.startswith("#")} == {"#", "##", "###"}
    for line, after in itertools.pairwise(prose):
        if line.startswith("|") and after.startswith("|"):
            bars = [len(re.findall(r"(?<!\\)\|", row)) for row in (line, after)]
            assert bars[0] == bars[1]


@given(st.text(max_size=200))
def test_any_text_in_a_drawing_is_xml(text: str) -> None:
    def paint(figure: Any) -> None:
        figure.text(0.5, 0.5, canvas.text(text))

    if text.strip():
        ElementTree.fromstring(canvas.drawn(paint, 0.5))


def test_the_page_needs_no_other_file(whole_page: str) -> None:
    page = Page(whole_page)
    assert all((value or "").startswith("data:image/svg") for name, value in page.attributes if name == "src")
    assert not re.search(r"url\((?!#)|@import|https?://", re.sub(r"<style>.*?</style>", "", whole_page))
    places = {value for name, value in page.attributes if name == "id"}
    links = [(value or "")[1:] for name, value in page.attributes if name == "href"]
    assert len(links) == 7
    assert set(links) <= places
    assert ("name", "viewport") in page.attributes
    assert WARNING in page.text


# What is said


def test_kinds_never_share_a_section_or_a_summary() -> None:
    text = render_markdown(*golden_files())
    sections = text.split("\n## ")
    kinds = [s.splitlines()[0].rpartition(" ")[2] for s in sections[1:-1]]
    assert kinds == ["Summary"] + ["measured"] * 3 + ["emulated"] * 2 + ["estimated"]
    for kind, section in zip(kinds[1:], sections[2:], strict=False):
        assert {note for note in NOTES.values() if note.rstrip(".") in section.replace("\\", "")} == {NOTES[kind]}
        assert ("p99 ms" in section) == (kind == "measured")
        assert ("dot product | " in section) == (kind == "emulated")
        assert ("estimated p50 ms" in section) == (kind == "estimated")
    assert [row[0] for row in table(text, "Measured")[2:]] == ["x86", "~~rpi4~~", "jetson-orin-nano"]
    assert [row[0] for row in table(text, "Emulated")[2:]] == ["rpi4", "rpi5"]
    assert [row[0] for row in table(text, "Estimated")[2:]] == ["rpi4"]


def test_the_summary_has_the_artifact_that_the_device_runs() -> None:
    """The pipeline was measured with it, in one thread, though another one and more threads are faster."""
    record = records.x86()
    faster = records.model("onnxruntime", "int8", 1, 0.05)
    text = render_markdown([replace(record, measurements=(faster, *record.measurements))])
    head, _, row = table(text, "Measured")
    line = dict(zip(head, row, strict=True))
    assert line["engine"] == "litert int8 × 1"
    assert line["p50 ms (range)"].startswith("0.152 (0.1")
    assert line["accuracy (95 %)"] == "0.6633 (0.648–0.679)"
    assert (line["frame ms"], line["sustained"], line["marks"]) == ("11.8", "× 1.077", "valid")


def test_the_frame_of_the_summary_is_that_of_its_engine() -> None:
    record = records.x86()
    other = tuple(replace(m, engine="openvino") for m in record.measurements if m.scope == "pipeline")
    models = tuple(m for m in record.measurements if m.scope == "model")
    head, _, row = table(render_markdown([replace(record, measurements=(*models, *other))]), "Measured")
    line = dict(zip(head, row, strict=True))
    assert (line["engine"], line["frame ms"]) == ("litert int8 × 1", "–")


def test_the_summary_of_frames_alone_has_them() -> None:
    frames = tuple(m for m in records.x86().measurements if m.scope == "pipeline")
    head, _, row = table(render_markdown([small(measurements=frames)]), "Measured")
    line = dict(zip(head, row, strict=True))
    assert (line["engine"], line["frame ms"]) == ("litert int8 × 1", "11.8")


def test_machines_of_one_name_are_told_apart_in_the_summary() -> None:
    other = small(environment={"before": {"cpu": "Cortex-A76", "cores": 4}, "after": {}})
    assert "machine" not in table(render_markdown([small()]), "Measured")[0]
    rows = table(render_markdown([small(), other]), "Measured")
    assert [row[rows[0].index("machine")] for row in rows[2:]] == ["AMD EPYC, x86\\_64, 2 cores", "Cortex-A76, 4 cores"]


def test_a_host_is_not_taken_for_the_board_that_it_emulated() -> None:
    """An x86 host has a dot product where the emulated Cortex-A72 has none."""
    record = records.emulated("rpi4")
    environment = {"before": {"dot_product": ["avx512_vnni"]}, "after": {}}
    text = render_markdown([replace(record, environment=environment)])
    assert "- host's int8 dot product: avx512\\_vnni" in text
    assert "- int8 dot product" not in text


def test_a_machine_without_sensors_says_so() -> None:
    record = records.x86()
    assert record.trace is not None
    none = (None,) * len(record.trace.seconds)
    blind = replace(record, trace=replace(record.trace, temperature_c=none, mhz=none, watts=none, power_source=None))
    assert "tells neither temperature nor clock nor power" in render_markdown([blind])
    assert "tells neither" not in render_markdown([record])


def test_machines_never_share_a_table() -> None:
    other = small(environment={"before": {"cpu": "Cortex-A76", "cores": 4}, "after": {}}, device="rpi5")
    text = render_markdown([small(), other, small()])
    assert [s.splitlines()[0] for s in text.split("\n## ")[2:]] == [
        "x86 – AMD EPYC, x86\\_64, 2 cores – measured",
        "rpi5 – Cortex-A76, 4 cores – measured",
    ]


def test_rows_are_sorted_by_p50_and_have_every_column() -> None:
    head, _, *rows = table(render_markdown([records.x86()]), "Model: one face crop at a time")
    assert head[:9] == [
        "engine", "provider", "artifact", "threads", "p50 ms", "over rounds", "p90 ms", "p99 ms", "accuracy (95 %)"
    ]  # fmt: skip
    assert head[9:] == ["kB", "load ms", "first ms", "peak MiB", "W", "mJ a run"]
    assert [float(row[4]) for row in rows] == sorted(float(row[4]) for row in rows)
    assert len(rows) == 12
    assert rows[0][:3] == ["litert 2.3.0", "XNNPACK", "edge-s.int8.tflite"]
    low, high = (float(v) for v in rows[0][5].split("–"))
    assert low < 0.108 < high


def test_columns_that_nobody_filled_are_left_out() -> None:
    row = replace(small().measurements[0], watts=None, joules=None)
    bare = replace(row, rounds=tuple(replace(r, peak_mib=None) for r in row.rounds))
    head = table(render_markdown([small(measurements=(bare,))]), "Model: one face crop at a time")[0]
    assert not {"W", "mJ a run", "peak MiB", "accuracy (95 %)", "bundle"} & set(head)


def test_a_pipeline_shows_faces_frames_a_second_and_stages() -> None:
    text = render_markdown([records.x86()])
    head, _, *rows = table(text, "Pipeline: whole frames, without the camera")
    assert [row[head.index("faces")] for row in rows] == ["0", "1", "3 (found 2.9)"]
    assert float(rows[0][head.index("frames/s")]) == pytest.approx(1000 / (4.143 * 1.05), rel=0.01)
    head, _, *rows = table(text, "Stages of a frame, p50 ms")
    assert head[4:] == ["detect", "track", "preprocess", "infer", "smooth", "emit"]
    assert rows[2][4] == "17.4"


@pytest.mark.parametrize(("n", "said"), [(1, "One round gives no interval."), (4, "88 %"), (6, "97 %")])
def test_the_interval_over_rounds_says_what_it_is(n: int, said: str) -> None:
    text = render_markdown([small(measurements=(records.model("litert", "int8", 1, 0.2, n=n),))])
    assert said in text
    row = table(text, "Model: one face crop at a time")[2]
    assert (row[5] == "–") == (n == 1)


def test_another_provider_than_the_wanted_one_stands_out() -> None:
    assert "| **CPU (wanted CUDA)** |" in render_markdown([records.jetson()])
    assert '<td class="l wrong">CPU (wanted CUDA)</td>' in render_html([records.jetson()])


def test_what_is_not_valid_is_struck_out_with_its_reason_and_comes_last() -> None:
    bad = small(invalid_reasons=("under-voltage, after the measurement",), measurements=records.x86().measurements[:2])
    text = render_markdown([bad, small()])
    assert "**Not valid: edge-s (2d16e1c2), 2025-11-21T06:12:47+00:00: under-voltage, after the measurement**" in text
    rows = table(text, "Model: one face crop at a time")[2:]
    assert ["NOT VALID" in row[0] for row in rows] == [False, True, True]
    assert [all(cell.startswith("~~") for cell in row) for row in rows] == [False, True, True]
    page = render_html([bad])
    assert page.count('<tr class="invalid">') == 3  # two rows, and the summary's
    assert "litert fp32, 2 threads, NOT VALID" in texts(plots(page)[0])


def test_what_is_noisy_or_quick_says_so() -> None:
    noisy = small(quick=True, noisy_reasons=("others were busy",))
    text = render_markdown([noisy, small()])
    assert "litert 2.3.0 – noisy, quick" in text
    assert "quick: too short to publish" in text
    # Not in each row where it is said of all.
    assert "litert 2.3.0 – noisy, quick" not in render_markdown([noisy])
    assert "Noisy: edge-s (2d16e1c2), 2025-11-21T06:12:47+00:00, quick: others were busy." in text
    assert "noisy" not in render_markdown([small()]).lower()


def test_rows_of_several_bundles_say_which() -> None:
    other = small(bundle=replace(records.BUNDLE, name="edge-xs", digest="ff" * 32))
    text = render_markdown([small(), other])
    assert [row[0] for row in table(text, "Model: one face crop at a time")] == ["bundle", ":---", "edge-s", "edge-xs"]
    assert [row[1] for row in table(text, "Measured")[2:]] == ["edge-s", "edge-xs"]


def test_accuracy_over_latency_needs_scores_and_evidence() -> None:
    heading = "### Accuracy, latency, size"
    scored = replace(records.x86(), sustained=None, trace=None)
    assert heading in render_markdown([scored])
    assert heading not in render_markdown([replace(scored, scores=())])
    assert heading not in render_markdown([replace(scored, invalid_reasons=("hot",))])
    other = tuple(replace(s, data="another set of faces") for s in scored.scores[:2])
    assert render_markdown([replace(scored, scores=(*other, *scored.scores[2:]))]).count(heading) == 2


point = st.builds(
    lambda ms, accuracy: frontier.Point("p", "litert", "int8", ms, (ms, ms), accuracy, (0.0, 1.0), 1),
    st.sampled_from([0.1, 0.2, 0.3, 0.4]),
    st.sampled_from([0.5, 0.6, 0.7]),
)


@given(st.lists(point, min_size=1, max_size=8))
def test_nothing_beats_the_frontier(points: list[frontier.Point]) -> None:
    def beats(one: frontier.Point, other: frontier.Point) -> bool:
        same = (one.ms, one.accuracy) == (other.ms, other.accuracy)
        return not same and one.ms <= other.ms and one.accuracy >= other.accuracy

    unbeaten = {(p.ms, p.accuracy) for p in points if not any(beats(q, p) for q in points)}
    assert [(p.ms, p.accuracy) for p in frontier.best(points)] == sorted(unbeaten)


@pytest.mark.parametrize(
    ("last", "said"), [(0.1531, "× 1.000, as fast as it began"), (0.306, "100 % slower"), (0.14, "9 % faster")]
)
def test_a_sustained_run_is_told_in_words(last: float, said: str) -> None:
    record = records.x86()
    assert record.sustained is not None
    text = render_markdown([replace(record, sustained=replace(record.sustained, last_p50=last))])
    assert said in text
    assert len(table(text, "Sustained run: edge-s (2d16e1c2), 2025-11-21T06:12:47+00:00")) == 14


def test_a_trace_is_told_in_figures_and_what_the_firmware_did() -> None:
    text = render_markdown([records.throttled()])
    rows = table(text, "Heat, clock and power: edge-s (2d16e1c2), 2025-11-20T18:00:00+00:00, quick, NOT VALID")
    assert [row[0] for row in rows[2:]] == ["°C, hottest zone", "MHz, slowest core"]
    assert rows[3][2:] == ["1,800", "1,000", "1,533", "1,800", "1,000"]
    assert "The firmware slowed the device down meanwhile: clock capped; throttled." in text


def test_emulated_answers_and_instructions() -> None:
    record = records.emulated("rpi5")
    wrong = replace(record.emulations[1], bit_identical=False, same_label=0.9951, max_difference=0.0039)
    text = render_markdown([replace(record, emulations=(record.emulations[0], wrong, *record.emulations[2:]))])
    head, _, *rows = table(text, "Answers against the host's")
    assert [row[head.index("same bits")] for row in rows] == ["yes", "**NO**", "no", "no", "no"]
    assert rows[1][head.index("same label")] == "99.51 %"
    head, _, *rows = table(text, "Instructions per inference, millions")
    assert rows[0] == [
        "litert 2.3.0", "edge-s.int8.tflite", "4.28", "1.33 (31 %)", "0.77 (18 %)", "1.24 (29 %)", "0.77 (18 %)",
        "0.17 (4 %)", "0.00037 % over 3",
    ]  # fmt: skip
    assert "no latency is claimed" in text


def test_estimated_times_come_with_their_error() -> None:
    rows = table(render_markdown([records.estimated()]), "Estimated latency, one thread")
    assert rows[2] == ["litert", "edge-s.int8.tflite", "10.20", "4.857", "± 23 %", "3.740 and 5.974"]


def test_facts_and_command_are_there() -> None:
    text = render_markdown([records.throttled(), records.emulated("rpi4")])
    assert "    edgefer bench --quick --json rpi4.json\n" in text
    assert "- int8 dot product: none\n" in text
    assert "- cores: 4\n" in text
    assert "- host's cpu: AMD EPYC\n" in text
    assert "now none, occurred none; afterwards bits 0xe0006, now clock capped" in text


def test_evaluations_are_shown() -> None:
    text = render_markdown([], records.evaluations())
    head, _, one, other = table(text, "validation, 3,579 faces (5f1c0de…)")
    assert one[head.index("against float, points")] == "–"
    assert other[head.index("against float, points")] == "-0.06 (-0.42 to +0.31)"
    assert other[head.index("spoilt")] == "0.528 (80 % of clean)"
    heading = "edge-s.int8.tflite in litert 2.3.0, validation"
    assert table(text, heading)[2][0] == "angry"
    assert "the majority sides with" in text
    assert "; 1 picture could not be read." in text
    assert re.search(r"\| jpeg \| 50, 30, 20, 12, 7 quality \| 0\.6", text)
    assert re.search(r"\| true / predicted \| angry \|", text)


def test_what_answers_alike_is_told_once() -> None:
    """The same artifact in three engines gives three times the same matrix: pages of it help nobody."""
    fp32, int8 = records.evaluations()
    spoilt = replace(int8, robustness=fp32.robustness, command="edgefer evaluate --robustness")
    alike = [replace(int8, robustness=None), replace(int8, robustness=None, engine="openvino"), spoilt]
    text = render_markdown([], [fp32, *alike])
    assert text.count("| true / predicted |") == 2
    assert "The same confusion matrix, so not shown again: edge-s.int8.tflite in openvino 2.3.0." in text
    assert f"    {spoilt.command}\n" in text
    assert text.count("Robustness of edge-s.int8.tflite in litert 2.3.0: on") == 1
    assert len(table(text, "validation, 3,579 faces (5f1c0de…)")) == 6
    assert table(text, "Accuracy")[2][:4] == ["3,579 of validation", "4", "0.6432", "0.6438 (0.628–0.659)"]


def test_accuracies_on_other_faces_are_not_compared() -> None:
    one = records.evaluations()[0]
    text = render_markdown([], [one, replace(one, split="train", data="ff" * 32)])
    assert [row[0] for row in table(text, "Accuracy")[2:]] == ["3,579 of validation", "3,579 of train"]


# Size


def test_ten_thousand_rows_do_not_hang_and_say_what_is_left_out() -> None:
    stage = {f"stage {i}": {"p50": 1.0, "p99": 2.0} for i in range(40)}
    rows = [replace(records.model("litert", "int8", 1, 0.1 + i, n=1), engine=f"engine{i}") for i in range(100)]
    frames = [replace(records.pipeline(1, 9.0, {}, n=1), stages_ms=stage)] * 5000
    scores = tuple(
        Score(f"engine{i % 200}", f"a{i}", "int8", "test", f"{i % 7}", 10, 0.5, (0.4, 0.6)) for i in range(10_000)
    )
    record = small(
        measurements=tuple(rows * 50 + frames),
        scores=scores,
        bundle=replace(records.BUNDLE, name="n" * 1_000_000),
        notes=("x" * 1_000_000,) * 50,
        noisy_reasons=("busy",) * 10_000,
    )
    other = replace(record, bundle=replace(record.bundle, digest="00"))
    start = time.monotonic()
    text = render_html([record, other])
    assert time.monotonic() - start < 30
    assert len(text) < 10_000_000
    assert f"{10_000 - MAX_ROWS:,} of 10,000 rows are not in the table: there are too many." in text
    assert "9,960 of 10,000 rows are not drawn" in text
    assert "28 of 40 stages are not shown" in text


@pytest.mark.parametrize("figure", [0.0, 5e-324, 1e-9, 1e15, 1.7e308])
def test_absurd_figures_are_told_and_not_drawn(figure: float) -> None:
    record = records.x86()
    row = record.measurements[0]
    latency = replace(
        row.latency, **{k: figure for k in ("mean", "std", "p50", "p90", "p99")}, quantiles=(figure,) * 21
    )
    absurd = replace(
        row,
        latency=latency,
        rounds=(replace(row.rounds[0], p50=figure, load_ms=figure, peak_mib=figure),),
        joules=figure,
        watts=figure,
        bytes=2**63 - 1,
    )
    frame = replace(records.pipeline(1, 9.0, {"detect": figure}), faces=2**62, faces_found=figure)
    assert record.trace is not None
    record = replace(
        record,
        measurements=(absurd, frame),
        sustained=Sustained("e", "a", "p", 1, figure, 1, figure, figure or 1.0, figure, record.sustained.steps[:2])
        if record.sustained
        else None,
        trace=replace(record.trace, temperature_c=(figure,) * 1500),
        idle_watts=figure,
    )
    page = Page(render_html([record]))
    said = "".join(page.text)
    # The models' times, and the stages where they are too long; the pipeline's times are drawn.
    assert said.count("1 of 1 rows are not drawn: too many, or times that no plot can show.") == (
        2 if figure > 1e9 else 1
    )
    assert "nan" not in said


def test_the_most_unlike_figures_share_a_drawing() -> None:
    rows = [records.model("litert", "int8", 1, p50) for p50 in (2e-6, 1.0, 5e8)]
    rows = [replace(row, latency=replace(row.latency, quantiles=(row.latency.p50,) * 21)) for row in rows]
    scored = small(measurements=tuple(rows), scores=(records.score("litert", "int8", 0),))
    found = plots(render_html([scored]))
    assert len(found) == 2
    assert "1e+08" in texts(found[0])


def test_a_deep_environment_is_told_in_short() -> None:
    deep: Any = "end"
    for _ in range(900):
        deep = [deep]
    text = render_markdown([small(environment={"before": {"deep": deep}, "after": {}})])
    assert "- deep: …" in text


def test_many_labels_and_corruptions_are_bounded() -> None:
    e = records.evaluation("fp32")
    labels = tuple(f"label {i}" for i in range(40))
    assert e.robustness is not None
    rows = tuple(Row(f"c{i}", "u", e.robustness.rows[0].levels * 20) for i in range(100))
    big = replace(
        e,
        bundle=replace(e.bundle, labels=labels),
        accuracy=replace(e.accuracy, confusion=((0,) * 40,) * 40),
        robustness=Robustness(0, 1000, 659, rows),
    )
    page = Page(render_html([], [big] * 9))
    said = "".join(page.text)
    assert "The confusion matrix of 40 labels is too large to be shown." in said
    assert "84 of 100 corruptions are not drawn" in said
    assert "1 of 9 artifacts are not drawn" in said


# Files


@pytest.mark.parametrize("suffix", [".html", ".md"])
def test_the_suffix_decides(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"report{suffix}"
    write_report([small()], path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>" if suffix == ".html" else "# edgefer")


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"\.html or \.md"):
        write_report([small()], tmp_path / "report.pdf")
    with pytest.raises(RecordError, match="nothing to report"):
        write_report([], tmp_path / "report.md")
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write"):
        write_report([small()], tmp_path / "file" / "report.md")


def test_without_matplotlib_the_page_names_the_extra_and_markdown_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgefer\[report\]'"):
        render_html([small()])
    assert "AMD EPYC" in render_markdown([small()])


def test_the_command_takes_both_kinds_of_file(tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    one.write_text(json.dumps(records.evaluation("fp32").as_dict()))
    files = [str(p) for p in (GOLDEN / "x86.json", one, GOLDEN / "evaluations.json")]
    done = CliRunner().invoke(command, [*files, "--out", str(tmp_path / "r.md")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "r.md").read_text()
    assert "## x86 – AMD EPYC" in text
    assert table(text, "Accuracy")[2][:2] == ["3,579 of validation", "2"], "what is given twice counts once"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "1–256 evaluations"),
        ('{"kind": "evaluation"}', "'schema' is missing"),
        ('{"schema": 1, "kind": "measured"}', "schema is 1, this version reads 2; measure again"),
        ("3", "must be an object"),
        ('[{"kind": "evaluation", "schema": 7}]', "install a newer edgefer"),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(RecordError) as caught:
        read([path])
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    with pytest.raises(RecordError, match="cannot read"):
        read([tmp_path / "none.json"])
