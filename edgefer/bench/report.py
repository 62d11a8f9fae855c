"""Benchmark records and evaluations as a page: tables, plots, and what they were taken on. Nothing is measured here.

Every text that comes from a record is escaped: a record is data from someone else's machine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from edgefer import files, page
from edgefer.bench.detection import DetectionRecord, is_detection
from edgefer.bench.evaluation import Evaluation, evaluations_of, is_evaluation
from edgefer.bench.record import BenchRecord, read_json
from edgefer.bench.reporting.blocks import Block, Contents, Facts, Heading, Plot, Table, Text
from edgefer.bench.reporting.contents import TITLE, blocks
from edgefer.errors import RecordError

T = TypeVar("T")
LEFT_COLUMNS = frozenset(
    {
        "artifact",
        "bundle",
        "class",
        "corruption",
        "detector",
        "device",
        "engine",
        "machine",
        "marks",
        "provider",
        "reading",
        "strengths",
        "true / predicted",
        "wrong by the label: the majority sides with",
    }
)


def read(paths: Sequence[Path]) -> tuple[list[BenchRecord], list[Evaluation], list[DetectionRecord]]:
    """Read files of any kind: what `edgefer bench --json` wrote, and what `edgefer evaluate --json` did.

    What is given twice counts once.

    Raises RecordError for a file that is missing, too large, or none of these.
    """
    finding: list[DetectionRecord] = []
    records: list[BenchRecord] = []
    evaluations: list[Evaluation] = []
    for path in paths:
        data = read_json(path, f"make one with: edgefer bench --json {path}")
        try:
            if is_evaluation(data):
                evaluations += evaluations_of(data)
            elif is_detection(data):
                finding.append(DetectionRecord.from_dict(data))
            else:
                records.append(BenchRecord.from_dict(data))
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        except RecursionError as error:
            raise RecordError(f"{path} is nested too deeply to be a record; measure again") from error
    return _once(records), _once(evaluations), _once(finding)


def _once(things: Sequence[T]) -> list[T]:
    return [thing for i, thing in enumerate(things) if thing not in things[:i]]


def write_report(
    records: Sequence[BenchRecord],
    path: Path,
    evaluations: Sequence[Evaluation] = (),
    finding: Sequence[DetectionRecord] = (),
) -> None:
    """Write a report as `.html` or `.md`, by the suffix, wholly or not at all.

    Raises RecordError for another suffix, no records, or a file that cannot be written.
    """
    if not records and not evaluations and not finding:
        raise RecordError("there is nothing to report; make a record with: edgefer bench --json record.json")
    suffix = path.suffix.lower()
    if suffix == ".html":
        text = render_html(records, evaluations, finding)
    elif suffix == ".md":
        text = render_markdown(records, evaluations, finding)
    else:
        raise RecordError(f"a report is .html or .md, found {path.name!r}; choose another name")
    try:
        files.write_text(path, text)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error.strerror or error}") from error


def render_html(
    records: Sequence[BenchRecord], evaluations: Sequence[Evaluation] = (), finding: Sequence[DetectionRecord] = ()
) -> str:
    """Return one page that needs no other file; raises MissingDependencyError without matplotlib."""
    body = "\n".join(_html_block(block) for block in blocks(records, evaluations, finding))
    return page.document(TITLE, body)


def render_markdown(
    records: Sequence[BenchRecord], evaluations: Sequence[Evaluation] = (), finding: Sequence[DetectionRecord] = ()
) -> str:
    """Return the same as Markdown, without plots."""
    texts = [_md_block(block) for block in blocks(records, evaluations, finding)]
    return "\n\n".join(text for text in texts if text) + "\n"


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        return page.heading(block.text, block.level, block.anchor)
    if isinstance(block, Contents):
        return page.contents(block.places)
    if isinstance(block, Text):
        return page.paragraph(block.text, block.style)
    if isinstance(block, Facts):
        return page.facts(block.facts)
    if isinstance(block, Plot):
        return page.figure(block.draw(), block.title, block.caption, block.half)
    return page.table(block.head, block.rows, LEFT_COLUMNS, block.marks, block.wrong)


def _md_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_md(block.text)}"
    if isinstance(block, Contents):
        return ""
    if isinstance(block, Text):
        if block.style == "code":
            return f"    {page.plain(block.text)}"
        return f"**{_md(block.text)}**" if block.style == "bad" else _md(block.text)
    if isinstance(block, Facts):
        return "\n".join(f"- {_md(name)}: {_md(value)}" for name, value in block.facts)
    if isinstance(block, Plot):
        return "" if block.instead is None else f"{_md(block.title)}:\n\n{_md_block(block.instead)}"
    return _md_table(block)


def _md_table(table: Table) -> str:
    rule = [":---" if name in LEFT_COLUMNS else "---:" for name in table.head]
    lines = [[_md(name) for name in table.head], rule]
    for i, row in enumerate(table.rows):
        cells = [f"**{_md(cell)}**" if (i, j) in table.wrong else _md(cell) for j, cell in enumerate(row)]
        lines.append([f"~~{cell}~~" for cell in cells] if (table.marks or {}).get(i) == "invalid" else cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _md(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", page.plain(text))
