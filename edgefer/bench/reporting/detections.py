"""Finding faces: what detectors find by size, how many false ones, what a frame costs, and what they see in clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgefer.bench import detection_text
from edgefer.bench.detection import DetectionRecord
from edgefer.bench.reporting.blocks import Block, Facts, Heading, Text, left_out, table_of
from edgefer.bench.reporting.words import MAX_TEXT, artifact, count, cut

MAX_RECORDS = 20
MAX_REASONS = 20


def blocks(records: Sequence[DetectionRecord]) -> Iterator[Block]:
    """Yield what records of detectors say, one after the other: only what was measured together compares."""
    for record in records[:MAX_RECORDS]:
        yield from _one(record)
    yield from left_out(len(records), MAX_RECORDS, "records of detectors are not shown")


def _one(record: DetectionRecord) -> Iterator[Block]:
    every = record.rows[0].every
    yield Heading(f"{cut(record.split)}, {count(record.pictures, 'picture')} ({cut(record.data, 8)})", 3)
    skipped = f"; {count(record.skipped, 'picture')} could not be read" if record.skipped else ""
    yield Text(f"{count(every.faces, 'face')}; {count(every.empty, 'picture')} without a face{skipped}.")
    yield from _table(detection_text.accuracy_rows(record.rows))
    for note in detection_text.notes(record):
        yield Text(note, "note")
    for name, reasons in (("Not valid", record.invalid_reasons), ("Noisy", record.noisy_reasons)):
        if reasons:
            told = "; ".join(cut(reason, MAX_TEXT) for reason in reasons[:MAX_REASONS])
            yield Text(f"{name}: milliseconds: {told}", "bad" if name == "Not valid" else "")
    yield Text("Average precision by the longer side of the face, in pixels at the detector's size (faces).")
    yield from _table(detection_text.size_rows(record.rows))
    if record.against:
        yield Text("The first detector beside others at the same size, in the same run.")
        yield from _table(detection_text.against_rows(record))
    for clip in record.clips:
        if clip.rows:
            yield Text(f"{cut(clip.name)}, {count(clip.frames, 'frame')}, which nobody labelled.")
            yield from _table(detection_text.clip_rows(clip))
    yield Facts(
        tuple(
            (f"{cut(r.detector)} {r.size:,}", f"{artifact(r.model.name, r.model.precision)} in {cut(r.model.engine)}")
            for r in record.rows
        )
    )
    for note in record.notes[:MAX_REASONS]:
        yield Text(f"Note: {cut(note, MAX_TEXT)}", "note")
    if record.command:
        yield Text(cut(record.command, 4 * MAX_TEXT), "code")


def _table(lines: detection_text.Lines) -> Iterator[Block]:
    """Yield a table without the columns that no line fills."""
    used = {name for line in lines for name, cell in line.items() if cell != "–"}
    yield from table_of([{name: cut(cell) for name, cell in line.items() if name in used} for line in lines])
