"""`edgefer report`: records in, a page out."""

from __future__ import annotations

from pathlib import Path

import click

from edgefer.commands._shared import say


@click.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="report.html",
    show_default=True,
    help=".html (with plots; needs edgefer[report]) or .md",
)
def command(records: tuple[Path, ...], out: Path) -> None:
    """Turn benchmark records into a page with tables and plots.

    \b
    Examples:
      edgefer report laptop.json pi5.json --out report.html
      edgefer report laptop.json --out report.md
    """
    from edgefer.bench.record import read_record
    from edgefer.bench.report import write_report

    if out.suffix not in (".html", ".md"):
        raise click.BadParameter(f"{out} must end in .html or .md", param_hint="--out")
    write_report([read_record(path) for path in records], out)
    say(f"report: {out}")
