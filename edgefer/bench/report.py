"""Benchmark records as a page: tables, plots, and what they were taken on. Nothing is measured here.

Every text that comes from a record is escaped: a record is data from someone else's machine.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path

from edgefer import files, plugins
from edgefer.bench._blocks import TITLE, Block, Facts, Heading, Plot, Target, Text, blocks
from edgefer.bench.accuracy import Evaluation
from edgefer.bench.record import BenchRecord, Measurement
from edgefer.errors import RecordError

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
    body = "\n".join(_html_block(block) for block in blocks(records, evaluations))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def render_markdown(records: Sequence[BenchRecord], evaluations: Sequence[Evaluation] = ()) -> str:
    """Return the same without plots, as Markdown."""
    texts = [_md_block(block) for block in blocks(records, evaluations)]
    return "\n\n".join(text for text in texts if text) + "\n"


def _latency_plot(target: Target, scope: str) -> str:
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
    mark = "" if record.valid else ", not valid"
    return f"{name}{m.engine} {m.precision}, {m.threads} thread{'' if m.threads == 1 else 's'}{faces}"[:60] + mark


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_html(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        text = _html(block.text)
        return f"<p><code>{text}</code></p>" if block.style == "code" else f'<p class="{block.style}">{text}</p>'
    if isinstance(block, Facts):
        return f"<dl>{''.join(f'<dt>{_html(name)}</dt><dd>{_html(value)}</dd>' for name, value in block.facts)}</dl>"
    if isinstance(block, Plot):
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


def _md_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_md(block.text)}"
    if isinstance(block, Text):
        if block.style == "code":
            return f"    {_plain(block.text)}"
        return f"**{_md(block.text)}**" if block.style == "bad" else _md(block.text)
    if isinstance(block, Facts):
        return "\n".join(f"- {_md(name)}: {_md(value)}" for name, value in block.facts)
    if isinstance(block, Plot):
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
