"""Exporters: one format a file, found by file name.

A file defines `SUFFIXES` (what its files end in), `NEEDS` (the packages that every conversion takes), `OWN_NEEDS`
(those that `dynamic` and the format's own quantiser take besides), `ENGINE` (the engine that checks it) and
`export(source)`, which returns the contents of its files in the order of `SUFFIXES`. The same source gives the same
bytes, whatever the process has converted before.

Quantisation happens once, in TensorFlow Lite; ONNX and OpenVINO are translated from that model with the same int8
weights, scales and zero points, so that one calibration decides what every engine computes. A format's own quantiser
takes its place where `Source.own` asks for it.
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
    """The trained keras.Model (Keras 3): float32 [n, h, w, 1] in [0, 1] → logits [n, classes], or a detector's grid."""
    precision: str
    """`fp32`, `fp16` (weights in half precision), `dynamic` (int8 weights, float activations) or `int8`."""
    calibration: Any
    """Pictures uint8 [n, h, w, 1] that int8 ranges are taken from."""
    core: bytes
    """TFLite model, float32 [1, h, w, 1] in [0, 1] → float32 probabilities, to translate from: int8 inside when the
    precision is int8 and the quantiser is shared, else float32."""
    pixels: bytes
    """The same with uint8 0–255 in, and int8 out where it is int8 without softmax."""
    folder: Path
    """An empty folder for temporary files."""
    own: bool = False
    """int8 by the format's own quantiser instead of the shared one."""
    method: str = "minmax"
    """How the own quantiser takes ranges from the calibration faces: `minmax`, `percentile` or `entropy`."""
    opset: int = 17
    """Of ONNX."""
    batch: int | None = None
    """Pictures in a batch for ONNX and OpenVINO; None = any number. TFLite always has 1."""
    softmax: bool = True
    """Whether the files give probabilities; False: what the network gives, as it is."""


def exporter_names() -> list[str]:
    """Return every format that edgefer can export to."""
    return plugins.names(__name__)


def load(name: str) -> ModuleType:
    """Return the exporter's module; raises ExportError for an unknown format."""
    return plugins.load(__name__, name, ExportError, "export format")
