"""How many faces to calibrate int8 on: agreement of the int8 network with the float one, for several choices.

    python benchmarks/calibration.py BUNDLE --data FER2013 > benchmarks/records/calibration.txt

BUNDLE holds trained weights. Agreement is counted on 4,000 training faces, without looking at labels; accuracy on the
validation split is shown beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from edgefer.bundle import open_bundle
from edgefer.optimize.calibrate import calibration_faces
from edgefer.optimize.exporters import tflite
from edgefer.runtime.engines import litert
from edgefer.train import architectures, data
from edgefer.train.backend import load_keras


def main() -> None:
    """Convert once for each choice and print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    train, validation = data.for_training(data.read(arguments.data), 1)
    net = architectures.build(load_keras(), bundle.architecture, len(bundle.labels))
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "x.weights.h5"
        weights.write_bytes(bundle.read(bundle.artifact("keras").file))
        net.load_weights(weights)
    some = np.random.default_rng(5).permutation(len(train))[:4000]

    def said(pictures: np.ndarray) -> np.ndarray:
        unit = pictures[..., None].astype(np.float32) / 255
        return np.asarray(net.predict(unit, batch_size=512, verbose=0)).argmax(axis=1)

    labels, said_train, said_validation = validation.labels, said(train.images[some]), said(validation.images)
    print(f"float: validation accuracy {(said_validation == labels).mean():.4f}")
    for count in (512, 1024, 4096):
        for seed in (0, 1, 2):
            faces = calibration_faces(train, bundle.preprocess, count, seed)
            engine = litert.Engine([tflite.quantised(net, faces, takes_pixels=True)], 1)
            same = (engine.run(train.images[some][..., None]).argmax(axis=1) == said_train).mean()
            right = (engine.run(validation.images[..., None]).argmax(axis=1) == labels).mean()
            print(f"{count:>5} faces, seed {seed}: same label {same:.4f}, validation accuracy {right:.4f}", flush=True)


if __name__ == "__main__":
    main()
