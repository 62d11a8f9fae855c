"""`edgefer report`: records and evaluations in, a page out."""

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
    """Turn benchmark records and evaluations into a page with tables and plots.

    RECORDS are files that `edgefer bench --json` wrote, and what `edgefer evaluate --json` printed, in any order.

    \b
    Examples:
      edgefer report laptop.json pi5.json --out report.html
      edgefer report laptop.json --out report.md
      edgefer evaluate --data fer2013.csv --json > accuracy.json
      edgefer report laptop.json accuracy.json
      edgefer evaluate --task detect --data wider/ --json > detectors.json && edgefer report detectors.json
    """
    from edgefer.bench.report import read, write_report

    if out.suffix.lower() not in (".html", ".md"):
        raise click.BadParameter(f"{out} must end in .html or .md", param_hint="--out")
    measured, evaluations, finding = read(records)
    write_report(measured, out, evaluations, finding)
    say(f"report: {out}")
