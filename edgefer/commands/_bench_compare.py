"""`edgefer bench compare`: two records of one machine, as a table or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._shared import json_flag, print_json, print_table, say
from edgefer.page import plain

if TYPE_CHECKING:
    from edgefer.bench.compare import Comparison, Scored, Timed
    from edgefer.bench.record import BenchRecord
    from edgefer.bench.rows import Measurement

SCHEMA = 1
"""Of the JSON."""
OTHERS = {"p99": "p99", "load": "load", "first": "first", "peak_memory": "memory", "joules": "joules"}
"""Figures without a verdict: name in JSON → head of the column."""


def fraction(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Return what `5%` or `0.05` is: 0.05; raises BadParameter for what is neither, as a bare 5 might be both."""
    if value is None:
        return None
    text = value.strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no percentage; write 5% or 0.05") from None
    if not 0 <= number <= (10 if text.endswith("%") else 1):
        raise click.BadParameter(f"{value!r} is not 0–1000 % or 0–1; write 5% or 0.05")
    return number


@click.command()
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
@click.option(
    "--fail-if-slower",
    "limit",
    callback=fraction,
    metavar="PERCENT",
    help="Exit with 1 when a row is slower, or takes more instructions, by more than this, such as 5%.",
)
@click.option(
    "--margin",
    callback=fraction,
    metavar="PERCENT",
    help="A smaller change is none [default: 3% of time, 1% of instructions].",
)
@json_flag
def compare(before: Path, after: Path, limit: float | None, margin: float | None, as_json: bool) -> None:
    """Say what of a record is faster, slower or the same as in one that was taken before, on the same machine.

    A change counts when its interval excludes "no change" and it is beyond the margin. Records of other machines,
    labels, preprocessing or data are refused, and those that throttling made invalid.

    \b
    Examples:
      edgefer bench compare before.json after.json
      edgefer bench compare before.json after.json --fail-if-slower 5%
      edgefer bench compare rpi4-before.json rpi4-after.json --json
    """
    from edgefer.bench import compare as comparing
    from edgefer.bench.record import read_record

    found = comparing.compare(read_record(before), read_record(after), margin)
    if limit is not None and limit < found.margin:
        raise click.UsageError(
            f"--fail-if-slower {limit:.3g} lies within the margin of {found.margin:.3g}, below which nothing counts as"
            f" slower; give --margin {limit:.3g} too"
        )
    if as_json:
        print_json(as_dict(found))
    else:
        _show(found)
    if limit is None:
        return
    slower = found.slower_than(limit)
    for reason in slower:
        say(f"slower than allowed ({100 * limit:g} %): {reason}")
    doubtful = sum(row.doubt is not None for row in found.timed)
    if doubtful:
        say(f"note: {doubtful} of {len(found.timed)} rows cannot be told, and count as not slower")
    if found.only_before:
        say("note: what only the record before has is not looked at")
    if slower:
        click.get_current_context().exit(1)


