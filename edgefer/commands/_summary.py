"""How a run went, for a person."""

from __future__ import annotations

from collections.abc import Iterator

from edgefer.runtime.tally import Summary


def summary_lines(summary: Summary) -> Iterator[str]:
    """Yield the lines that a person reads when a run has ended."""
    s = summary
    seen = f", {s.frames_with_faces / s.frames:.0%} with a face" if s.frames else ""
    yield f"{s.frames} frames in {s.seconds:.1f} s, {s.frames_per_second:.1f} frames/s{seen}"
    troubles = [
        (s.skipped, "unreadable and skipped"),
        (s.dropped, "dropped for newer ones"),
        (s.reconnects, "reconnects"),
        (s.engine_restarts, "engine restarts"),
    ]
    said = [f"{count} {what}" for count, what in troubles if count]
    said += [f"{count} not taken by {name}" for name, count in s.sink_drops.items()]
    if said:
        yield ", ".join(said)
    if s.faces:
        yield "emotions: " + ", ".join(f"{label} {count / s.faces:.0%}" for label, count in s.emotions.items())
    if s.label_changes_per_minute is not None:
        yield (
            f"label changes a minute of a face: {s.label_changes_per_minute:.1f}"
            f" (without smoothing {s.unsmoothed_changes_per_minute:.1f})"
        )
    if s.age_ms is not None:
        yield f"age of a camera's frame when answered: p50 {s.age_ms['p50']:.0f} ms, p99 {s.age_ms['p99']:.0f} ms"
    if s.stages_ms:
        yield f"{'stage':<12}{'p50 ms':>9}{'p99 ms':>9}{'share':>8}"
        for name, stage in s.stages_ms.items():
            yield f"{name:<12}{stage.p50:>9.2f}{stage.p99:>9.2f}{stage.share:>8.1%}"
    for name, reason in s.sink_failures.items():
        yield f"{name} gave up: {reason}"
