"""Arrays that took long to get, kept in the user's cache.

A cache that is missing, full, read-only or broken costs time, not correctness. A user without a home has none.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import files, places


def load(name: str) -> dict[str, npt.NDArray[Any]] | None:
    """Return the arrays that were kept as `name`, which says all that they depend on; None when there are none."""
    path = _path(name)
    if path is None:
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # not there yet, or broken
        return None


def store(name: str, **arrays: npt.NDArray[Any]) -> None:
    """Keep arrays as `name`, where there is a place for them."""
    path = _path(name)
    if path is None:
        return
    try:
        with files.atomic(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type, unused-ignore]
    except OSError:  # full or read-only
        pass


def _path(name: str) -> Path | None:
    cache = places.cache()
    return None if cache is None else cache / f"{name}.npz"
