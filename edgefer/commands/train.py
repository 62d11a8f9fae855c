"""`edgefer train`: labelled faces in, a bundle out."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._epochs import Epochs, interruptible
from edgefer.commands._shared import bar, json_flag, print_json, print_table, refuse, say

if TYPE_CHECKING:
    from edgefer.bundle import Bundle
    from edgefer.train.data.prepare import Prepared
    from edgefer.train.recipe import Recipe
    from edgefer.train.state import EpochReport

PATH = click.Path(path_type=Path)


@click.command()
@click.option(
    "--task",
    type=click.Choice(["classify", "detect"]),
    default="classify",
    help="Name the emotion of faces, or find faces in pictures. [classify]",
)
@click.option(
    "--data",
    type=PATH,
    help="fer2013.csv, a folder a class, a .npz, or a folder with train.npz and validation.npz; to detect, pictures"
    " with boxes: WIDER FACE, COCO, YOLO, jsonl.",
)
@click.option("--votes", type=PATH, help="FER+ votes, fer2013new.csv; data.votes says what is made of them [soft].")
@click.option("--merge", multiple=True, metavar="A+B[=NAME]", help="Labels to be one, such as sad+neutral.")
@click.option("--drop-rows", type=PATH, help="CSV with a column `row`: rows of fer2013.csv not to train on.")
@click.option("--arch", metavar="NAME", help="Architecture; see --list [default: the recipe's]")
@click.option("--recipe", metavar="NAME|FILE.toml", help="Recipe [default: the architecture's own]")
@click.option("--weights", metavar="imagenet|none|FILE|BUNDLE", help="What training starts from.")
@click.option("--unfreeze", metavar="N|all", help="Last layers of the pretrained part that are trained.")
@click.option(
    "--teacher", "teachers", multiple=True, type=PATH, help="Bundle to learn from; may be given several times."
)
@click.option("--out", type=PATH, help="The bundle to write, such as happy.edgefer.")
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's, as for all below]")
@click.option("--steps", type=click.IntRange(min=1), help="With --task detect, in the place of epochs.")
@click.option("--batch", type=click.IntRange(min=1))
@click.option("--learning-rate", type=float)
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--mixed-precision", type=click.Choice(["auto", "on", "off"]))
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any other value of the recipe.")
@click.option("--seeds", type=click.IntRange(min=2), help="Train so many times, from --seed on, and tell mean ± std.")
@click.option("--resume", is_flag=True, help="Go on with the run for this --out that was interrupted or killed.")
@click.option("--page/--no-page", default=True, help="Write curves, confusion and more to OUT's folder .run [--page]")
@click.option("--tensorboard", type=PATH, metavar="FOLDER", help="Write TensorBoard events there.")
@click.option("--list", "list_them", is_flag=True, help="Show what can be trained, and end.")
@click.option("--compare", is_flag=True, help="Show the trained bundles RUN… side by side, and end.")
@click.argument("runs", nargs=-1, type=PATH, metavar="[--compare RUN…]")
@json_flag
def command(task: str, list_them: bool, compare: bool, runs: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Train a model on labelled faces and write a bundle.

    The state is kept on disk beside --out: after Ctrl-C, a crash or a power cut, give the same command with --resume.

    \b
    Examples:
      edgefer train --data fer2013.csv --arch edge-s --out mine.edgefer
      edgefer train --data faces/ --arch edge-xs --epochs 20 --merge sad+neutral --out small.edgefer
      edgefer train --data fer2013.csv --votes fer2013new.csv --teacher mine.edgefer --arch edge-xs --out taught.edgefer
      edgefer train --data my-faces/ --arch edge-m --weights edge-m --epochs 10 --learning-rate 5e-4 --out ours.edgefer
      edgefer train --data fer2013.csv --set augmentation.mixup=0.2 --set optimizer=sgd --out mixed.edgefer
      edgefer train --list
      edgefer train --compare *.edgefer
      edgefer train --task detect --data wider/ --out finder.edgefer
    """
    if task == "detect":
        _detect(list_them, runs, as_json, options)
    elif list_them:
        _list(as_json)
    elif compare:
        _compare(runs, as_json)
    elif runs:
        raise click.UsageError(f"unexpected argument {str(runs[0])!r}; bundles are compared with --compare")
    else:
        for name in ("data", "out"):
            if options[name] is None:
                raise click.UsageError(f"--{name} is needed")
        if options.pop("steps") is not None:
            raise click.UsageError("--steps is for --task detect; here it is --epochs")
        _train(as_json=as_json, **options)


