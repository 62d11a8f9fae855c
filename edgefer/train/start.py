"""Training that goes on from a trained bundle: its weights instead of random ones (fine-tuning, a second stage)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.bundle import SUFFIX, open_bundle, shipped_names
from edgefer.errors import TrainError
from edgefer.train import distill
from edgefer.train.recipe import Recipe
from edgefer.train.state import Arrays


@dataclass(frozen=True)
class Start:
    """The weights of a trained network that another of the same architecture starts from."""

    body: Arrays
    """Of all layers but the last."""
    last: Arrays | None
    """Of the last layer, in the order of the new labels; None where they are others, so that it starts at random."""
    bundle: Path
    sha256: str
    """Of the bundle's weights."""

    def apply(self, net: Any) -> None:
        """Assign the weights to `net`; raises TrainError when they are of other shapes."""
        body, last = _parts(net)
        if [w.shape for w in body] != [a.shape for a in self.body]:
            raise TrainError(
                f"training of {net.name} cannot start from {self.bundle}: its network is another, or was made narrower"
            )
        for variable, value in zip([*body, *last], [*self.body, *(self.last or last)], strict=True):
            variable.assign(value)


def names_bundle(weights: str) -> bool:
    """Return whether the `weights` of a recipe mean a bundle: a path to one, or the name of one that ships."""
    if weights in ("none", "imagenet"):  # whatever folders there are
        return False
    return weights.endswith(SUFFIX) or weights in shipped_names() or Path(weights).is_dir()


def of_bundle(keras: Any, recipe: Recipe, labels: tuple[str, ...]) -> Start | None:
    """Return what `recipe.weights` says to start from if that is a bundle, else None.

    Where the bundle has the same labels, its last layer is taken too. Raises TrainError or BundleError when the bundle
    holds no trained network, or when only a part of the network is to be trained.
    """
    if not names_bundle(recipe.weights):
        return None
    if recipe.unfreeze != -1:
        raise TrainError("unfreeze is for pretrained parts; with the weights of a bundle all layers are trained")
    bundle = open_bundle(recipe.weights)
    body, last = ([np.asarray(w) for w in part] for part in _parts(distill.load_net(keras, bundle)))
    known = set(bundle.labels) == set(labels)
    order = [bundle.labels.index(label) for label in labels] if known else []
    sha256 = distill.weights_of(bundle).file.sha256
    return Start(body, [w[..., order] for w in last] if known else None, bundle.path, sha256)


def _parts(net: Any) -> tuple[list[Any], list[Any]]:
    """Return the variables of all layers but the last that has any, and those of that one, which tells labels apart."""
    *body, last = (list(layer.weights) for layer in net.layers if layer.weights)
    return [w for weights in body for w in weights], last
