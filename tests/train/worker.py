"""Run by test_distribute.py, once a process: trains on drawings with nothing left to chance and prints the history.

Arguments: the state file, then `epochs=N`, `resume=1`, `die=WORKER:EPOCH:STEP` (that worker kills itself there).
"""

import json
import os
import signal
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"

from edgefer import cartoon
from edgefer.errors import EdgeferError
from edgefer.labels import FER2013_LABELS
from edgefer.train import distribute, fit
from edgefer.train.backend import load_keras
from edgefer.train.data import Dataset
from edgefer.train.recipe import Augmentation, Recipe

given = dict(text.split("=") for text in sys.argv[2:])
keras = load_keras()
# Replicas draw different numbers, so nothing may draw any.
keras.layers.Dropout.call = lambda self, inputs, training=False: inputs
recipe = Recipe(
    arch="edge-xs0",
    epochs=int(given["epochs"]),
    batch=28,
    optimizer="sgd",
    learning_rate=0.01,
    mixed_precision="off",
    augmentation=Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
)
index = distribute.task().index


def on_step(epoch: int, step: int, *_: object) -> None:
    if given.get("die") == f"{index}:{epoch}:{step}":
        os.kill(os.getpid(), signal.SIGKILL)


train = Dataset(*cartoon.dataset(20, 1), FER2013_LABELS)
validation = Dataset(*cartoon.dataset(5, 2), FER2013_LABELS)
try:
    result = fit.fit(train, validation, recipe, Path(sys.argv[1]), resume=given.get("resume") == "1", on_step=on_step)
except EdgeferError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
result.workers.from_chief([0.0])
history = [[r.loss, r.validation_loss, r.train_accuracy, r.validation_accuracy] for r in result.history]
weights = [float(abs(w).sum()) for w in result.model.get_weights()]
print(json.dumps({"index": index, "replicas": result.workers.replicas, "history": history, "weights": weights}))
