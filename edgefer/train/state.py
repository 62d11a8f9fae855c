"""The state of an unfinished run: one file, replaced atomically, that a resumed run continues from exactly."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgefer import files
from edgefer.errors import TrainError

Arrays = list[npt.NDArray[Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave; the history is a list of these."""

    epoch: int
    loss: float
    train_accuracy: float
    """Of the augmented pictures, while the weights changed."""
    validation_loss: float
    validation_accuracy: float
    """Of the averaged weights."""
    learning_rate: float
    """At the end of the epoch."""
    seconds: float


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    history: tuple[EpochReport, ...] = ()
    step: int = 0
    """Steps done of the epoch after the history."""
    loss: float = 0.0
    """Sum over those steps, as accuracy."""
    accuracy: float = 0.0
    seconds: float = 0.0
    """That the begun epoch has taken."""


def fingerprint(settings: Any, arrays: Iterable[npt.NDArray[Any] | None]) -> str:
    """Return a digest of all that decides a run, plain data and arrays, so that no other one continues its state."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).data)
    return digest.hexdigest()


def save(path: Path, run: str, variables: Sequence[Any], best: Arrays, progress: Progress) -> None:
    """Write the state; raises OSError."""
    write(path, run, variables, best, asdict(progress))


def write(path: Path, run: str, variables: Sequence[Any], best: Arrays, progress: Mapping[str, Any]) -> None:
    """Write a state whose `progress` is plain data; raises OSError."""
    meta = {"fingerprint": run, **progress}
    arrays = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    for key, values in (("model", variables), ("best", best)):
        arrays |= {f"{key}/{i:04d}": np.asarray(v) for i, v in enumerate(values)}
    with files.atomic(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def restore(path: Path, run: str, variables: Sequence[Any]) -> tuple[Arrays, Progress]:
    """Assign the state of a file to `variables` and return (best weights so far, how far the run was).

    Raises TrainError when the file cannot be read or belongs to another run.
    """
    return read(
        path, run, variables, lambda meta: Progress(tuple(EpochReport(**r) for r in meta.pop("history")), **meta)
    )


def read(
    path: Path, run: str, variables: Sequence[Any], progress_of: Callable[[dict[str, Any]], T]
) -> tuple[Arrays, T]:
    """Do what `restore` does; `progress_of` makes of the plain data that `write` took what is returned of it."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {k: archive[k] for k in sorted(archive.files)}
        meta = json.loads(arrays.pop("meta").tobytes())
        found = meta.pop("fingerprint")
        progress = progress_of(meta)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainError(f"{path} is not a readable training state: {error}; remove it and start again") from error
    if found != run:
        raise TrainError(f"{path} is the state of another run (other data or recipe); remove it, or use another --out")
    for variable, value in zip(variables, [v for k, v in arrays.items() if k.startswith("model/")], strict=True):
        variable.assign(value)
    return [v for k, v in arrays.items() if k.startswith("best/")], progress
