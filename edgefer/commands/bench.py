"""`edgefer bench`: figures of this machine or of an emulated board, as a record; and what can be done with records."""

from __future__ import annotations

import importlib
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._measure import ended_in_order, measure_record, print_record
from edgefer.commands._shared import bundle_argument, device_option, print_json, say

if TYPE_CHECKING:
    from edgefer.bench.record import BenchRecord

OTHERS = {
    "compare": ("_bench_compare", "Compare two records: faster, slower or the same."),
    "calibrate": ("_bench_estimate", "Learn from a real board how long its instructions take."),
    "estimate": ("_bench_estimate", "Estimate milliseconds from counted instructions."),
}
"""First words that are no bundle but a command of their own: its module, and what it does."""


class Bench(click.Command):
    """The command that measures; with a sub-command's name as its first word, that one."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> click.Context:
        """Return the context of what is to run."""
        if args and args[0] in OTHERS:
            other: click.Command = getattr(importlib.import_module(f"edgefer.commands.{OTHERS[args[0]][0]}"), args[0])
            return other.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the sub-commands."""
        with formatter.section("With records"):
            formatter.write_dl([(f"edgefer bench {name}", text) for name, (_, text) in OTHERS.items()])


def _each_once(context: click.Context, option: click.Parameter, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values without repetitions, which would be rows that nothing tells apart."""
    return tuple(dict.fromkeys(values))


@click.command(cls=Bench)
@bundle_argument
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["model", "pipeline", "detect"]),
    help="[default: model and pipeline; of a detector model and detect]",
)
@click.option(
    "--engine",
    "engines",
    multiple=True,
    metavar="NAME",
    callback=_each_once,
    help="May be given several times [default: every installed one]; scopes pipeline and detect and --sustained take"
    " the first [default: the device's].",
)
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp16", "fp32", "dynamic"]),
    help="[default: all that the bundle has; for whole frames, --sustained and --emulate what the device prefers]",
)
@click.option(
    "--threads",
    "threads",
    multiple=True,
    type=click.IntRange(1, 256),
    callback=_each_once,
    help="May be given several times [default: 1 and all; with --quick the device's]; scope pipeline and --sustained"
    " take the first [default: the device's].",
)
@device_option
@click.option("--quick", is_flag=True, help="Seconds instead of minutes; the record says that it is quick.")
@click.option(
    "--sustained",
    type=click.IntRange(3, 86_400),
    metavar="SECONDS",
    help="Afterwards run the preferred model so long without a pause: does it stay as fast as it began?",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Labelled faces, in any form that edgefer train reads: adds the accuracy of every artifact in every engine. Of"
    " a detector, scenes: what its network is shown.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "all"]),
    help="Of --data [default: test, else validation, else everything]",
)
@click.option(
    "--emulate",
    metavar="BOARD",
    help="Run on an emulated rpi4 or rpi5 instead: same results as here? how many instructions? No latency.",
)
@click.option(
    "--faces",
    type=click.IntRange(1, 100_000),
    help="With --emulate: how many faces are compared [default: 210 drawn ones, or the first 210 of --data], or how"
    " many pictures of a detector [default: 12].",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the record; - is standard output.",
)
def command(json_file: Path | None, emulate: str | None, faces: int | None, **wanted: Any) -> None:
    """Measure on this machine, or count on an emulated board, and write a record.

    Scope `model` is one face through one engine; scope `pipeline` is detector, tracker, preprocessing and model on
    drawn frames with 0, 1 and 3 faces. Of a face detector's bundle, `model` is one picture of each size that it takes,
    and scope `detect` a drawn frame through all of it. Each row takes over a minute, or a few seconds with --quick, in
    fresh processes that take turns.

    \b
    Examples:
      edgefer bench --quick
      edgefer bench mine.edgefer --engine litert --threads 1 --threads 4 --json mine.json
      edgefer bench det-s --quick
      edgefer bench --data fer2013.csv --split validation --sustained 600 --json pi5.json
      edgefer bench --emulate rpi4 --json rpi4.json
      edgefer bench compare before.json after.json --fail-if-slower 5%
      edgefer report pi5.json rpi4.json --out report.html
    """
    from edgefer.bench.record import refuse_unwritable, write_record

    if json_file is not None and json_file != Path("-"):
        refuse_unwritable(json_file)
    with ended_in_order():
        record = measured(faces, wanted) if emulate is None else emulated(emulate, faces, wanted)
    if json_file == Path("-"):
        print_json(record.as_dict())
        return
    print_record(record)
    if json_file is not None:
        write_record(record, json_file)
        say(f"record: {json_file}; next: edgefer report {quote(str(json_file))} --out report.html")


def measured(faces: int | None, wanted: dict[str, Any]) -> BenchRecord:
    """Return the record of this machine."""
    if faces is not None:
        raise click.UsageError("--faces goes with --emulate; what is measured is drawn")
    return measure_record(**wanted)


def emulated(board: str, faces: int | None, wanted: dict[str, Any]) -> BenchRecord:
    """Return the record of an emulated board."""
    from edgefer.commands._emulate import emulate_record, refuse_measuring

    refuse_measuring(wanted)
    names = ("bundle", "engines", "precision", "data", "split")
    return emulate_record(board, faces, **{name: wanted[name] for name in names})
