"""`edgefer train --task detect`: scenes with face boxes in, a detector bundle out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._epochs import Looks, interruptible
from edgefer.commands._shared import bar, print_json, print_table, say

if TYPE_CHECKING:
    from edgefer.train.detect.recipe import DetectRecipe

TAKES = ("data", "out", "recipe", "arch", "steps", "batch", "learning_rate", "seed", "settings", "resume", "page")
"""Options that mean something here; any other one is refused when it is given."""


def list_detectors(as_json: bool) -> None:
    """Print what `--task detect` can train."""
    from edgefer.train.detect.network import VARIANTS

    if as_json:
        print_json([{"name": name, "parameters": f.parameters, "macs": f.macs} for name, f in VARIANTS.items()])
    else:
        rows = [(n, f"{f.parameters:,}", f"{f.macs / 1e6:.1f}", f.summary) for n, f in VARIANTS.items()]
        print_table(("detector", "parameters", "million MACs at 320×240", "layers"), rows)


def train_detector(
    *,
    data: Path,
    out: Path,
    recipe: str | None,
    arch: str | None,
    steps: int | None,
    batch: int | None,
    learning_rate: float | None,
    seed: int | None,
    settings: tuple[str, ...],
    resume: bool,
    page: bool,
    as_json: bool,
) -> None:
    """Read the scenes, train, write the bundle and say what came of it."""
    from edgefer import plugins
    from edgefer.train import scenes
    from edgefer.train.backend import load_keras
    from edgefer.train.detect import make, pictures
    from edgefer.train.detect.threshold import how_chosen
    from edgefer.train.unfinished import check_out

    given = {"arch": arch, "steps": steps, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    chosen = _recipe(recipe, given, settings)
    if page:
        plugins.require("matplotlib", "train", "the page of a run (or give --no-page)")
    check_out(out, resume)
    start = time.monotonic()
    with bar("Reading labels") as progress:
        splits = scenes.read(data, progress)
    train, validation = scenes.for_training(splits, chosen.seed)
    with bar("Reading pictures") as progress:
        everything = pictures.read_pictures([*train, *validation], chosen.picture_side, progress)
    seen, judged = everything[: len(train)], everything[len(train) :]
    faces = sum(len(p.labels.boxes) for p in seen)
    say(f"{len(everything):,} pictures in {time.monotonic() - start:.1f} s")
    load_keras()
    say(
        f"{chosen.arch}: {len(seen):,} pictures with {faces:,} faces to train on, {len(judged):,} to choose by,"
        f" {chosen.steps:,} steps of {chosen.batch} views"
    )
    show = Looks(chosen.steps)
    with interruptible(show), bar("Choosing the threshold") as progress:
        bundle, result = make.train_detector(
            seen,
            judged,
            chosen,
            out,
            resume=resume,
            on_step=show.step,
            on_look=show.look,
            on_threshold=progress,
        )
    figures = next(iter(bundle.metrics.values()))
    low, high = figures["ci95"]
    say(
        f"validation: average precision {figures['average_precision']:.4f} (95 % {low:.4f}–{high:.4f},"
        f" {figures['faces']} faces of {figures['least_face']:g} pixels and more at 320×240)"
    )
    chosen_on = how_chosen(figures["threshold_scenes"])
    say(
        f"  at the threshold {bundle.threshold:g} ({chosen_on}): recall {figures['recall']:.3f},"
        f" {figures['false_in_empty']} false faces in {figures['empty']} pictures without one"
    )
    if page:
        from edgefer.train.detect.page import write_detect_page

        folder = out.with_name(out.name.removesuffix(".edgefer") + ".run")
        say(f"page: {write_detect_page(bundle, result, judged, folder)}")
    say(f"wrote {out}; next: edgefer export {out} --int8 --data {data}")
    if as_json:
        print_json({"bundle": str(out), "threshold": bundle.threshold, **figures})


def _recipe(recipe: str | None, given: Mapping[str, Any], settings: tuple[str, ...]) -> DetectRecipe:
    from edgefer.train.detect.network import VARIANTS
    from edgefer.train.detect.recipe import load_recipe, recipe_names
    from edgefer.train.recipe import parse_setting

    arch = given["arch"]
    if arch is not None and arch not in VARIANTS:
        raise click.BadParameter(f"{arch!r} is not one of: {', '.join(VARIANTS)}", param_hint="--arch")
    name = recipe or (arch if arch in recipe_names() else "det-s")
    return load_recipe(name, {**given, **dict(parse_setting(text) for text in settings)})
