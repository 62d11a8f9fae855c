"""A real machine: its rows, how they are distributed, what the pipeline's stages take, heat and the sustained run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from edgefer.bench.plots import counts, frontier, spreads
from edgefer.bench.reporting import courses
from edgefer.bench.reporting.blocks import Block, Heading, Plot, Table, Text, left_out, table_of
from edgefer.bench.reporting.targets import Row, Target, marks, row_name
from edgefer.bench.reporting.words import (
    artifact,
    count,
    cut,
    interval,
    kilobytes,
    number,
    optional,
    percent,
    pixels,
    provider,
)
from edgefer.bench.rows import Measurement, Score

TABLES = (
    ("model", False, "Model: one face crop at a time"),
    ("pipeline", False, "Pipeline: whole frames, without the camera"),
    ("model", True, "Face detector: its network, one letterboxed picture at a time"),
    ("detect", True, "Face detector: whole frames, without the camera"),
)
"""Scope, whether of detectors, and what stands above."""
MAX_STAGES = 12
TOO_MUCH = "too many, or times that no plot can show"
MAX_SETS = 4
"""Of faces that accuracy was measured on."""
DRAWABLE = (1e-6, 1e9)
"""Milliseconds that a plot takes; figures of a real machine lie well within."""


def blocks(target: Target) -> Iterator[Block]:
    """Yield the tables and plots of a measured target."""
    for scope, sized, heading in TABLES:
        rows = [row for row in target.rows(scope) if (row.m.size is not None) == sized]
        if rows:
            yield Heading(heading, 3)
            yield from _figures(target, rows, scope)
            yield from _distribution(target, rows, heading)
    yield from _frontiers(target)
    yield from _stages(target)
    for record in target.records:
        yield from courses.blocks(record)


def _figures(target: Target, rows: Sequence[Row], scope: str) -> Iterator[Block]:
    # Where all rows have the same marks, the remarks above say it once.
    several_marks = len({marks(record) for record in target.records}) > 1
    lines = [_line(row, scope, target.several_bundles, several_marks) for row in rows]
    if all(m.peak_mib is None for _, m, _ in rows):
        _without(lines, "peak MiB")
    if all(m.joules is None for _, m, _ in rows):
        _without(lines, "W", "mJ a run")
    if scope == "model" and not any(record.scores for record, _, _ in rows):
        _without(lines, "accuracy (95 %)")
    wanted = frozenset(i for i, (_, m, _) in enumerate(rows) if m.provider_wanted is not None)
    for block in table_of(lines, {i: "invalid" for i, (record, _, _) in enumerate(rows) if not record.valid}):
        if isinstance(block, Table):
            column = list(block.head).index("provider")
            yield Table(block.head, block.rows, block.marks, frozenset((i, column) for i in wanted))
        else:
            yield block
    yield Text(_about(target, rows, scope), "note")


def _without(lines: Sequence[dict[str, str]], *names: str) -> None:
    for line in lines:
        for name in names:
            line.pop(name, None)


def _line(row: Row, scope: str, several_bundles: bool, several_marks: bool) -> dict[str, str]:
    record, m, score = row
    mark = marks(record) if several_marks or not record.valid else ""
    line = {"bundle": cut(record.bundle.name)} if several_bundles else {}
    line |= {
        "engine": f"{cut(m.engine)} {cut(m.engine_version)}{f' – {mark}' if mark else ''}",
        "provider": provider(m.provider)
        + (f" (wanted {provider(m.provider_wanted)})" if m.provider_wanted is not None else ""),
        "artifact": artifact(m.artifact, m.precision),
        **({"size": pixels(m.size)} if m.size else {}),
        "threads": f"{m.threads:,}",
    }
    if scope == "pipeline":
        line["detector"] = cut(m.detector or "–")
    if scope != "model":
        line["faces"] = _faces(m)
    low, high = m.p50_range
    t = m.latency
    line |= {
        "p50 ms": number(t.p50),
        "over rounds": f"{number(low)}–{number(high)}" if len(m.rounds) > 1 else "–",
        "p90 ms": number(t.p90),
        "p99 ms": number(t.p99),
    }
    if scope != "model":
        line["frames/s"] = number(1000 / t.mean) if t.mean else "–"
    if scope == "model":
        line["accuracy (95 %)"] = "–" if score is None else f"{score.accuracy:.4f} ({interval(score.ci95)})"
    return line | {
        "kB": kilobytes(m.bytes),
        "load ms": number(m.load_ms),
        "first ms": number(m.first_ms),
        "peak MiB": optional(m.peak_mib),
        "W": optional(m.watts),
        "mJ a run": "–" if m.joules is None else number(1000 * m.joules),
    }


def _faces(m: Measurement) -> str:
    """Return how many faces there were, and how many of them were found where that differs."""
    drawn = "–" if m.faces is None else f"{m.faces:,}"
    if m.faces is None or m.faces_found is None or abs(m.faces_found - m.faces) < 0.05:
        return drawn
    return f"{drawn} (found {m.faces_found:,.1f})"


def _about(target: Target, rows: Sequence[Row], scope: str) -> str:
    """Return how the figures of a table are to be read."""
    said = []
    for n in sorted({len(m.rounds) for _, m, _ in rows}):
        if n == 1:
            said.append("One round gives no interval.")
        else:
            said.append(
                f"Over rounds: the lowest and the highest p50 of {n:,} fresh processes;"
                f" {percent(1 - 2 * 0.5**n)} of such intervals hold the true one (1 − 2 × .5^{n})."
            )
    said.append("Load and first are medians over the rounds, peak is the most memory of any.")
    if any(m.provider_wanted is not None for _, m, _ in rows):
        said.append("Where another provider was wanted, what is named first really ran.")
    scores = dict.fromkeys((s.split, s.n) for record in target.records for s in record.scores)
    if scope == "model" and scores:
        told = "; ".join(f"{cut(split)}, {n:,} faces" for split, n in list(scores)[:5])
        said.append(f"Accuracy with its 95 % interval is that of the very artifact in the very engine: {told}.")
    return " ".join(said)


def drawable(m: Measurement) -> bool:
    """Return whether a plot can show it beside others."""
    times = [*m.latency.quantiles, *(r.p50 for r in m.rounds)]
    return DRAWABLE[0] <= min(times) and max(times) <= DRAWABLE[1]


def _distribution(target: Target, rows: Sequence[Row], heading: str) -> Iterator[Block]:
    bars = [
        spreads.Spread(
            row_name(row, target.several_bundles),
            row.m.engine,
            row.m.latency.quantiles,
            tuple(r.p50 for r in row.m.rounds[: spreads.MAX_DOTS]),
            row.record.valid,
        )
        for row in [row for row in rows if drawable(row.m)][: spreads.MAX_ROWS]
    ]
    if bars:
        yield Plot(
            f"Distribution of the times: {heading}",
            partial(spreads.spreads, bars),
            "Every timed run of all rounds. Line: 1–99 %; box: 25–75 %; bar and number: p50; dots: p50 of each round.",
        )
    yield from left_out(len(rows), len(bars), "rows are not drawn", TOO_MUCH)


def _frontiers(target: Target) -> Iterator[Block]:
    """Yield a plot for each set of faces that accuracy was measured on."""
    groups: dict[tuple[str, str], dict[tuple[str, str, str], tuple[Row, Score]]] = {}
    for row in target.rows("model"):
        if row.record.valid and row.score is not None and drawable(row.m):
            # Threads do not change the answers: of each artifact in each engine, the fastest row.
            what = row.record.bundle.digest, row.m.engine, row.m.artifact
            groups.setdefault((row.score.split, row.score.data), {}).setdefault(what, (row, row.score))
    several_threads = len({row.m.threads for row in target.rows("model")}) > 1
    for (split, _), fastest in list(groups.items())[:MAX_SETS]:
        found = list(fastest.values())
        threads = {row.m.threads for row, _ in found}
        points = [
            frontier.Point(
                name=_point_name(row, len(threads) > 1, target.several_bundles),
                engine=row.m.engine,
                precision=row.m.precision,
                ms=row.m.latency.p50,
                ms_range=row.m.p50_range,
                accuracy=score.accuracy,
                ci95=score.ci95,
                bytes=row.m.bytes,
            )
            for row, score in found[: frontier.MAX_POINTS]
        ]
        yield Heading("Accuracy, latency, size", 3)
        yield Plot(
            f"Accuracy over latency, size as area; {cut(split)}",
            partial(frontier.frontier, points),
            f"Accuracy on {found[0][1].n:,} faces of {cut(split)} over p50"
            + (f" with {count(next(iter(threads)), 'thread')}" if len(threads) == 1 else "")
            + "; the area is the artifact's size, int8 is dark. Lines through a point: 95 % interval of its accuracy,"
            " and p50 over the rounds. Stepped line: nothing is both faster and more accurate than the points on it."
            + (" Of several numbers of threads, the fastest is shown." if several_threads else ""),
        )
        yield from left_out(len(found), frontier.MAX_POINTS, "points are not drawn")
    yield from left_out(len(groups), MAX_SETS, "sets of faces are not drawn")


def _point_name(row: Row, several_threads: bool, several_bundles: bool) -> str:
    record, m, _ = row
    name = f"{cut(m.engine, 24)} {cut(m.precision, 12)}"
    name += f" ×{m.threads}" if several_threads else ""
    name = f"{cut(record.bundle.name, 16)}: {name}" if several_bundles else name
    return f"{name}, {kilobytes(m.bytes)} kB"


def _stages(target: Target) -> Iterator[Block]:
    rows = [row for row in target.rows("pipeline") if row.m.stages_ms]
    if not rows:
        return
    every = list(dict.fromkeys(stage for _, m, _ in rows for stage in m.stages_ms or {}))
    names = every[:MAX_STAGES]
    lines = []
    for record, m, _ in rows:
        stages = m.stages_ms or {}
        line = {"bundle": cut(record.bundle.name)} if target.several_bundles else {}
        line |= {
            "engine": cut(m.engine) + ("" if record.valid else " – NOT VALID"),
            "artifact": artifact(m.artifact, m.precision),
            "threads": f"{m.threads:,}",
            "faces": _faces(m),
        }
        lines.append(line | {cut(n): number(stages[n]["p50"]) if n in stages else "–" for n in names})
    yield Heading("Stages of a frame, p50 ms", 3)
    yield from table_of(lines, {i: "invalid" for i, (record, _, _) in enumerate(rows) if not record.valid})
    yield from left_out(len(every), MAX_STAGES, "stages are not shown")
    shown = [
        row
        for row in rows
        if drawable(row.m) and all(s["p50"] <= DRAWABLE[1] for s in (row.m.stages_ms or {}).values())
    ]
    bars = [
        counts.Bar(
            row_name(row, target.several_bundles),
            {cut(n, 24): (row.m.stages_ms or {})[n]["p50"] for n in names if n in (row.m.stages_ms or {})},
        )
        for row in shown[: counts.MAX_BARS]
    ]
    if bars:
        yield Plot(
            "Stages of a frame",
            partial(counts.stacked, bars, "milliseconds, p50 of each stage"),
            "p50 of each stage; the number is their sum, which need not be the p50 of the frame.",
        )
    yield from left_out(len(rows), len(bars), "rows are not drawn", TOO_MUCH)
