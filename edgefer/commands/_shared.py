"""Options and small talk that several commands share."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgefer.errors import EngineError

if TYPE_CHECKING:
    from edgefer.bundle import Bundle
    from edgefer.devices.profile import DeviceProfile
    from edgefer.runtime.engines import LoadedEngine
    from edgefer.train.data import Dataset

bundle_argument = click.argument("bundle", required=False, type=click.Path(path_type=Path))
device_option = click.option(
    "--device",
    metavar="NAME",
    help="Device profile, such as rpi5 or jetson [default: this machine's; see edgefer devices].",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["int8", "dynamic", "fp16", "fp32"]),
    help="[default: what the device prefers, if the bundle has it]",
)
json_flag = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output, nothing else.")


def refuse(parameters: Collection[str], why: str) -> None:
    """Raise UsageError for the first option on the command line that is one of these parameters of the command."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in parameters and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]} {why}; leave it out")


def say(message: str) -> None:
    """Talk to a person: standard error."""
    click.echo(message, err=True)


def called() -> str:
    """Return the command line as a shell takes it again; a byte that is no UTF-8 is printed as an escape."""
    return shlex.join(["edgefer", *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode()


def print_json(value: Any) -> None:
    """Write one JSON value to standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table to standard output; the first column and columns of words stand left, numbers right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    numbers = [i > 0 and all(row[i][:1] in "0123456789–-+±." for row in rows) for i in range(len(head))]
    for row in [head, *rows]:
        cells = (c.rjust(w) if number else c.ljust(w) for c, w, number in zip(row, widths, numbers, strict=True))
        click.echo("  ".join(cells).rstrip())


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, driven by `progress(done, total)`; silent when nobody watches."""
    with contextlib.ExitStack() as stack:
        shown: Any = None
        last = 0

        def progress(done: int, total: int) -> None:
            nonlocal shown, last
            if shown is None:
                stream = sys.stderr
                shown = stack.enter_context(click.progressbar(length=total, label=label, file=stream, width=30))
            shown.update(done - last)
            last = done

        yield progress


@contextlib.contextmanager
def step(label: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    start = time.monotonic()
    say(f"{label} …")
    yield
    say(f"{label}: {time.monotonic() - start:.1f} s")


def labelled(bundle: Bundle, data: Path, split: str | None, votes: Path | None = None) -> tuple[str, Dataset]:
    """Read labelled faces; return the split's name and its faces, with labels merged as the bundle's were.

    `votes` is FER+'s file. Says when the bundle may have seen the faces in training.
    """
    from edgefer.train import data as datasets
    from edgefer.train.data import votes as ferplus
    from edgefer.train.data.prepare import merged_as_trained

    with bar("Reading faces") as progress:
        name, faces = datasets.pick(datasets.read(data, progress), split)
    if votes:
        faces = ferplus.attach({name: faces}, votes)[name]
    faces = merged_as_trained({name: faces}, bundle.recipe, bundle.labels)[name]
    if bundle.recipe.get("data", {}).get("split"):
        say("note: this bundle was trained on a division of its own; it may have seen pictures of this split")
    return name, faces


def profile_for(device: str | None, strict: bool = False) -> DeviceProfile:
    """Return the profile asked for, or this machine's.

    Says where it does not fit the machine; with `strict` that raises DeviceError.
    """
    from edgefer.devices.profile import choose_profile

    choice = choose_profile(device, strict)
    for note in choice.notes:
        say(f"note: {note}")
    return choice.profile


def open_preferred(
    bundle: Bundle, profile: DeviceProfile, engine: str | None, precision: str | None, threads: int | None
) -> LoadedEngine:
    """Open what is asked for, else what the bundle recommends for the device, else what the profile prefers.

    Says what was passed over, an execution provider too.
    """
    from edgefer.runtime.engines import choose, load, open_engine, passed_over

    if engine is None and precision is None:
        engine, precision = _recommended(bundle, profile)
    if engine is None:
        engine, notes = choose(bundle, profile.engines)
        for note in notes:
            say(f"note: {note}")
    if precision is None:
        has = [a.precision for a in bundle.artifacts if a.format == load(engine).FORMAT]
        if profile.precision in has:
            precision = profile.precision
        elif has:
            say(f"note: {profile.name} prefers {profile.precision}, but the bundle has {', '.join(has)} for {engine}")
    loaded = open_engine(bundle, engine, precision, threads or profile.threads, profile.providers)
    why = passed_over(loaded, profile.providers)
    if why is not None:
        say(f"note: {profile.providers[0]} is preferred on {profile.name}, but {why}; see docs/devices.md")
    return loaded


def _recommended(bundle: Bundle, profile: DeviceProfile) -> tuple[str | None, str | None]:
    """Return the engine and precision that the bundle recommends for the device; neither where it cannot run here."""
    from edgefer.runtime.engines import how_to_install, installed_engines, load

    advised = bundle.recommended.get(profile.name)
    artifact = next((a for a in bundle.artifacts if advised and a.path == advised.artifact), None)
    if advised is None or artifact is None:
        return None, None
    what = f"the bundle recommends {advised.artifact} on {advised.engine} for {profile.name}"
    try:
        fits = artifact.format == load(advised.engine).FORMAT
        if fits and advised.engine in installed_engines():
            say(f"note: {what}")
            return advised.engine, artifact.precision
        why = f"which is not installed ({how_to_install(advised.engine)})" if fits else "which does not run that format"
    except EngineError:
        why = "which this edgefer does not know"
    say(f"note: {what}, {why}")
    return None, None
