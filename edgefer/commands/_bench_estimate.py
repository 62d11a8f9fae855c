"""`edgefer bench calibrate` and `edgefer bench estimate`: milliseconds of a board from counted instructions."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from edgefer.commands._shared import called, print_json, print_table, say
from edgefer.page import plain


@click.command()
@click.argument("measured", type=click.Path(path_type=Path))
@click.argument("emulated", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE", help="The calibration."
)
def calibrate(measured: Path, emulated: Path, out: Path) -> None:
    """Learn what instructions take on a board: MEASURED on the real one, EMULATED is of the same bundle here.

    At least three artifacts and engines must be in both, measured with one thread; how far each is off when the
    others estimate it becomes the error of every estimate.

    \b
    Examples:
      edgefer bench --scope model --threads 1 --json pi4.json          # on the Raspberry Pi 4
      edgefer bench --emulate rpi4 --json rpi4.json                    # here
      edgefer bench calibrate pi4.json rpi4.json --out rpi4-calibration.json
    """
    from edgefer.bench.estimate import calibrate as learn
    from edgefer.bench.estimate import write_calibration
    from edgefer.bench.record import read_record

    found = learn(read_record(measured), read_record(emulated))
    write_calibration(found, out)
    print_table(
        ["engine", "artifact", "instructions", "measured ms", "this factor gives"],
        [
            [plain(f"{f.engine} {f.engine_version}"), plain(f.artifact), f"{f.instructions:,}", f"{f.ms:.3f}"]
            + [f"{f.instructions / 1e6 * found.factor:.3f}"]
            for f in found.figures
        ],
    )
    click.echo(
        f"\n{plain(found.device)}: {found.factor:.4g} ms for a million instructions,"
        f" ± {100 * found.error:.0f} % (the worst of {len(found.figures)}, each estimated from the others)"
    )
    for note in found.notes:
        say(f"note: {plain(note)}")
    say(f"calibration: {out}; next: edgefer bench estimate EMULATED.json --calibration {quote(str(out))}")


@click.command()
@click.argument("emulated", type=click.Path(path_type=Path))
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="What edgefer bench calibrate wrote, for the same board.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the record, of kind estimated; - is standard output.",
)
def estimate(emulated: Path, calibration: Path, json_file: Path | None) -> None:
    """Estimate milliseconds on a board from the instructions that were counted for it.

    An estimate is no measurement: it is shown with its error, and its record is of a kind of its own.

    \b
    Example:
      edgefer bench estimate rpi4.json --calibration rpi4-calibration.json --json rpi4-estimated.json
    """
    from edgefer.bench.estimate import estimate as calculate
    from edgefer.bench.estimate import read_calibration
    from edgefer.bench.record import read_record, write_record

    record = calculate(read_record(emulated), read_calibration(calibration), called())
    if json_file == Path("-"):
        print_json(record.as_dict())
        return
    if json_file is not None:
        write_record(record, json_file)
        say(f"record: {json_file}")
    click.echo(f"{plain(record.bundle.name)} on {plain(record.device)}: estimated, not measured; p50, one thread\n")
    print_table(
        ["engine", "artifact", "instructions", "estimated ms", "error", "so perhaps"],
        [
            [plain(e.engine), plain(e.artifact), f"{e.instructions:,}", f"{e.ms:.2f}", f"± {100 * e.error:.0f} %"]
            + [f"{e.ms / (1 + e.error):.2f}–{e.ms * (1 + e.error):.2f} ms"]
            for e in record.estimates
        ],
    )
    for note in record.notes:
        say(f"note: {plain(note)}")
