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
    from edgefer.bench.session import Preferred, Wanted
    from edgefer.bundle import Bundle, DetectorBundle
    from edgefer.devices.description import DeviceProfile
    from edgefer.preprocess import Pixels
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
    from edgefer.bench.session import Wanted, scopes_of
    from edgefer.bench.subjects import FRAMES
    from edgefer.bundle import DetectorBundle, open_stored, shipped
    from edgefer.commands._scenes import pictures_of

    if split is not None and data is None:
        raise click.UsageError("--split is of --data; name the labelled faces too")
    if set(scopes) == {"pipeline"} and max(len(engines), len(threads)) > 1:
        raise click.UsageError("scope pipeline takes one --engine and one --threads; measure each by itself")
    opened = open_stored(shipped() if bundle is None else bundle)
    _check_scopes(opened, scopes, engines, threads)
    faces = scenes = None
    if data is not None:
        if isinstance(opened, DetectorBundle):
            scenes = pictures_of(data, split, FRAMES)
        else:
            faces = labelled(opened, data, split)
    wanted = Wanted(
        plan=QUICK if quick else FULL,
        scopes=tuple(scopes) or scopes_of(opened),
        engines=tuple(engines),
        precision=precision,
        threads=tuple(threads),
        sustained=sustained,
    )
    return session(opened, device, wanted, called(), faces, scenes)


def _check_scopes(
    bundle: Bundle | DetectorBundle, scopes: Sequence[str], engines: Sequence[str], threads: Sequence[int]
) -> None:
    """Raise UsageError for a scope that the bundle does not have, or options that would do nothing."""
    from edgefer.bench.session import DETECTOR_SCOPES, scopes_of

    has = scopes_of(bundle)
    for scope in scopes:
        if scope not in has:
            kind = "a face detector" if has == DETECTOR_SCOPES else "no face detector"
            raise click.UsageError(f"{bundle.path} is {kind}: --scope {scope} is not of it; it has {' and '.join(has)}")
    if set(scopes) == {"detect"} and (len(engines) > 1 or threads):
        raise click.UsageError("scope detect takes one --engine and no --threads: a detector runs in one")


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
    bundle: Bundle | DetectorBundle,
    device: str | None,
    wanted: Wanted,
    command: str,
    faces: tuple[str, Dataset] | None = None,
    scenes: Sequence[Pixels] | None = None,
) -> BenchRecord:
    """Take a session on this machine, which runs whole frames as `device` (without: this one) would."""
    from edgefer.bench.session import take
    from edgefer.devices.profile import detect

    preferred = _preferred(bundle, profile_for(device), wanted)
    return take(bundle, detect(), preferred, wanted, command, bar, faces, scenes=scenes)


def _preferred(bundle: Bundle | DetectorBundle, profile: DeviceProfile, wanted: Wanted) -> Preferred:
    """Return what the device runs unasked, as far as nothing else is asked for."""
    from edgefer.bench.session import Preferred
    from edgefer.bundle import DetectorBundle
    from edgefer.runtime.detectors import edge
    from edgefer.runtime.engines import choose, load

    if isinstance(bundle, DetectorBundle):
        name = wanted.engines[0] if wanted.engines else choose(bundle, edge.ENGINES)[0]
        format = load(name).FORMAT
        sizes = bundle.sizes(format, wanted.precision)
        usual = edge.nearest(sizes, edge.VIDEO_SIDE) if sizes else None
        artifact = bundle.sized(format, wanted.precision, usual)
        threads = wanted.threads[0] if wanted.threads else edge.THREADS
        return Preferred(name, artifact.precision, threads, profile.providers, artifact.size)
    engine = wanted.engines[0] if wanted.engines else None
    count = wanted.threads[0] if wanted.threads else profile.threads
    loaded = open_preferred(bundle, profile, engine, wanted.precision, count)
    loaded.engine.close()
    return Preferred(loaded.name, loaded.artifact.precision, count, profile.providers)


def print_record(record: BenchRecord) -> None:
    """Write a record's figures to standard output, and what is to be said of them to standard error."""
    if record.emulations:
        _print_emulations(record)
    for scope in ("model", "pipeline", "detect"):
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
    from edgefer.bundle import size_name

    sized = any(m.size for m in rows)
    head = ["faces" if scope == "pipeline" else "engine", *["size"] * sized, "precision", "threads", "p50 ms", "rounds"]
    head += ["p90", "p99"]
    head += ["load ms", "first ms", "MiB"] if scope == "model" else ["fps", *(rows[0].stages_ms or {})]
    head += ["faces found"] if scope == "detect" else []
    lines = []
    for m in rows:
        low, high = m.p50_range
        line = [str(m.faces) if scope == "pipeline" else f"{m.engine} {m.engine_version}"]
        line += [size_name(m.size) if m.size else "–"] * sized
        line += [m.precision, str(m.threads), f"{m.latency.p50:.3f}", f"{low:.3f}–{high:.3f}"]
        line += [f"{m.latency.p90:.3f}", f"{m.latency.p99:.3f}"]
        if scope == "model":
            line += [f"{m.load_ms:.1f}", f"{m.first_ms:.2f}", "" if m.peak_mib is None else f"{m.peak_mib:.0f}"]
        else:
            line += [f"{1000 / m.latency.mean:.0f}", *(f"{s['p50']:.3f}" for s in (m.stages_ms or {}).values())]
        if scope == "detect":
            line.append("–" if m.faces_found is None else f"{m.faces_found:.2f} of {m.faces}")
        lines.append(line)
    return head, lines


def _print_emulations(record: BenchRecord) -> None:
    from edgefer.bundle import size_name

    sized = any(e.size for e in record.emulations)
    head = ["engine", *["size"] * sized, "precision", "same bits as here", "same faces" if sized else "same label"]
    head += ["instructions", "integer", "SIMD", "dot product", "load/store", "branch"]
    rows = []
    for e in record.emulations:
        n = e.instructions
        parts = (n.integer, n.simd, n.dot, n.load_store, n.branch)
        same = "yes" if e.bit_identical else f"no, ≤ {e.max_difference:.1g} apart"
        size = [size_name(e.size) if e.size else "–"] * sized
        rows.append([f"{e.engine} {e.engine_version}", *size, e.precision, same, f"{e.same_label:.1%}", f"{n.total:,}"])
        rows[-1] += [f"{part / n.total:.0%}" for part in parts]
    print_table(head, rows)
    if record.emulator is not None:
        ran = f"{record.emulator.cpu} in {record.emulator.program}"
        pictures = "pictures" if sized else "faces"
        say(f"{record.emulations[0].faces} {pictures} on an emulated {ran}: that tells no latency")
