"""Run by test_backends.py: prints the losses of some steps from fixed weights, with nothing left to chance."""

import json
import sys

import numpy as np

from edgefer import cartoon
from edgefer.labels import FER2013_LABELS
from edgefer.train.backend import load_keras
from edgefer.train.data import Dataset
from edgefer.train.recipe import Augmentation, Recipe
from edgefer.train.step import build_trainer, targets_of

keras = load_keras()
faces = Dataset(*cartoon.dataset(40, seed=5), FER2013_LABELS)
off = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
recipe = Recipe(arch="edge-xs", epochs=1, batch=16, learning_rate=2e-3, warmup_epochs=0.3, ema=0.0, augmentation=off)
steps = len(faces) // recipe.batch
trainer = build_trainer(keras, recipe, 7, steps, (), False)
rng = np.random.default_rng(0)
# The backends draw different numbers from one seed, so weights are set and dropout is switched off.
for variable in trainer.net.trainable_variables:
    if "kernel" in variable.path:
        fan_in = np.prod(variable.shape[:-1])
        variable.assign(rng.normal(0, np.sqrt(2 / fan_in), variable.shape).astype(np.float32))
for layer in trainer.net.layers:
    if isinstance(layer, keras.layers.Dropout):
        layer.rate = 0.0
order = rng.permutation(len(faces))
inputs = [faces.images[order][..., None], targets_of(faces, recipe)[order]]
losses = []
for start in range(0, steps * recipe.batch, recipe.batch):
    part = [x[start : start + recipe.batch] for x in inputs]
    logs = trainer.model.fit(part, np.zeros(recipe.batch), batch_size=recipe.batch, shuffle=False, verbose=0).history
    losses.append(logs["loss"][0])
json.dump(losses, sys.stdout)
