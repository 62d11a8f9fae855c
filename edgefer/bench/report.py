"""Benchmark records as a page: tables, plots, and what they were taken on. Nothing is measured here.

Every text that comes from a record is escaped: a record is data from someone else's machine.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefer import files, plugins
from edgefer.bench import accuracy
from edgefer.bench.accuracy import Evaluation
from edgefer.bench.record import KINDS, BenchRecord, Measurement
from edgefer.errors import RecordError

TITLE = "edgefer benchmark report"
WARNING = "Figures hold for the machine that they were taken on: a host's figure is not a device's."
KIND_NOTES = {
    "measured": "Timed on the machine itself.",
    "emulated": "Run under an emulator: results and instruction counts count, milliseconds say nothing about a device.",
    "estimated": "Calculated, not measured.",
}
SCOPES = {"model": "model, batch 1", "pipeline": "pipeline, without capture"}
LEFT_COLUMNS = frozenset({"engine", "provider", "artifact", "detector", "stage", "class", "bundle"})

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;max-width:64rem;margin:0 auto;padding:1rem}
h1{font-size:1.5rem;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .3rem;border-top:1px solid #dde3ea;padding-top:1.2rem}
h3{font-size:1rem;margin:1.3rem 0 .3rem}p{margin:.4rem 0}.note{color:#55606e}
.bad{background:#fdecea;border-left:4px solid #c0392b;padding:.5rem .8rem;margin:.6rem 0}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .6rem;text-align:right;
border-bottom:1px solid #e6eaef;white-space:nowrap}th{color:#55606e;font-weight:600}
td.l,th.l{text-align:left}tr.invalid td{color:#a33;text-decoration:line-through}
img{max-width:100%;height:auto}code{background:#f3f5f8;padding:.1rem .3rem;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;
gap:.1rem .9rem;font-size:.9rem}dt{color:#55606e}dd{margin:0;overflow-wrap:anywhere}
"""


def write_report(records: Sequence[BenchRecord], path: Path, evaluations: Sequence[Evaluation] = ()) -> None:
    """Write a report as `.html` or `.md`, by the suffix, wholly or not at all.

    Raises RecordError for another suffix, no records, or a file that cannot be written.
    """
    if not records and not evaluations:
        raise RecordError("there is nothing to report; make a record with: edgefer bench --json record.json")
    suffix = path.suffix.lower()
    if suffix == ".html":
        text = render_html(records, evaluations)
    elif suffix == ".md":
        text = render_markdown(records, evaluations)
    else:
        raise RecordError(f"a report is .html or .md, found {path.name!r}; choose another name")
    try:
        files.write_text(path, text)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def render_html(records: Sequence[BenchRecord], evaluations: Sequence[Evaluation] = ()) -> str:
    """Return one page that needs no other file; raises MissingDependencyError without matplotlib."""
    body = "\n".join(_html_block(block) for block in _blocks(records, evaluations))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def render_markdown(records: Sequence[BenchRecord], evaluations: Sequence[Evaluation] = ()) -> str:
    """Return the same without plots, as Markdown."""
    texts = [_md_block(block) for block in _blocks(records, evaluations)]
    return "\n\n".join(text for text in texts if text) + "\n"


@dataclass(frozen=True)
class _Heading:
    text: str
    level: int


@dataclass(frozen=True)
class _Text:
    text: str
    style: str = ""
    """`note`, `bad` or `code`."""


@dataclass(frozen=True)
class _Facts:
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Table:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    invalid: frozenset[int] = frozenset()
    """Rows that are no evidence."""


@dataclass(frozen=True)
class _Plot:
    title: str
    target: _Target
    scope: str


_Block = _Heading | _Text | _Facts | _Table | _Plot


def _blocks(records: Sequence[BenchRecord], evaluations: Sequence[Evaluation]) -> Iterator[_Block]:
    """Yield what a report says, in order and unescaped."""
    yield _Heading(TITLE, 1)
    yield _Text(WARNING, "note")
    for target in _targets(records):
        yield _Heading(target.title, 2)
        yield _Text(KIND_NOTES[target.kind], "note")
        for record in target.records:
            if not record.valid:
                yield _Text(f"Not valid: {_label(record)}: {'; '.join(record.invalid_reasons)}", "bad")
        for scope, heading in SCOPES.items():
            rows = target.rows(scope)
            if not rows:
                continue
            invalid = frozenset(i for i, (record, _) in enumerate(rows) if not record.valid)
            yield _Heading(heading, 3)
            yield _Table(*_figures(rows, scope, target.several_bundles), invalid)
            yield _Plot(f"{heading}: p50 and p99 of each row of the table", target, scope)
            if scope == "pipeline":
                yield _Heading("stages, p50 ms", 3)
                yield _Table(*_stages(rows), invalid)
        if target.kind == "emulated":
            yield _Table(*_emulated(target))
        for record in target.records:
            yield _Heading(_label(record), 3)
            yield _Facts(tuple(_facts(record)))
            yield _Text(record.command, "code")
    for evaluation in evaluations:
        runtime = f"{evaluation.engine} {evaluation.engine_version}"
        a = evaluation.accuracy
        yield _Heading(f"accuracy of {evaluation.artifact} in {runtime}, split {evaluation.split}", 2)
        yield _Text(
            f"accuracy {a.accuracy:.4f} (95 % interval {a.ci95[0]:.4f}–{a.ci95[1]:.4f}, n = {a.n}),"
            f" macro F1 {a.macro_f1:.4f}, weighted F1 {a.weighted_f1:.4f}"
        )
        head, *rows_by_class = accuracy.class_rows(evaluation)
        yield _Table(head, rows_by_class)


