"""The files that every training run leaves in its bundle: the best weights and the course of the run."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgefer.bundle import Artifact, describe

if TYPE_CHECKING:
    from edgefer.train.detect.fit import DetectFit
    from edgefer.train.fit import FitResult

HISTORY = "history.json"


def files_of(arch: str, result: FitResult | DetectFit) -> tuple[Artifact, dict[str, bytes]]:
    """Return the artifact of the weights of a run, and its files by name: those weights and the history."""
    weights = _weights(result.model)
    file = describe(f"{arch}.weights.h5", weights)
    history = json.dumps([asdict(report) for report in result.history], indent=1) + "\n"
    return Artifact(file, "keras", "fp32"), {file.path: weights, HISTORY: history.encode()}


def _weights(model: Any) -> bytes:
    """Return the weights of a keras.Model as a `.weights.h5` file."""
    with tempfile.TemporaryDirectory(prefix="edgefer-") as folder:
        path = os.path.join(folder, "model.weights.h5")
        model.save_weights(path)
        return Path(path).read_bytes()
