"""A detector's model files: what they are called, and how a bundle lists them."""

from __future__ import annotations

from collections.abc import Mapping

from edgefer.bundle import Artifact, Size, describe, size_name
from edgefer.optimize import exporters

Made = tuple[str, str, Size]
"""Format, precision, and height and width of the picture."""


def file_names(name: str, made: Made) -> list[str]:
    """Return the names of an artifact's files, the main one first."""
    format, precision, size = made
    return [f"{name}.{size_name(size)}.{precision}{suffix}" for suffix in exporters.load(format).SUFFIXES]


def artifacts_of(files: Mapping[Made, Mapping[str, bytes]]) -> tuple[tuple[Artifact, ...], dict[str, bytes]]:
    """Return manifest entries and contents of what was made: file name → contents, the main file first."""
    artifacts, contents = [], dict[str, bytes]()
    for (format, precision, size), parts in files.items():
        first, *others = [describe(name, data) for name, data in parts.items()]
        artifacts.append(Artifact(first, format, precision, tuple(others), size))
        contents |= parts
    return tuple(artifacts), contents
