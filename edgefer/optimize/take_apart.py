"""Read a trained network as plain data, in a process of its own: `python -m edgefer.optimize.take_apart FOLDER`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgefer.errors import ExportError
from edgefer.optimize import worker
from edgefer.optimize.stored import Pictures, Probabilities, Stored, probabilities, stored_net, write_stored
from edgefer.train import network as networks
from edgefer.train import network_file
from edgefer.train.network import Network


def take_apart(
    stored: Stored, pictures: Pictures, listener: worker.Listener | None = None
) -> tuple[Network, Probabilities]:
    """Return a stored network as plain data, and what it says of `pictures` uint8 [n, s, s, 1].

    Raises ExportError that names the layer when it cannot be taken apart.
    """
    with tempfile.TemporaryDirectory(prefix="edgefer-export-") as name:
        folder = Path(name)
        try:
            write_stored(stored, folder)
            np.save(folder / "pictures.npy", pictures)
        except OSError as error:
            raise ExportError(f"cannot write to {folder}: {error.strerror}; name another place in TMPDIR") from error
        worker.run("take_apart", folder, listener)
        return network_file.load(folder / "network.npz"), np.load(folder / "said.npy", allow_pickle=False)


def main(arguments: Sequence[str]) -> None:
    """Do the job in the directory `arguments[0]`."""
    with worker.refusals_told():
        worker.tell(say="loading TensorFlow")
        import keras

        folder = Path(arguments[0])
        net = stored_net(keras, folder)
        network_file.save(folder / "network.npz", networks.from_keras(net))
        np.save(folder / "said.npy", probabilities(net, np.load(folder / "pictures.npy", allow_pickle=False)))


if __name__ == "__main__":
    main(sys.argv[1:])
