"""A run that is not finished: what is kept of it stands beside the bundle that it shall become."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edgefer.bundle import MANIFEST
from edgefer.errors import TrainError


def state_file(out: Path) -> Path:
    """Return where the unfinished run for `out` is kept: beside it, so that both are on one disk."""
    return out.with_name(out.name + ".training") / "state.npz"


def check_out(out: Path, resume: bool) -> None:
    """Raise TrainError when `out` is there already, or when there is nothing to resume for it."""
    if out.exists():
        what = "a bundle" if (out / MANIFEST).is_file() else "something that is not a bundle"
        raise TrainError(f"{out} exists and is {what}; choose another --out or remove it")
    if resume and not state_file(out).exists():
        raise TrainError(f"there is nothing to resume: {state_file(out)} does not exist; leave out --resume")


@contextlib.contextmanager
def unfinished(out: Path, resume: bool) -> Iterator[Path]:
    """Give the file for the state of the run that makes `out`, to be removed when `out` is there.

    Its folder is made, and removed at the end unless something is left in it. Raises TrainError as `check_out` does,
    and when the folder cannot be made.
    """
    check_out(out, resume)
    state = state_file(out)
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"cannot write beside {out}: {error.strerror}; choose another --out") from error
    try:
        yield state
    finally:
        with contextlib.suppress(OSError):  # not empty: there is something to go on from, or somebody else's file
            state.parent.rmdir()
