"""A record of detectors for people: aligned text for a terminal. The report takes its tables from here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgefer.average_precision import FALSE_PER_PICTURE, OfSize
from edgefer.bench.detection import LARGE, Clip, DetectionRecord, Row
from edgefer.bench.evaluation_text import aligned

Lines = list[dict[str, str]]
"""A table: each row as column → text."""


def as_text(record: DetectionRecord) -> str:
    """Return the figures as aligned text."""
    every = record.rows[0].every
    lines = [
        f"split {record.split}: {record.pictures:,} pictures, {every.empty:,} of them without a face;"
        f" {every.faces:,} faces" + (f"; {record.skipped:,} could not be read" if record.skipped else ""),
        "",
        *_table(accuracy_rows(record.rows)),
        *notes(record),
        "",
        "average precision by the face's longer side, in pixels at the detector's size (faces)",
        *_table(size_rows(record.rows)),
    ]
    if beside := against_rows(record):
        lines += ["", "the first detector beside others at the same size", *_table(beside)]
    for clip in record.clips:
        lines += ["", f"{clip.name}: {clip.frames:,} frames", *_table(clip_rows(clip))]
    remarks = [f"noisy: {reason}" for reason in record.noisy_reasons]
    remarks += [f"not valid: {reason}" for reason in record.invalid_reasons]
    return "\n".join([*lines, *(["", *remarks] if remarks else [])])


def notes(record: DetectionRecord) -> list[str]:
    """Return what the columns mean."""
    found = [
        f"AP: average precision at an overlap of .5, on faces whose longer side is {LARGE:.0f} pixels or more at the"
        " detector's size; the interval is of 95 %.",
        f"recall at {FALSE_PER_PICTURE:g}: with the threshold that leaves one false face in"
        f" {round(1 / FALSE_PER_PICTURE)} pictures. Recall, precision and false faces: with the detector's own.",
        f"ms: median of a frame of {record.frame_side} pixels on one core.",
    ]
    if any(row.fitted for row in record.rows):
        found.append("AP, fitted: with squares made as high and wide as labels are, by the same factors everywhere.")
    return found


def accuracy_rows(rows: Sequence[Row]) -> Lines:
    """Return a line a detector and size."""
    lines = []
    for row in rows:
        large, every = row.large, row.every
        low, high = large.ci95
        line = {
            "detector": row.detector,
            "size": f"{row.size}",
            f"AP ≥ {LARGE:.0f} px (95 %)": f"{large.average_precision:.3f} ({low:.3f}–{high:.3f})",
            "AP, fitted": "–" if row.fitted is None else f"{row.fitted[0]:.3f}",
            f"recall at {FALSE_PER_PICTURE:g}": f"{large.recall_at_few:.3f}",
            "recall": f"{large.recall:.3f}",
            "precision": f"{large.precision:.3f}",
            "AP, all": f"{every.average_precision:.3f}",
            "false in empty": f"{every.false_in_empty:,} in {every.empty:,}",
            "kB": f"{row.model.bytes / 1000:,.0f}",
            "ms": f"{row.ms.p50:.2f}",
        }
        lines.append(line)
    return lines


def size_rows(rows: Sequence[Row]) -> Lines:
    """Return a line a detector and size, a column a bin of sizes."""
    return [
        {"detector": row.detector, "size": f"{row.size}"} | {_bin(one): _of_bin(one) for one in row.every.by_size}
        for row in rows
    ]


def against_rows(record: DetectionRecord) -> Lines:
    """Return a line a pair of detectors."""
    lines = []
    for one in record.against:
        accuracy = one.accuracy
        low, high = one.ms_range
        ratio = "–"
        if accuracy is not None:
            ratio = f"× {accuracy.ratio:.3f} ({accuracy.ratio_ci95[0]:.3f}–{accuracy.ratio_ci95[1]:.3f})"
        lines.append(
            {
                "detector": f"{one.detector} / {one.other}",
                "size": f"{one.size}",
                f"AP ≥ {LARGE:.0f} px (95 %)": ratio,
                "ms (range over rounds)": f"× {one.ms:.3f} ({low:.3f}–{high:.3f})",
            }
        )
    return lines


def clip_rows(clip: Clip) -> Lines:
    """Return a line a detector and size."""
    return [
        {
            "detector": row.detector + (", from frame to frame" if row.continuous else ""),
            "size": f"{row.size}",
            "frames with a face": f"{row.with_a_face:,} of {clip.frames:,}",
            "faces": f"{row.faces:,}",
            "ms p50": f"{row.p50:.2f}",
            "mean": f"{row.mean:.2f}",
        }
        for row in clip.rows
    ]


def _bin(one: OfSize) -> str:
    return f"≥ {one.low:g}" if math.isinf(one.high) else f"{one.low:g}–{one.high:g}"


def _of_bin(one: OfSize) -> str:
    return f"{one.average_precision:.3f} ({one.faces:,})" if one.faces else "–"


def _table(lines: Lines) -> list[str]:
    head = list(lines[0])
    used = [name for name in head if any(line[name] != "–" for line in lines)]
    return aligned([used, *([line[name] for name in used] for line in lines)])
