"""A whole report in order: what matters most, then each target, then accuracy, then finding faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgefer.bench.detection import DetectionRecord
from edgefer.bench.evaluation import Evaluation
from edgefer.bench.record import BenchRecord
from edgefer.bench.reporting import counted, detections, evaluations, facts, measured, summary
from edgefer.bench.reporting.blocks import Block, Contents, Heading, Text
from edgefer.bench.reporting.targets import NOTES, Target, label, targets
from edgefer.bench.reporting.words import MAX_TEXT, cut

TITLE = "edgefer benchmark report"
WARNING = "Figures hold for the machine that they were taken on: a host's figure is not a device's."
MAX_REASONS = 20


def blocks(
    records: Sequence[BenchRecord], accuracies: Sequence[Evaluation], finding: Sequence[DetectionRecord] = ()
) -> Iterator[Block]:
    """Yield what a report on these records and evaluations says, and on those of detectors."""
    found = targets(records)
    yield Heading(TITLE, 1)
    yield Text(WARNING, "note")
    if found or accuracies:
        yield from summary.blocks(found, accuracies)
    places = [(target.title, f"target-{i}") for i, target in enumerate(found, start=1)]
    accuracy, faces = ("Accuracy on labelled faces", "accuracy"), ("Finding faces", "detectors")
    places += [accuracy] * bool(accuracies) + [faces] * bool(finding)
    if len(places) > 1:
        yield Contents(tuple(places))
    for target, (title, anchor) in zip(found, places, strict=False):
        yield Heading(title, 2, anchor)
        yield Text(NOTES[target.kind], "note")
        yield from _remarks(target)
        yield from measured.blocks(target) if target.kind == "measured" else counted.blocks(target)
        for record in target.records:
            yield from facts.blocks(record)
    if accuracies:
        yield Heading(accuracy[0], 2, accuracy[1])
        yield from evaluations.blocks(accuracies)
    if finding:
        yield Heading(faces[0], 2, faces[1])
        yield from detections.blocks(finding)


def _remarks(target: Target) -> Iterator[Block]:
    """Yield what is wrong with its records, and what else they say of themselves."""
    for record in target.records:
        name = label(record)
        if record.invalid_reasons:
            yield Text(f"Not valid: {name}: {_listed(record.invalid_reasons)}", "bad")
        if record.noisy_reasons:
            yield Text(
                f"Noisy: {name}: {_listed(record.noisy_reasons)}. These figures are less exact than they could be."
            )
        if record.quick:
            yield Text(f"Quick: {name}: too short to publish; leave out --quick for that.")
        for note in record.notes[:MAX_REASONS]:
            yield Text(f"Note: {cut(note, MAX_TEXT)}", "note")


def _listed(reasons: Sequence[str]) -> str:
    more = f"; and {len(reasons) - MAX_REASONS:,} more" if len(reasons) > MAX_REASONS else ""
    return "; ".join(cut(reason, MAX_TEXT) for reason in reasons[:MAX_REASONS]) + more
