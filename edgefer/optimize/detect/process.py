"""The process that converts a detector: `python -m edgefer.optimize.detect.process FOLDER`, see `convert`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.bundle import Size, size_name
from edgefer.grid import Found, decode
from edgefer.optimize import worker
from edgefer.optimize.detect import finds, scenes
from edgefer.optimize.detect.convert import Made, sizes
from edgefer.optimize.detect.judge import DetectChoice, LikeFloat
from edgefer.optimize.detect.reading import AT_ONCE, grids, read_range
from edgefer.optimize.making import Maker
from edgefer.train import network as networks
from edgefer.train.detect import network
from edgefer.train.detect.fit import LEAST_SCORE
from edgefer.train.scenes import Scene


def main(arguments: Sequence[str]) -> None:
    """Do the job in the directory `arguments[0]`; every failure is an exception, which ends the process with 1."""
    with worker.refusals_told():
        worker.tell(say="loading TensorFlow")
        import keras

        from edgefer.train.macs import count_macs

        folder = Path(arguments[0])
        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        lists = {n: scenes.read(folder / f"{n}.json") for n in ("calibration", "choosing", "verification")}
        artifacts: list[Made] = [(f, p, (height, width)) for f, p, (height, width) in job["artifacts"]]
        out = folder / "out"
        out.mkdir()
        choices: list[DetectChoice] = []
        macs: list[int] = []
        for size in sizes(artifacts):
            net = network.build(keras, job["name"], *size)
            net.load_weights(folder / "weights.weights.h5")
            judge = LikeFloat(net, size, lists["choosing"])
            pictures = scenes.pictures(lists["calibration"][: scenes.enough(size)], size)
            plain = networks.from_keras(net)
            maker = Maker(net, plain, "", None, job, pictures, judge, softmax=False, output_range=read_range)
            for made in (made for made in artifacts if made[2] == size):
                maker.write(made, folder)
            worker.tell(say=f"asking the trained network about pictures of {size_name(size)}")
            finds.write(out / f"{size_name(size)}.npz", list(_found(net, lists["verification"], size)))
            choices += judge.choices
            macs.append(count_macs(net))
        told = {"choices": [asdict(c) for c in choices], "macs": macs, "parameters": net.count_params()}
        (out / "told.json").write_text(json.dumps(told), encoding="utf-8")


def _found(net: Any, verification: Sequence[Scene], size: Size) -> Iterator[Found]:
    """Yield what the trained network finds in each scene."""
    waiting = scenes.shown(verification, size)
    while batch := list(islice(waiting, AT_ONCE)):
        for grid in grids(net, np.stack([one.pixels for one in batch])):
            yield decode(grid, LEAST_SCORE)


if __name__ == "__main__":
    main(sys.argv[1:])