def _detect(list_them: bool, runs: tuple[Path, ...], as_json: bool, options: dict[str, Any]) -> None:
    from edgefer.commands import _train_detect

    if list_them:
        _train_detect.list_detectors(as_json)
        return
    refuse({"compare", *options}.difference(_train_detect.TAKES), "is not for --task detect")
    if runs:
        raise click.UsageError(f"unexpected argument {str(runs[0])!r}")
    for name in ("data", "out"):
        if options[name] is None:
            raise click.UsageError(f"--{name} is needed")
    _train_detect.train_detector(as_json=as_json, **{name: options[name] for name in _train_detect.TAKES})


def _list(as_json: bool) -> None:
    from edgefer.train import listing

    entries = listing.listing()
    if as_json:
        print_json([e.as_dict() for e in entries])
    else:
        print_table(*listing.as_table(entries))


def _compare(runs: tuple[Path, ...], as_json: bool) -> None:
    from edgefer.train import compare

    if not runs:
        raise click.UsageError("--compare needs bundles, such as: edgefer train --compare one.edgefer two.edgefer")
    rows = compare.compare(runs)
    if as_json:
        seeds = [dataclasses.asdict(group) for group in compare.summary(rows)]
        found = {"runs": [dataclasses.asdict(row) for row in rows], "seeds": seeds}
        print_json(json.loads(json.dumps(found, default=str)))
    else:
        print_table(*compare.as_table(rows))


