"""Exporters: one format a file, found by file name.

A file defines `SUFFIXES` (what its files end in), `NEEDS` (the packages that the conversion takes), `ENGINE` (the
engine that checks it) and `export(source)`, which returns the contents of its files in the order of `SUFFIXES`.

Quantisation happens once, in TensorFlow Lite; ONNX and OpenVINO are translated from that model with the same int8
weights, scales and zero points, so that one calibration decides what every engine computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgefer import plugins
from edgefer.errors import ExportError


@dataclass(frozen=True)
class Source:
    """What an exporter starts from."""

    net: Any
    """The trained keras.Model: float32 [n, 48, 48, 1] in [0, 1] → logits [n, classes]."""
    precision: str
    """`fp32` or `int8`."""
    calibration: Any
    """Faces uint8 [n, 48, 48, 1] that int8 ranges are taken from."""
    core: bytes
    """TFLite model of that precision, float32 [1, 48, 48, 1] in [0, 1] → float32 probabilities: to translate from."""
    folder: Path
    """An empty folder for temporary files."""


def exporter_names() -> list[str]:
    """Return every format that edgefer can export to."""
    return plugins.names(__name__)


def load(name: str) -> ModuleType:
    """Return the exporter's module; raises ExportError for an unknown format."""
    return plugins.load(__name__, name, ExportError, "export format")
