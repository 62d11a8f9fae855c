"""The process that converts: `python -m edgefer.optimize.convert_process FOLDER`, with what `convert` wrote there."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgefer.errors import TrainError
from edgefer.optimize import worker
from edgefer.optimize.judging import LikeFloat
from edgefer.optimize.making import Maker
from edgefer.optimize.stored import probabilities, stored_net
from edgefer.train import network as networks
from edgefer.train import network_file


def main(arguments: Sequence[str]) -> None:
    """Do the job in the directory `arguments[0]`; every failure is an exception, which ends the process with 1."""
    with worker.refusals_told():
        worker.tell(say="loading TensorFlow")
        import keras

        from edgefer.train.macs import count_macs

        folder = Path(arguments[0])
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        faces = {
            n: np.load(folder / f"{n}.npy", allow_pickle=False) for n in ("calibration", "choosing", "verification")
        }
        stored = stored_net(keras, folder)
        tuned = folder / "tuned.npz"
        net = networks.to_keras(keras, network_file.load(tuned)) if tuned.exists() else stored
        try:
            network = networks.from_keras(net)
        except TrainError as error:  # float, fp16 and the converter's own int8 work with any network
            network, why = None, str(error)
        else:
            why = ""
        int8 = network_file.load(folder / "int8.npz") if (folder / "int8.npz").exists() else None
        judge = LikeFloat(net, faces["choosing"])
        maker = Maker(net, network, why, int8, job, faces["calibration"], judge)
        out = folder / "out"
        out.mkdir()
        for made in job["artifacts"]:
            maker.write(made, folder)
        worker.tell(say="asking the trained network")
        verification = faces["verification"]
        np.save(out / "trained.npy", probabilities(stored, verification))
        np.save(out / "tuned.npy", probabilities(net, verification))
        np.save(out / "int8.npy", probabilities(maker.int8_net(), verification))
        (out / "float.tflite").write_bytes(maker.float_core())
        net.save_weights(out / "weights.weights.h5")
        if network is not None:
            network_file.save(out / "network.npz", network)
        told = {
            "choices": [asdict(c) for c in judge.choices],
            "macs": count_macs(net),
            "parameters": net.count_params(),
        }
        (out / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
