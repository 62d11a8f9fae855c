"""`edgefer bench --emulate`: the device side on an emulated Arm board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgefer.commands._shared import called, labelled, say
from edgefer.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgefer.bench.emulator.run import Task
    from edgefer.bench.record import BenchRecord
    from edgefer.bundle import Bundle, DetectorBundle, Size
    from edgefer.devices.description import DeviceProfile

FACES = 210
"""Of seven emotions 30 each."""
PICTURES = 12
"""Of a detector: each has thousands of answers."""


def refuse_measuring(options: dict[str, Any]) -> None:
    """Raise UsageError for an option that has no meaning under an emulator."""
    for name in ("scopes", "threads", "device", "quick", "sustained"):
        if options[name]:
            raise click.UsageError(
                f"--{name.removesuffix('s') if name == 'scopes' else name} is about time, and --emulate tells nothing"
                " about that; leave it out"
            )


def emulate_record(
    board: str,
    faces: int | None,
    bundle: Path | None,
    engines: Sequence[str],
    precision: str | None,
    data: Path | None,
    split: str | None,
) -> BenchRecord:
    """Run every engine × precision × size that is asked for on the emulated board and return the record."""
    from edgefer.bench.emulator.run import emulate, emulator, find_board
    from edgefer.bench.environment import snapshot
    from edgefer.bench.record import BenchRecord
    from edgefer.bench.rows import identity
    from edgefer.bundle import DetectorBundle, open_stored, shipped
    from edgefer.devices.profile import detect, load_profile

    if split is not None and data is None:
        raise click.UsageError("--split is of --data; name the labelled faces too")
    find_board(board)
    opened = open_stored(shipped() if bundle is None else bundle)
    here, target = detect(), load_profile(board)
    tasks = _tasks(opened, target, engines, precision)
    pictures: Mapping[Size | None, npt.NDArray[np.uint8]]
    if isinstance(opened, DetectorBundle):
        pictures = _pictures([task.size for task in tasks if task.size], faces or PICTURES, data, split)
    else:
        pictures = {None: _faces(opened, faces or FACES, data, split)}
    before = snapshot(here)
    emulations = [e for task in tasks for e in emulate(opened, board, [task], pictures[task.size], say=say)]
    return BenchRecord(
        kind="emulated",
        command=called(),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        device=target.name,
        environment={"before": before, "after": snapshot(here)},
        bundle=identity(opened),
        emulator=emulator(board),
        emulations=tuple(emulations),
    )


def _tasks(
    bundle: Bundle | DetectorBundle, target: DeviceProfile, engines: Sequence[str], precision: str | None
) -> list[Task]:
    """Return what to run, first what the board prefers; raises EngineError when nothing is left.

    Without `precision` it is the one that the board prefers, where the bundle has it: the others take minutes each.
    """
    from edgefer.bench.emulator.root import DISTRIBUTIONS
    from edgefer.bench.emulator.run import Task
    from edgefer.bench.session import runnable
    from edgefer.bench.subjects import models
    from edgefer.runtime.engines import how_to_install, is_installed

    missing = [name for name in engines if not is_installed(name)]
    if missing:
        raise EngineError(
            f"{missing[0]} is not installed here, so there is nothing to hold the emulated one against:"
            f" {how_to_install(missing[0])}"
        )
    can = [name for name in target.engines if name in DISTRIBUTIONS and is_installed(name)]
    has = {a.precision for a in bundle.artifacts if a.format != "keras"}
    wanted = precision or (target.precision if target.precision in has else None)
    names = list(engines) or runnable(bundle, can, wanted)
    subjects = models(bundle, names, None if wanted is None else [wanted], [1])
    return [Task(subject.engine, subject.precision, subject.size) for subject in subjects]


def _faces(bundle: Bundle, count: int, data: Path | None, split: str | None) -> npt.NDArray[np.uint8]:
    """Return faces as the bundle takes them, uint8 [n, size, size, 1]: drawn, or the first of the labelled ones."""
    import numpy as np

    from edgefer.bench.subjects import drawn_faces

    if data is None:
        return drawn_faces(bundle, -(-count // 7))[:count]
    _, found = labelled(bundle, data, split)
    return np.stack([bundle.preprocess(image) for image in found.images[:count]])


def _pictures(
    sizes: Sequence[Size], count: int, data: Path | None, split: str | None
) -> dict[Size | None, npt.NDArray[np.uint8]]:
    """Return for each size the pictures that a detector takes, uint8 [n, height, width, 1]: drawn, or of scenes."""
    from edgefer.bench.subjects import DETECT_FACES, drawn_frames, letterboxed
    from edgefer.commands._scenes import pictures_of

    pictures = drawn_frames(DETECT_FACES, count) if data is None else pictures_of(data, split, count)
    return {size: letterboxed(pictures, size) for size in dict.fromkeys(sizes)}
