"""`edgefer data`: look at labelled faces before training on them."""

from __future__ import annotations

from pathlib import Path

import click

from edgefer.commands._shared import bar, json_flag, print_json, print_table, say


@click.group()
def command() -> None:
    """Look at labelled faces before training on them.

    \b
    Example:
      edgefer data inspect fer2013.csv
    """


@command.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--votes", type=click.Path(path_type=Path), help="FER+ votes, fer2013new.csv.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Where the page goes [default: the name of PATH with .inspect, here].",
)
@json_flag
def inspect(path: Path, votes: Path | None, out: Path | None, as_json: bool) -> None:
    """Count classes, find copies, contradictory labels and blank pictures, and write a page with drawings.

    PATH is what edgefer train takes: fer2013.csv, a folder a class, a .npz, or a folder with train.npz.

    \b
    Examples:
      edgefer data inspect faces/
      edgefer data inspect fer2013.csv --votes fer2013new.csv --out look
    """
    from edgefer import plugins
    from edgefer.train import data as datasets
    from edgefer.train.data import inspect as looking
    from edgefer.train.data import inspect_page
    from edgefer.train.data import votes as ferplus

    plugins.require("matplotlib", "train", "the page of edgefer data inspect")
    with bar("Reading faces") as progress:
        splits = datasets.read(path, progress)
    if votes:
        splits = ferplus.attach(splits, votes)
    with bar("Looking for copies") as progress:
        inspection = looking.inspect(splits, progress)
    folder = out or Path(f"{path.resolve().name}.inspect")
    index = inspect_page.write_page(inspection, splits, path.resolve().name, folder)
    if as_json:
        print_json(inspection.as_dict() | {"page": str(index)})
    else:
        print_table(*inspect_page.class_table(inspection))
        click.echo()
        for sentence in looking.findings(inspection):
            click.echo(click.wrap_text(sentence, 100, "- ", "  "))
    say(f"page: {index}")
