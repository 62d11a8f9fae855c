"""What a bundle stores: its trained network, handed over to the processes that build and ask it, and model files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.bundle import Artifact, describe
from edgefer.train import network as networks
from edgefer.train import network_file

Pictures = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stored:
    """A trained network as a bundle holds it."""

    architecture: str
    classes: int
    weights: bytes
    """A Keras `.weights.h5` file: weights only, no code."""
    layers: bytes | None = None
    """JSON of the layers where the architecture's name does not say them."""


def write_stored(stored: Stored, folder: Path) -> None:
    """Write what `stored_net` reads; raises OSError."""
    (folder / "weights.weights.h5").write_bytes(stored.weights)
    if stored.layers is not None:
        (folder / "layers.json").write_bytes(stored.layers)
    (folder / "stored.json").write_text(json.dumps({"architecture": stored.architecture, "classes": stored.classes}))


def stored_net(keras: Any, folder: Path) -> Any:
    """Return the keras.Model that `write_stored` wrote; raises TrainError, ValueError or OSError."""
    from edgefer.train import architectures

    job = json.loads((folder / "stored.json").read_text())
    if (folder / "layers.json").exists():
        net = networks.to_keras(keras, network_file.from_json((folder / "layers.json").read_bytes(), "the network"))
    else:
        net = architectures.build(keras, job["architecture"], job["classes"])
    net.load_weights(folder / "weights.weights.h5")
    return net


def probabilities(net: Any, pictures: Pictures) -> Probabilities:
    """Return softmax of the logits, computed in float64, for pictures uint8 [n, s, s, 1]."""
    batches = [pictures[i : i + 256].astype(np.float32) / np.float32(255) for i in range(0, len(pictures), 256)]
    logits = np.concatenate([np.asarray(net(batch, training=False), np.float64) for batch in batches])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def artifacts_of(made: Mapping[Any, Mapping[str, bytes]]) -> tuple[tuple[Artifact, ...], dict[str, bytes]]:
    """Return manifest entries and contents of what was made: file name → contents, the main file first.

    It is known by (format, precision), or of a detector by (format, precision, size).
    """
    artifacts, contents = [], dict[str, bytes]()
    for (format, precision, *size), files in made.items():
        first, *others = [describe(name, data) for name, data in files.items()]
        artifacts.append(Artifact(first, format, precision, tuple(others), *size))
        contents |= files
    return tuple(artifacts), contents
