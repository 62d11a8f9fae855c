"""What a detector's model files are called."""

from __future__ import annotations

from edgefer.bundle import Size, size_name
from edgefer.optimize import exporters

Made = tuple[str, str, Size]
"""Format, precision, and height and width of the picture."""


def file_names(name: str, made: Made) -> list[str]:
    """Return the names of an artifact's files, the main one first."""
    format, precision, size = made
    return [f"{name}.{size_name(size)}.{precision}{suffix}" for suffix in exporters.load(format).SUFFIXES]