@dataclass(frozen=True)
class _Target:
    """Records of one kind from one machine."""

    kind: str
    device: str
    machine: str
    records: tuple[BenchRecord, ...]

    @property
    def title(self) -> str:
        return f"{self.device} – {self.machine} – {self.kind}"

    @property
    def several_bundles(self) -> bool:
        return len({r.bundle.digest for r in self.records}) > 1

    def rows(self, scope: str) -> list[tuple[BenchRecord, Measurement]]:
        """Return its measurements of a scope: evidence first, few faces before many, fastest first."""
        found = [(r, m) for r in self.records for m in r.measurements if m.scope == scope]
        return sorted(found, key=lambda rm: (not rm[0].valid, rm[1].faces or 0, rm[1].latency.p50))


def _targets(records: Iterable[BenchRecord]) -> list[_Target]:
    """Return the records by kind and machine; two kinds or two machines never share a table."""
    groups: dict[tuple[str, str, str], list[BenchRecord]] = {}
    for record in records:
        before = record.environment["before"]
        about = [_words(before[key]) for key in ("model", "cpu", "machine") if before.get(key)]
        about += [f"{_words(before['cores'])} cores"] if before.get("cores") else []
        groups.setdefault((record.kind, record.device, ", ".join(about) or "unknown machine"), []).append(record)
    order = sorted(groups, key=lambda key: (KINDS.index(key[0]), *key[1:]))
    return [_Target(*key, tuple(groups[key])) for key in order]


def _label(record: BenchRecord) -> str:
    return f"{record.bundle.name} ({record.bundle.digest[:8]}), {record.created}{', quick' if record.quick else ''}"


def _figures(
    rows: Sequence[tuple[BenchRecord, Measurement]], scope: str, several_bundles: bool
) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of a scope."""
    lines = []
    for record, m in rows:
        marks = ("" if record.valid else " – NOT VALID") + (" – quick" if record.quick else "")
        line = {"bundle": record.bundle.name} if several_bundles else {}
        line |= {
            "engine": f"{m.engine} {m.engine_version}{marks}",
            "provider": m.provider,
            "artifact": f"{m.artifact} ({m.precision})",
            "kB": f"{m.bytes / 1000:.0f}",
            "threads": str(m.threads),
        }
        if scope == "model":
            line |= {"load ms": _ms(m.load_ms), "first ms": _ms(m.first_ms)}
        else:
            line |= {"detector": m.detector or "–", "faces": _faces(m)}
        line |= {"p50 ms": _ms(m.latency.p50), "p90 ms": _ms(m.latency.p90), "p99 ms": _ms(m.latency.p99)}
        if scope == "pipeline":
            line["fps"] = f"{1000 / m.latency.mean:.1f}" if m.latency.mean else "–"
        lines.append(line)
    return list(lines[0]), [list(line.values()) for line in lines]


def _faces(m: Measurement) -> str:
    """Return how many faces there were, and how many of them were found where that differs."""
    drawn = "–" if m.faces is None else str(m.faces)
    if m.faces is None or m.faces_found is None or abs(m.faces_found - m.faces) < 0.05:
        return drawn
    return f"{drawn} (found {m.faces_found:.1f})"


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _stages(rows: Sequence[tuple[BenchRecord, Measurement]]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of stages."""
    stages = list(dict.fromkeys(stage for _, m in rows for stage in m.stages_ms or {}))
    lines = []
    for _, m in rows:
        figures = m.stages_ms or {}
        times = [_ms(figures[stage]["p50"]) if stage in figures else "–" for stage in stages]
        lines.append([m.engine, f"{m.artifact} ({m.precision})", str(m.threads), _faces(m), *times])
    return ["engine", "artifact", "threads", "faces", *stages], lines


def _emulated(target: _Target) -> tuple[list[str], list[list[str]]]:
    lines = [
        [r.bundle.name, "yes" if r.bit_identical else "NO", f"{r.instructions_per_inference or 0:,}"]
        for r in target.records
    ]
    return ["bundle", "bit-identical to the host", "instructions per inference"], lines


