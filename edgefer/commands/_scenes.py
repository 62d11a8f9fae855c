"""Pictures of scenes that a detector is measured with, as `edgefer bench` takes them from --data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgefer.commands._shared import bar
from edgefer.errors import DataError

if TYPE_CHECKING:
    from edgefer.preprocess import Pixels


def pictures_of(data: Path, split: str | None, most: int) -> list[Pixels]:
    """Return up to `most` pictures, uint8 BGR [h, w, 3], spread evenly over a split of labelled scenes.

    What cannot be read is left out. Raises DataError when that leaves none, or as reading the labels does.
    """
    from edgefer.bench.subjects import evenly
    from edgefer.preprocess import read_picture
    from edgefer.train import scenes

    with bar("Reading labels") as progress:
        _, found = scenes.pick(scenes.read(data, progress), split)
    chosen = [found[i] for i in evenly(len(found), most)]
    pictures = [picture for scene in chosen if (picture := read_picture(scene.path)) is not None]
    if not pictures:
        raise DataError(f"none of {len(chosen):,} pictures can be read, such as {chosen[0].path}")
    return pictures
