"""`edgefer optimize`: what to run on a device, found by trying."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._export_talk import Talk
from edgefer.commands._shared import bar, bundle_argument, json_flag, print_json, print_table, say, step
from edgefer.commands.export import PRECISIONS

if TYPE_CHECKING:
    from edgefer.optimize.search import Search
    from edgefer.optimize.search_table import SearchResult

NARROW = (0.25, 0.4)


@click.command()
@bundle_argument
@click.option("--target", required=True, metavar="NAME", help="Device profile, such as rpi5; see edgefer devices.")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path),
    help="Labelled faces, as for edgefer export: the training split calibrates and tunes, the validation split judges.",
)
@click.option(
    "--drop-rows",
    type=click.Path(path_type=Path),
    help="CSV with a column `row`: training pictures to leave out of fine-tuning, as for edgefer train.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Points of accuracy that what is recommended may lose against the trained network.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    help="May be given several times [default: all]",
)
@click.option(
    "--narrow",
    multiple=True,
    type=click.FloatRange(0.05, 0.95),
    metavar="PART",
    help="Part of the arithmetic to take away with whole channels; may be given several times [default: 0.25 and 0.4]",
)
@click.option("--qat/--no-qat", default=None, help="Try int8 with quantization-aware training too. [default: --qat]")
@click.option("--quick", is_flag=True, help="No training: the network as it is, in every precision and calibration.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="STAGE.NAME=VALUE",
    help="A setting of narrow or qat: epochs, learning_rate, batch, distill, temperature or seed, as in qat.epochs=8.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The bundle to write [default: NAME-TARGET.edgefer beside BUNDLE]"
)
@click.option("--keep", is_flag=True, help="Leave the other variants in OUT.search.")
@click.option("--resume", is_flag=True, help="Go on with a search that was interrupted, or that recommended nothing.")
@json_flag
def command(
    bundle: Path | None,
    target: str,
    data: Path,
    drop_rows: Path | None,
    max_drop: float,
    precisions: tuple[str, ...],
    narrow: tuple[float, ...],
    qat: bool | None,
    quick: bool,
    settings: tuple[str, ...],
    out: Path | None,
    keep: bool,
    resume: bool,
    as_json: bool,
) -> None:
    """Try precision, structured pruning, calibration and engine for a device, and recommend one artifact.

    Every variant is exported, run in its real engine on the validation split and compared with the trained network.
    The best one becomes a bundle that says what to run on that device. Exit code 1: none is good enough.

    \b
    Examples:
      edgefer optimize mine.edgefer --target rpi5 --data fer2013.csv
      edgefer optimize mine.edgefer --target rpi5 --data fer2013.csv --quick
      edgefer optimize --target jetson --data faces/ --max-drop 1 --narrow 0.3 --set narrow.epochs=20
    """
    from edgefer.bundle import open_bundle
    from edgefer.devices.profile import load_profile
    from edgefer.optimize.search import search
    from edgefer.train import data as datasets
    from edgefer.train.data import prepare

    if quick and (narrow or qat or settings):
        raise click.UsageError("--quick trains nothing: leave out --narrow, --qat and --set")
    profile = load_profile(target)
    wanted = _wanted(precisions, () if quick else narrow or NARROW, not quick and qat is not False, settings, max_drop)
    opened = open_bundle(bundle)
    name = f"{opened.name}-{profile.name}.edgefer"
    out = out or (Path(name) if bundle is None else bundle.resolve().with_name(name))
    with bar("Reading faces") as progress:
        splits = datasets.read(data, progress)
    train, validation = prepare.as_trained(splits, opened.recipe)
    tune_on = None
    if not quick:
        dropped = prepare.read_drop_rows(drop_rows) if drop_rows else None
        prepared = prepare.to_tune(splits, opened.recipe, dropped)
        tune_on = prepared.train
        for note in prepared.notes:
            say(note)
    with step(f"Search for {profile.title}"):
        result = search(
            opened,
            train,
            validation,
            profile,
            wanted,
            out,
            resume=resume,
            keep=keep,
            tune_on=tune_on,
            listener=_SearchTalk(),
        )
    if as_json:
        print_json(result.as_dict() | {"bundle": result.bundle and str(result.bundle.path)})
    else:
        _show(result)
    _conclude(result, out)


def _wanted(
    precisions: tuple[str, ...], amounts: tuple[float, ...], qat: bool, settings: tuple[str, ...], max_drop: float
) -> Search:
    """Return what the options ask for."""
    from edgefer.optimize.plan import tunings
    from edgefer.optimize.search import Search
    from edgefer.train.recipe import parse_setting

    chosen = tuple(p for p in PRECISIONS if p in (precisions or PRECISIONS))
    values = [parse_setting(text) for text in settings]
    qat = qat and "int8" in chosen
    narrowed, rounded = [], None
    for amount in sorted(set(amounts)):
        made = {t.stage: t for t in tunings({"narrow": amount} | ({"qat": 0.0} if qat else {}), values)}
        narrowed.append(made["narrow"])
        rounded = made.get("qat")
    return Search(chosen, tuple(narrowed), rounded, max_drop)


class _SearchTalk(Talk):
    """Says which variant is being made, and what export says inside."""

    def __call__(self, message: Mapping[str, Any]) -> None:
        """Show one message of the search, or of `optimize.worker`."""
        if "variant" in message:
            say(f"variant {message['number']} of {message['variants']}: {message['variant']}")
        else:
            super().__call__(message)


def _show(result: SearchResult) -> None:
    from edgefer.optimize.search_table import pareto

    front = pareto(result.rows)
    head = ["", "variant", "precision", "calibrated", "engine", "accuracy", "lost", "p", "bytes", "gzip", "MMACs"]
    head += ["peak bytes", "ms"]
    rows = [
        [
            ("→" if r == result.recommended else " ") + ("*" if r in front else " "),
            r.variant,
            r.precision,
            r.calibrated or "as it is",
            r.engine,
            f"{r.accuracy:.4f}",
            f"{r.drop_points:+.2f}",
            f"{r.p_value:.2f}",
            f"{r.bytes:,}",
            f"{r.gzip_bytes:,}",
            f"{r.macs / 1e6:.1f}",
            "–" if r.peak_bytes is None else f"{r.peak_bytes:,}",
            f"{r.ms:.3f}",
        ]
        for r in result.rows
    ]
    print_table(head, rows)
    say(f"the trained network: accuracy {result.accuracy:.4f} on {result.n} validation faces")
    say("→ recommended; * no other is better in accuracy, bytes and ms together; lost: points; p: of McNemar's test")
    say("peak bytes: activations alive at once, in TFLite; ms: one picture, one thread, a short run")
    if result.target != result.measured_on:
        say(
            f"ms are of this machine ({result.measured_on}), not of {result.target}: they only order artifacts of one"
            f" engine; measure there with edgefer bench"
        )


def _conclude(result: SearchResult, out: Path) -> None:
    for name, reason in result.refused.items():
        say(f"{name} could not be made as planned: {reason}")
    best = result.recommended
    if best is None:
        least = min(row.drop_points for row in result.rows)
        say(
            f"nothing is recommended: none is within {result.max_drop:g} points (the best loses {least:.2f}); what was"
            f" made stays in {out}.search: allow more with --max-drop and --resume"
        )
        raise click.exceptions.Exit(1)
    say(
        f"recommended for {result.target}: {best.variant} in {best.precision} on {best.engine} ({best.artifact}),"
        f" {best.drop_points:+.2f} points lost, {best.bytes:,} bytes"
    )
    say(f"wrote {out}; next: edgefer bench {out}, on the device")