def _facts(record: BenchRecord) -> list[tuple[str, str]]:
    """Return what the record was taken on, in words; what is not known is left out."""
    before, after = record.environment["before"], record.environment["after"]
    facts = [("architecture", record.bundle.architecture), ("labels", ", ".join(record.bundle.labels))]
    for key in (
        "model",
        "cpu",
        "cores",
        "memory_mib",
        "kernel",
        "libc",
        "python",
        "packages",
        "governors",
        "power_mode",
    ):
        if before.get(key):
            facts.append((key.replace("_mib", ", MiB").replace("_", " "), _words(before[key])))
    for key in ("frequencies_mhz", "temperatures_c", "load_average", "throttled"):
        if before.get(key) or after.get(key):
            name = key.replace("_mhz", ", MHz").replace("_c", ", °C").replace("_", " ")
            facts.append((name, f"{_words(before.get(key))} before; {_words(after.get(key))} after"))
    runs = sum(m.latency.runs for m in record.measurements)
    facts.append(("timed runs", f"{runs:,} in {sum(m.latency.seconds for m in record.measurements):.0f} s"))
    return facts


def _words(value: Any) -> str:
    """Return plain data as a short text."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_words(v)}" for k, v in value.items()) or "–"
    if isinstance(value, list):
        return ", ".join(_words(v) for v in value) or "none"
    return "–" if value is None else str(value)


def _latency_plot(target: _Target, scope: str) -> str:
    """Return an SVG: a bar of p50 for each measurement, with a whisker to p99; what is not valid is hatched."""
    matplotlib = plugins.require("matplotlib", "report", "the report's plots")
    figures = plugins.require("matplotlib.figure", "report", "the report's plots")
    rows = target.rows(scope)
    names = [_plain(_bar_name(r, m, target.several_bundles)) for r, m in rows]
    p50 = [m.latency.p50 for _, m in rows]
    reach = [max(0.0, m.latency.p99 - m.latency.p50) for _, m in rows]
    # Text as text, and `$` as `$`: the names come from a record.
    with matplotlib.rc_context(
        {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "edgefer", "font.size": 9}
    ):
        figure = figures.Figure(figsize=(7.5, 0.9 + 0.36 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        bars = axes.barh(
            range(len(rows)),
            p50,
            xerr=[[0.0] * len(rows), reach],
            color="#3b7dd8",
            ecolor="#1c2430",
            capsize=3,
            height=0.62,
        )
        for bar, (record, _) in zip(bars, rows, strict=True):
            if not record.valid:
                bar.set(facecolor="#f6c9c3", hatch="///", edgecolor="#c0392b")
        axes.set_yticks(range(len(rows)), names)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("milliseconds: bar p50, whisker p99")
        axes.spines[["top", "right"]].set_visible(False)
        image = io.StringIO()
        figure.savefig(image, format="svg", metadata={"Date": None, "Creator": None})
    return image.getvalue()


def _bar_name(record: BenchRecord, m: Measurement, several: bool) -> str:
    faces = f", {m.faces} face{'' if m.faces == 1 else 's'}" if m.faces is not None else ""
    name = f"{record.bundle.name}: " if several else ""
    return f"{name}{m.engine} {m.precision}, {m.threads} thread{'' if m.threads == 1 else 's'}{faces}"[:60]


def _html_block(block: _Block) -> str:
    if isinstance(block, _Heading):
        return f"<h{block.level}>{_html(block.text)}</h{block.level}>"
    if isinstance(block, _Text):
        text = _html(block.text)
        return f"<p><code>{text}</code></p>" if block.style == "code" else f'<p class="{block.style}">{text}</p>'
    if isinstance(block, _Facts):
        return f"<dl>{''.join(f'<dt>{_html(name)}</dt><dd>{_html(value)}</dd>' for name, value in block.facts)}</dl>"
    if isinstance(block, _Plot):
        # As an image, nothing in it can run or be loaded.
        data = base64.b64encode(_latency_plot(block.target, block.scope).encode("utf-8")).decode("ascii")
        return f'<img alt="{_html(block.title)}" src="data:image/svg+xml;base64,{data}">'
    sides = ["l" if name in LEFT_COLUMNS else "r" for name in block.head]
    lines = [_html_row("th", sides, block.head, True)]
    lines += [_html_row("td", sides, row, i not in block.invalid) for i, row in enumerate(block.rows)]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _html_row(tag: str, sides: Sequence[str], cells: Sequence[str], valid: bool) -> str:
    inner = "".join(f'<{tag} class="{side}">{_html(c)}</{tag}>' for side, c in zip(sides, cells, strict=True))
    return f"<tr>{inner}</tr>" if valid else f'<tr class="invalid">{inner}</tr>'


def _md_block(block: _Block) -> str:
    if isinstance(block, _Heading):
        return f"{'#' * block.level} {_md(block.text)}"
    if isinstance(block, _Text):
        if block.style == "code":
            return f"    {_plain(block.text)}"
        return f"**{_md(block.text)}**" if block.style == "bad" else _md(block.text)
    if isinstance(block, _Facts):
        return "\n".join(f"- {_md(name)}: {_md(value)}" for name, value in block.facts)
    if isinstance(block, _Plot):
        return ""
    rule = [":---" if name in LEFT_COLUMNS else "---:" for name in block.head]
    lines = [[_md(name) for name in block.head], rule, *([_md(cell) for cell in row] for row in block.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Return one line of what can be printed; everything else becomes a replacement character."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _html(text: str) -> str:
    return html.escape(_plain(text))


def _md(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", _plain(text))
