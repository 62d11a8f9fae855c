"""Benchmark records as a page: tables, plots, and what they were taken on. Nothing is measured here.

Every text that comes from a record is escaped: a record is data from someone else's machine.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

from edgefer import files, page, plugins
from edgefer.bench._blocks import TITLE, Block, Facts, Heading, Plot, Target, Text, blocks
from edgefer.bench.accuracy import Evaluation
from edgefer.bench.record import BenchRecord, Measurement
from edgefer.errors import RecordError

LEFT_COLUMNS = frozenset({"engine", "provider", "artifact", "detector", "stage", "class", "bundle"})


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
    body = "\n".join(_html_block(block) for block in blocks(records, evaluations))
    return page.document(TITLE, body)


def render_markdown(records: Sequence[BenchRecord], evaluations: Sequence[Evaluation] = ()) -> str:
    """Return the same without plots, as Markdown."""
    texts = [_md_block(block) for block in blocks(records, evaluations)]
    return "\n\n".join(text for text in texts if text) + "\n"


def _latency_plot(target: Target, scope: str) -> str:
    """Return an SVG: a bar of p50 for each measurement, with a whisker to p99; what is not valid is hatched."""
    matplotlib = plugins.require("matplotlib", "report", "the report's plots")
    figures = plugins.require("matplotlib.figure", "report", "the report's plots")
    rows = target.rows(scope)
    names = [page.plain(_bar_name(r, m, target.several_bundles)) for r, m in rows]
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
    mark = "" if record.valid else ", not valid"
    return f"{name}{m.engine} {m.precision}, {m.threads} thread{'' if m.threads == 1 else 's'}{faces}"[:60] + mark


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        return page.heading(block.text, block.level)
    if isinstance(block, Text):
        return page.paragraph(block.text, block.style)
    if isinstance(block, Facts):
        return page.facts(block.facts)
    if isinstance(block, Plot):
        return page.svg(_latency_plot(block.target, block.scope), block.title)
    return page.table(block.head, block.rows, LEFT_COLUMNS, dict.fromkeys(block.invalid, "invalid"))


def _md_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_md(block.text)}"
    if isinstance(block, Text):
        if block.style == "code":
            return f"    {page.plain(block.text)}"
        return f"**{_md(block.text)}**" if block.style == "bad" else _md(block.text)
    if isinstance(block, Facts):
        return "\n".join(f"- {_md(name)}: {_md(value)}" for name, value in block.facts)
    if isinstance(block, Plot):
        return ""
    rule = [":---" if name in LEFT_COLUMNS else "---:" for name in block.head]
    lines = [[_md(name) for name in block.head], rule, *([_md(cell) for cell in row] for row in block.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _md(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", page.plain(text))