def as_dict(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data for JSON; programs of others depend on its names."""
    return {
        "schema": SCHEMA,
        "kind": found.before.kind,
        "device": plain(found.before.device),
        "before": _which(found.before),
        "after": _which(found.after),
        "margin": found.margin,
        "rows": [_timed(row) for row in found.timed],
        "scores": [_scored(row) for row in found.scored],
        "instructions": [
            {
                "engine": plain(row.before.engine),
                "precision": plain(row.before.precision),
                "artifacts": [plain(row.before.artifact), plain(row.after.artifact)],
                "before": row.before.instructions.total,
                "after": row.after.instructions.total,
                "ratio": row.ratio,
                "verdict": row.verdict,
                "bit_identical": [row.before.bit_identical, row.after.bit_identical],
            }
            for row in found.counted
        ],
        "only_before": list(found.only_before),
        "only_after": list(found.only_after),
        "notes": list(found.notes),
    }


def _which(record: BenchRecord) -> dict[str, Any]:
    bundle = {"name": plain(record.bundle.name), "digest": plain(record.bundle.digest)}
    return {"bundle": bundle, "created": record.created, "command": plain(record.command), "quick": record.quick}


def _timed(row: Timed) -> dict[str, Any]:
    a, b = row.before, row.after
    return {
        "scope": a.scope,
        "engine": plain(a.engine),
        "precision": plain(a.precision),
        "artifacts": [plain(a.artifact), plain(b.artifact)],
        "threads": a.threads,
        "faces": a.faces,
        "detector": None if a.detector is None else plain(a.detector),
        "rounds": [len(a.rounds), len(b.rounds)],
        "before_ms": a.latency.p50,
        "after_ms": b.latency.p50,
        **asdict(row.ratio),
        "verdict": row.verdict,
        "doubt": row.doubt,
        "others": others(a, b),
    }


def _scored(row: Scored) -> dict[str, Any]:
    texts = {name: plain(getattr(row.before, name)) for name in ("engine", "precision", "split", "data")}
    figures = {"n": row.before.n, "before": row.before.accuracy, "after": row.after.accuracy}
    interval = {"difference": row.difference, "low": row.low, "high": row.high}
    return {**texts, **figures, **interval, "verdict": row.verdict}


def others(a: Measurement, b: Measurement) -> dict[str, float | None]:
    """Return after over before of the figures of OTHERS; None where one of the two records does not have it."""
    pairs = {
        "p99": (a.latency.p99, b.latency.p99),
        "load": (a.load_ms, b.load_ms),
        "first": (a.first_ms, b.first_ms),
        "peak_memory": (a.peak_mib, b.peak_mib),
        "joules": (a.joules, b.joules),
    }
    return {name: y / x if x and y and 0 < y / x < float("inf") else None for name, (x, y) in pairs.items()}


def _show(found: Comparison) -> None:
    from edgefer.bench.compare import form, name_of

    for when, record in (("before", found.before), ("after", found.after)):
        click.echo(plain(f"{when:<6}  {record.bundle.name} ({record.bundle.digest[:8]}), {record.created}"))
    percent = f"{100 * found.margin:g} %"
    if found.timed:
        click.echo(
            f"\nOn {plain(found.before.device)}. Ratio: p50 after / before, with its interval. A change counts beyond"
            f" {percent}, when the interval excludes 1.\nThe columns behind the verdict: after / before, no verdict.\n"
        )
        print_table(*_timed_table(found))
    if found.scored:
        click.echo("\nAccuracy on the same faces; a change counts when the 95 % interval excludes 0.\n")
        rows = [
            [plain(r.before.engine), plain(form(r.before)), plain(r.before.split), f"{r.before.n:,}"]
            + [f"{r.before.accuracy:.4f}", f"{r.after.accuracy:.4f}", f"{r.difference:+.4f}"]
            + [f"{r.low:+.4f} … {r.high:+.4f}", r.verdict]
            for r in found.scored
        ]
        print_table(["engine", "artifact", "split", "faces", "before", "after", "change", "interval", "verdict"], rows)
    if found.counted:
        click.echo(
            f"\nInstructions an inference on an emulated {plain(found.before.device)}; beyond {percent} counts.\n"
        )
        rows = [
            [plain(r.before.engine), plain(form(r.before)), f"{r.before.instructions.total:,}"]
            + [f"{r.after.instructions.total:,}", f"{r.ratio:.4f}", r.verdict, _bits(r.before.bit_identical)]
            + [_bits(r.after.bit_identical)]
            for r in found.counted
        ]
        head = ["engine", "artifact", "before", "after", "ratio", "verdict", "same bits before", "after"]
        print_table(head, rows)
        for row in found.counted:
            if row.before.bit_identical and not row.after.bit_identical:
                click.echo(f"\n{name_of(row.after)}: NO LONGER bit-identical to the host")
    for when, names in (("before", found.only_before), ("after", found.only_after)):
        if names:
            click.echo(f"\nOnly {when}: {'; '.join(names)}")
    for note in found.notes:
        say(f"note: {note}")


def _timed_table(found: Comparison) -> tuple[list[str], list[list[str]]]:
    from edgefer.bench.compare import form

    shown = [name for name in OTHERS if any(others(row.before, row.after)[name] for row in found.timed)]
    head = ["engine", "artifact", "scope", "faces", "threads", "before ms", "after ms", "ratio", "interval", "level"]
    rows = []
    for row in found.timed:
        a, b = row.before, row.after
        more = others(a, b)
        rows.append(
            [plain(a.engine), plain(form(a)), a.scope, "–" if a.faces is None else str(a.faces), str(a.threads)]
            + [f"{a.latency.p50:.3f}", f"{b.latency.p50:.3f}", f"{row.ratio.estimate:.3f}"]
            + [f"{row.ratio.low:.3f}–{row.ratio.high:.3f}", f"{100 * row.ratio.level:.1f} %"]
            + [row.verdict if row.doubt is None else f"{row.verdict} ({row.doubt})"]
            + [_times(more[name]) for name in shown]
        )
    return [*head, "verdict", *(OTHERS[name] for name in shown)], rows


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}"


def _bits(same: bool) -> str:
    return "yes" if same else "NO"
