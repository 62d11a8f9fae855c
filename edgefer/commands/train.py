"""`edgefer train`: labelled faces in, a bundle out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefer.commands._shared import bar, json_flag, print_json, say

if TYPE_CHECKING:
    from edgefer.train.fit import EpochReport


@click.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="fer2013.csv, a folder a class, a .npz, or a folder with train.npz and validation.npz.",
)
@click.option("--arch", metavar="NAME", help="Architecture, such as edge-s or edge-xs [default: the recipe's]")
@click.option("--recipe", metavar="NAME|FILE.toml", help="Recipe [default: the architecture's own, else edge-s]")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The bundle to write, such as happy.edgefer."
)
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's, as for all below]")
@click.option("--batch", type=click.IntRange(min=1))
@click.option("--learning-rate", type=float)
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--mixed-precision", type=click.Choice(["auto", "on", "off"]))
@click.option("--resume", is_flag=True, help="Go on with the run for this --out that was interrupted or killed.")
@json_flag
def command(
    data: Path,
    arch: str | None,
    recipe: str | None,
    out: Path,
    epochs: int | None,
    batch: int | None,
    learning_rate: float | None,
    seed: int | None,
    mixed_precision: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train a model on labelled faces and write a bundle.

    Every epoch is kept on disk beside --out: after Ctrl-C, a crash or a power cut, give the same command with --resume.

    \b
    Examples:
      edgefer train --data fer2013.csv --arch edge-s --out mine.edgefer
      edgefer train --data faces/ --arch edge-xs --epochs 20 --out small.edgefer
    """
    from edgefer.train import data as datasets
    from edgefer.train.architectures import architecture_names
    from edgefer.train.backend import load_keras
    from edgefer.train.make import train_bundle
    from edgefer.train.recipe import load_recipe, recipe_names

    if arch is not None and arch not in architecture_names():
        raise click.BadParameter(f"{arch!r} is not one of: {', '.join(architecture_names())}", param_hint="--arch")
    name = recipe or (arch if arch in recipe_names() else "edge-s")
    overrides = {"arch": arch, "epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    settings = load_recipe(name, overrides | {"mixed_precision": mixed_precision})
    start = time.monotonic()
    with bar("Reading faces") as progress:
        splits = datasets.read(data, progress)
    total = sum(len(s) for s in splits.values())
    skipped = sum(s.skipped for s in splits.values())
    seconds = time.monotonic() - start
    say(
        f"{total:,} pictures in {seconds:.1f} s ({total / seconds:,.0f} a second)"
        + (f"; {skipped} unreadable and skipped" if skipped else "")
    )
    train, validation = datasets.for_training(splits, settings.seed)
    load_keras()
    say(f"{settings.arch}: {len(train):,} to train on, {len(validation):,} to choose by, {settings.epochs} epochs")
    show = Progress(settings.epochs)
    bundle = train_bundle(train, validation, settings, out, resume=resume, on_step=show.step, on_epoch=show.epoch)
    figures = next(iter(bundle.metrics.values()))
    low, high = figures["ci95"]
    say(
        f"validation accuracy {figures['accuracy']:.4f} (95 % {low:.4f}–{high:.4f}, n = {figures['n']}),"
        f" epoch {figures['best_epoch']}"
    )
    say(f"wrote {out}; next: edgefer export {out} --int8 --data {data}")
    if as_json:
        print_json({"bundle": str(out), **figures})


class Progress:
    """One line that counts steps while an epoch runs, and stays with the epoch's figures."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._start = 0.0
        self._terminal = sys.stderr.isatty()

    def step(self, epoch: int, step: int, steps: int, loss: float, accuracy: float) -> None:
        """Redraw the line, on a terminal alone."""
        if step == 1:
            self._start = time.monotonic()
        if self._terminal and (step % 5 == 0 or step == steps):
            filled = round(24 * step / steps)
            left = (time.monotonic() - self._start) / step * (steps - step)
            done = "#" * filled + "-" * (24 - filled)
            text = f"epoch {epoch:3}/{self._epochs} [{done}] {left:4.0f} s  loss {loss:.3f}  accuracy {accuracy:.3f}"
            click.echo(f"\r{text}", nl=False, err=True)

    def epoch(self, report: EpochReport, is_best: bool) -> None:
        """Write what the epoch gave."""
        text = (
            f"epoch {report.epoch:3}/{self._epochs}  loss {report.loss:.3f}  accuracy {report.train_accuracy:.3f}"
            f"  validation {report.validation_accuracy:.4f}  {report.seconds:.0f} s{'  best' if is_best else ''}"
        )
        click.echo(f"\r{text:<90}" if self._terminal else text, err=True)