def _train(
    *,
    data: Path,
    votes: Path | None,
    drop_rows: Path | None,
    out: Path,
    seeds: int | None,
    resume: bool,
    page: bool,
    tensorboard: Path | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    from edgefer import plugins
    from edgefer.train import data as datasets
    from edgefer.train.data import prepare
    from edgefer.train.data import votes as ferplus

    recipe = _recipe(votes is not None, **chosen)
    if page:
        plugins.require("matplotlib", "train", "the page of a run (or give --no-page)")
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
    if votes:
        splits = ferplus.attach(splits, votes)
    prepared = prepare.prepare(
        splits, recipe.data, recipe.seed, prepare.read_drop_rows(drop_rows) if drop_rows else None
    )
    for note in prepared.notes:
        say(note)
    if recipe.distill.votes and prepared.train.votes is None:
        recipe = dataclasses.replace(recipe, distill=dataclasses.replace(recipe.distill, votes=False))
        teachers = "labels and teachers" if recipe.distill.on else "labels alone"
        say(f"the recipe lets FER+ votes teach, but the data has none (--votes): it learns from {teachers}")
    runs = [(recipe, out, tensorboard)]
    if seeds:
        runs = [
            (dataclasses.replace(recipe, seed=seed), _numbered(out, seed), tensorboard and tensorboard / f"seed{seed}")
            for seed in range(recipe.seed, recipe.seed + seeds)
        ]
    made = []
    for one, path, events in runs:
        if seeds and resume and path.exists():
            say(f"{path} is there already")
            continue
        again = resume and (not seeds or _begun(path))
        made.append(_one(prepared, one, path, resume=again, page=page, tensorboard=events, data=data))
    if None in made:
        return
    if seeds:
        _compare(tuple(path for _, path, _ in runs), as_json)
    elif as_json and (bundle := made[0]) is not None:
        print_json({"bundle": str(out), "temperature": bundle.temperature, **next(iter(bundle.metrics.values()))})


def _recipe(
    votes: bool,
    *,
    arch: str | None,
    recipe: str | None,
    merge: tuple[str, ...],
    teachers: tuple[Path, ...],
    unfreeze: str | None,
    settings: tuple[str, ...],
    **values: Any,
) -> Recipe:
    """Return the recipe with all that the command line says on top."""
    from edgefer.train.architectures import architecture_names
    from edgefer.train.recipe import load_recipe, parse_setting, recipe_names

    if arch is not None and arch not in architecture_names():
        raise click.BadParameter(f"{arch!r} is not one of: {', '.join(architecture_names())}", param_hint="--arch")
    if unfreeze is not None and unfreeze != "all" and not unfreeze.isdigit():
        raise click.BadParameter(f"{unfreeze!r} is neither a number nor 'all'", param_hint="--unfreeze")
    overrides = values | {
        "arch": arch,
        "unfreeze": None if unfreeze is None else -1 if unfreeze == "all" else int(unfreeze),
        "data.merge": list(merge) or None,
        "distill.teachers": [str(t) for t in teachers] or None,
        **dict(parse_setting(text) for text in settings),
    }
    name = recipe or (arch if arch in recipe_names() else "edge-s")
    found = load_recipe(name, overrides)
    if votes and found.data.votes == "none" and not found.distill.votes:
        found = dataclasses.replace(found, data=dataclasses.replace(found.data, votes="soft"))
    return found


def _numbered(out: Path, seed: int) -> Path:
    return out.with_name(f"{out.stem}-seed{seed}{out.suffix}")


def _begun(out: Path) -> bool:
    from edgefer.train.unfinished import state_file

    return state_file(out).exists()


def _one(
    prepared: Prepared, recipe: Recipe, out: Path, *, resume: bool, page: bool, tensorboard: Path | None, data: Path
) -> Bundle | None:
    """Train one recipe, write the bundle and what there is to look at, and say what came of it.

    Returns None where another process has written it.
    """
    from edgefer.train import distribute, make
    from edgefer.train.architectures import facts
    from edgefer.train.backend import load_keras
    from edgefer.train.unfinished import check_out

    train, validation = prepared.train, prepared.validation
    check_out(out, resume)
    if facts()[recipe.arch].trainer == "sklearn":
        return _svm(prepared, recipe, out, data)
    load_keras()
    if recipe.weights == "imagenet":
        say("starting from ImageNet weights: fetched the first time, up to 0.5 GB")
    workers = distribute.task().addresses
    if len(workers) > 1:
        say(f"meeting the other workers: {', '.join(workers)} (for {distribute.WAIT // 60} minutes at most)")
    say(f"{recipe.arch}: {len(train):,} to train on, {len(validation):,} to choose by, {recipe.epochs} epochs")
    show = Epochs(recipe.epochs)
    on_epoch: Callable[[EpochReport, bool], None] = show.epoch
    with _scalars(tensorboard) as scalars, bar("Asking the teachers") as asked, interruptible(show):
        if scalars is not None:

            def on_epoch(report: EpochReport, is_best: bool) -> None:
                show.epoch(report, is_best)
                scalars.epoch(report)

        trained = make.train_bundle(
            train,
            validation,
            recipe,
            out,
            test=prepared.test,
            resume=resume,
            on_step=show.step,
            on_epoch=on_epoch,
            on_teachers=asked,
        )
    if trained is None:
        say(f"done; the chief wrote {out}")
        return None
    bundle, run = trained
    figures = next(iter(bundle.metrics.values()))
    _tell(figures, f", epoch {figures['best_epoch']}, ECE {figures['ece']:.3f}")
    if page:
        from edgefer.train.run_page import write_run_page

        say(f"page: {write_run_page(run, out.with_name(out.name.removesuffix('.edgefer') + '.run'))}")
    say(f"wrote {out}; next: edgefer export {out} --int8 --data {data}")
    return bundle


def _tell(figures: dict[str, Any], more: str = "") -> None:
    low, high = figures["ci95"]
    say(f"validation accuracy {figures['accuracy']:.4f} (95 % {low:.4f}–{high:.4f}, n = {figures['n']}){more}")
    if "accuracy_before_recall_floor" in figures:
        say(f"  {figures['accuracy_before_recall_floor']:.4f} before biases were moved for recall_floor")
    for name, what in (("ferplus", "against FER+ majority"), ("test", "test split")):
        if name in figures:
            say(f"{what}: {figures[name]['accuracy']:.4f} (n = {figures[name]['n']})")


def _scalars(folder: Path | None) -> Any:
    """Return TensorBoard's writer, or nothing in its place."""
    import contextlib

    if folder is None:
        return contextlib.nullcontext()
    from edgefer.train.tensorboard import Scalars

    return Scalars(folder)


def _svm(prepared: Prepared, recipe: Recipe, out: Path, data: Path) -> Bundle:
    from edgefer.train import svm

    bundle = svm.svm_bundle(prepared.train, prepared.validation, recipe, out, test=prepared.test, progress=say)
    _tell(next(iter(bundle.metrics.values())))
    say(f"wrote {out}; next: edgefer evaluate {out} --data {data}")
    return bundle
