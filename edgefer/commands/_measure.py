"""What `edgefer bench` and the demo share: a session on this machine, and its record as a table."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from edgefer.commands._shared import bar, called, labelled, open_preferred, print_table, profile_for, say

if TYPE_CHECKING:
    from edgefer.bench.record import BenchRecord
    from edgefer.bench.rows import Measurement
    from edgefer.bench.session import Wanted
    from edgefer.bundle import Bundle
    from edgefer.train.data import Dataset


def measure_record(
    bundle: Path | None,
    scopes: Sequence[str],
    engines: Sequence[str],
    precision: str | None,
    threads: Sequence[int],
    device: str | None,
    quick: bool,
    sustained: float | None,
    data: Path | None,
    split: str | None,
) -> BenchRecord:
    """Measure what the options of `edgefer bench` ask for, with progress, and return the record."""
    from edgefer.bench.latency import FULL, QUICK
    from edgefer.bench.rows import SCOPES
    from edgefer.bench.session import Wanted
    from edgefer.bundle import open_bundle

    if split is not None and data is None:
        raise click.UsageError("--split is of --data; name the labelled faces too")
    if set(scopes) == {"pipeline"} and max(len(engines), len(threads)) > 1:
        raise click.UsageError("scope pipeline takes one --engine and one --threads; measure each by itself")
    opened = open_bundle(bundle)
    faces = None if data is None else labelled(opened, data, split)
    wanted = Wanted(
        plan=QUICK if quick else FULL,
        scopes=tuple(scopes) or SCOPES,
        engines=tuple(engines),
        precision=precision,
        threads=tuple(threads),
        sustained=sustained,
    )
    return session(opened, device, wanted, called(), faces)


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Let SIGTERM and a terminal that closes end the block as Ctrl-C does, so that no process and no file is left.

    A SIGHUP that is ignored stays so: that is what nohup does.
    """

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    previous = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def session(
    bundle: Bundle, device: str | None, wanted: Wanted, command: str, faces: tuple[str, Dataset] | None = None
) -> BenchRecord:
    """Take a session on this machine, which runs the pipeline as `device` (without: this one) would."""
    from edgefer.bench.session import Preferred, take
    from edgefer.devices.profile import detect

    profile = profile_for(device)
    engine = wanted.engines[0] if wanted.engines else None
    count = wanted.threads[0] if wanted.threads else profile.threads
    loaded = open_preferred(bundle, profile, engine, wanted.precision, count)
    loaded.engine.close()
    preferred = Preferred(loaded.name, loaded.artifact.precision, count, profile.providers)
    return take(bundle, detect(), preferred, wanted, command, bar, faces)


def print_record(record: BenchRecord) -> None:
    """Write a record's figures to standard output, and what is to be said of them to standard error."""
    if record.emulations:
        _print_emulations(record)
    for scope in ("model", "pipeline"):
        rows = [m for m in record.measurements if m.scope == scope]
        if rows:
            print_table(*_figures(rows, scope))
            click.echo()
    if record.sustained is not None:
        s = record.sustained
        click.echo(
            f"sustained: {s.seconds:.0f} s of {s.engine} {s.precision}, p50 {s.first_p50:.3f} ms in the first"
            f" {s.window_s:.0f} s, {s.last_p50:.3f} ms in the last: × {s.ratio:.3f}"
        )
    for score in record.scores:
        low, high = score.ci95
        click.echo(
            f"accuracy: {score.accuracy:.4f} ({low:.4f}–{high:.4f}) on {score.n:,} faces of {score.split},"
            f" {score.artifact} in {score.engine}"
        )
    for reason in record.invalid_reasons:
        say(f"INVALID: {reason}")
    for reason in record.noisy_reasons:
        say(f"noisy: {reason}")
    for note in record.notes:
        say(f"note: {note}")
    if record.quick:
        say("quick: too short to publish; leave out --quick for that")


def _figures(rows: Sequence[Measurement], scope: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of a scope."""
    head = ["faces" if scope == "pipeline" else "engine", "precision", "threads", "p50 ms", "rounds", "p90", "p99"]
    head += ["load ms", "first ms", "MiB"] if scope == "model" else ["fps", *(rows[0].stages_ms or {})]
    lines = []
    for m in rows:
        low, high = m.p50_range
        name = str(m.faces) if scope == "pipeline" else f"{m.engine} {m.engine_version}"
        line = [name, m.precision, str(m.threads), f"{m.latency.p50:.3f}", f"{low:.3f}–{high:.3f}"]
        line += [f"{m.latency.p90:.3f}", f"{m.latency.p99:.3f}"]
        if scope == "model":
            line += [f"{m.load_ms:.1f}", f"{m.first_ms:.2f}", "" if m.peak_mib is None else f"{m.peak_mib:.0f}"]
        else:
            line += [f"{1000 / m.latency.mean:.0f}", *(f"{s['p50']:.3f}" for s in (m.stages_ms or {}).values())]
        lines.append(line)
    return head, lines


def _print_emulations(record: BenchRecord) -> None:
    head = ["engine", "precision", "same bits as here", "same label", "instructions"]
    head += ["integer", "SIMD", "dot product", "load/store", "branch"]
    rows = []
    for e in record.emulations:
        n = e.instructions
        parts = (n.integer, n.simd, n.dot, n.load_store, n.branch)
        same = "yes" if e.bit_identical else f"no, ≤ {e.max_difference:.1g} apart"
        rows.append([f"{e.engine} {e.engine_version}", e.precision, same, f"{e.same_label:.1%}", f"{n.total:,}"])
        rows[-1] += [f"{part / n.total:.0%}" for part in parts]
    print_table(head, rows)
    if record.emulator is not None:
        ran = f"{record.emulator.cpu} in {record.emulator.program}"
        say(f"{record.emulations[0].faces} faces on an emulated {ran}: that tells no latency")
