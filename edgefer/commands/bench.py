"""`edgefer bench`: latency on this machine, as a record."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefer.commands._shared import (
    bar,
    bundle_argument,
    device_option,
    open_preferred,
    print_json,
    profile_for,
    say,
)

if TYPE_CHECKING:
    from edgefer.bench.record import BenchRecord
    from edgefer.bundle import Bundle
    from edgefer.devices.profile import DeviceProfile

SCOPES = ("model", "pipeline")


@click.command()
@bundle_argument
@click.option("--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="[default: both]")
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    help="May be given several times [default: every installed one]",
)
@click.option(
    "--precision", type=click.Choice(["int8", "fp16", "fp32", "dynamic"]), help="[default: all that the bundle has]"
)
@click.option(
    "--threads",
    "threads",
    multiple=True,
    type=click.IntRange(1, 256),
    help="May be given several times [default: 1 and all]",
)
@device_option
@click.option("--quick", is_flag=True, help="Seconds instead of minutes; the record says that it is quick.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the record; - is standard output.",
)
def command(
    bundle: Path | None,
    scopes: tuple[str, ...],
    engines: tuple[str, ...],
    precision: str | None,
    threads: tuple[int, ...],
    device: str | None,
    quick: bool,
    json_file: Path | None,
) -> None:
    """Measure latency on this machine and write a record.

    Scope `model` is one face through one engine; scope `pipeline` is detector, tracker, preprocessing and model on
    drawn frames with 0, 1 and 3 faces. Each row takes a minute, or a second with --quick.

    \b
    Examples:
      edgefer bench --quick
      edgefer bench mine.edgefer --engine litert --threads 1 --threads 4 --json mine.json
      edgefer report mine.json --out mine.html
    """
    from edgefer.bench.record import write_record
    from edgefer.bundle import open_bundle

    record = measure_all(
        open_bundle(bundle),
        profile_for(device),
        scopes=scopes or SCOPES,
        engines=engines,
        precision=precision,
        threads=threads,
        quick=quick,
        command=" ".join(["edgefer", *sys.argv[1:]]),
    )
    if json_file == Path("-"):
        print_json(record.as_dict())
        return
    if json_file:
        write_record(record, json_file)
        say(f"record: {json_file}; next: edgefer report {json_file} --out report.html")
    click.echo(
        f"{'scope':<9} {'faces':>5} {'engine':<22} {'precision':<9} {'threads':>7} {'load ms':>8} {'first ms':>8}"
        f" {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8}"
    )
    for m in record.measurements:
        faces = "" if m.faces is None else m.faces
        load, first = (f"{v:.1f}" if v is not None else "" for v in (m.load_ms, m.first_ms))
        engine = f"{m.engine} {m.engine_version}"
        click.echo(
            f"{m.scope:<9} {faces:>5} {engine:<22} {m.precision:<9} {m.threads:>7} {load:>8} {first:>8}"
            f" {m.latency.p50:>8.3f} {m.latency.p90:>8.3f} {m.latency.p99:>8.3f}"
        )
    for reason in record.invalid_reasons:
        say(f"INVALID: {reason}")
    if record.quick:
        say("quick: too short to publish; leave out --quick for that")


def measure_all(
    bundle: Bundle,
    profile: DeviceProfile,
    *,
    scopes: Sequence[str] = SCOPES,
    engines: Sequence[str] = (),
    precision: str | None = None,
    threads: Sequence[int] = (),
    quick: bool,
    command: str,
) -> BenchRecord:
    """Measure what is asked for between two snapshots of the environment, with progress, and return the record."""
    from edgefer.bench.environment import snapshot
    from edgefer.bench.latency import FULL, QUICK
    from edgefer.bench.model import bench_model, default_faces
    from edgefer.bench.pipeline import bench_pipeline
    from edgefer.bench.record import new_record
    from edgefer.devices.profile import detect
    from edgefer.runtime.detectors import open_detector
    from edgefer.runtime.engines import installed_engines
    from edgefer.runtime.pipeline import Pipeline
    from edgefer.runtime.tracker import Tracker

    plan = QUICK if quick else FULL
    here = detect()
    before = snapshot(here)
    measurements = []
    if "model" in scopes:
        names = engines or runnable(bundle, installed_engines())
        counts = threads or sorted({1, os.cpu_count() or 1})
        with bar("Measuring the model") as progress:
            measurements += bench_model(
                bundle, names, [precision] if precision else None, counts, default_faces(bundle), plan, progress
            )
    if "pipeline" in scopes:
        count = threads[0] if threads else profile.threads
        loaded = open_preferred(bundle, profile, engines[0] if engines else None, precision, count)

        def pipeline() -> Pipeline:
            return Pipeline(
                loaded.engine, bundle.labels, bundle.preprocess, open_detector("haar", continuous=True), Tracker()
            )

        with bar("Measuring the pipeline") as progress:
            measurements += bench_pipeline(loaded, pipeline, "haar", count, plan, progress)
        loaded.engine.close()
    return new_record(command, plan.quick, here.name, before, snapshot(here), bundle, measurements)


def runnable(bundle: Bundle, names: Sequence[str]) -> list[str]:
    """Return the engines of `names` for which the bundle has an artifact."""
    from edgefer.runtime.engines import load

    formats = {a.format for a in bundle.artifacts}
    return [name for name in names if load(name).FORMAT in formats]
