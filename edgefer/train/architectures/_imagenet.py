"""What the networks with an ImageNet backbone share: picture in three channels, weights, frozen layers.

The backbone is always built without weights and filled afterwards, so the graph is the same whatever the weights
come from: a bundle's network is built again with `none` and given its trained weights.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgefer import files
from edgefer.errors import TrainError
from edgefer.plugins import require

CAFFE_MEANS = (103.939, 116.779, 123.68)
"""What VGG19 and ResNet50 subtract from blue, green and red on the scale 0–255."""


@dataclass(frozen=True)
class Published:
    """A weights file without the classifier, as Keras publishes it."""

    url: str
    md5: str
    """That Keras itself checks; no stronger digest is published."""

    @property
    def path(self) -> Path:
        """Where Keras keeps it: `models` in $KERAS_HOME, else in ~/.keras."""
        return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models" / self.url.rpartition("/")[2]


def rgb(keras: Any, picture: Any, *, scale: float = 255.0, offset: Any = 0.0, side: int = 48) -> Any:
    """Return grey `picture` [n, 48, 48, 1] as [n, side, side, 3]: enlarged bilinearly, repeated, scale · x + offset.

    `offset` is a number or one number a channel. All of it is float32 under mixed precision too: bfloat16 keeps
    no more than 8 bits of a pixel.
    """
    layers = keras.layers
    x = picture
    if side != 48:
        x = layers.Resizing(side, side, interpolation="bilinear", dtype="float32", name="enlarge")(x)
    x = layers.Concatenate(dtype="float32", name="rgb")([x] * 3)
    return layers.Rescaling(scale, offset=offset, dtype="float32", name="pixels")(x)


def backbone(constructor: Callable[..., Any], x: Any, weights: str, published: Published) -> Any:
    """Return the model from the input behind `x` to the last feature map of a `keras.applications` network on `x`.

    `weights` is `none` (random), `imagenet` (from Keras' cache, else fetched into it) or a file: `.h5` as Keras
    publishes them, or `.weights.h5` as `save_weights` of such a network without its classifier writes.
    Raises TrainError when they cannot be had or are of another network.
    """
    file = None
    if weights != "none":
        file = _cached(published) if weights == "imagenet" else _checked(Path(weights))
    core = constructor(include_top=False, weights=None, input_tensor=x)
    if file:
        # Read by the network alone, as it was saved: .weights.h5 counts layers, and `core` has some more in front.
        plain = constructor(include_top=False, weights=None)
        _load(plain, file)
        core.set_weights(plain.get_weights())
    return core


def freeze(keras: Any, core: Any, unfreeze: int) -> None:
    """Let only the last `unfreeze` layers of `core` train; -1 = all of them.

    Batch normalisation trains with -1 only: frozen, it keeps its statistics and works as in inference.
    Raises TrainError when `core` has fewer layers.
    """
    count = len(core.layers)
    if not -1 <= unfreeze <= count:
        raise TrainError(f"unfreeze = {unfreeze} is out of range: {core.name} has {count} layers (-1 = all)")
    if unfreeze == -1:
        return
    for i, layer in enumerate(core.layers):
        layer.trainable = i >= count - unfreeze and not isinstance(layer, keras.layers.BatchNormalization)


def fetch(published: Published) -> None:
    """Download `published` to its path, wholly or not at all; raises TrainError when that fails."""
    path, url = published.path, published.url
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, files.atomic(path) as file:
            while block := answer.read(1 << 20):
                digest.update(block)
                file.write(block)
            if digest.hexdigest() != published.md5:
                raise OSError(f"md5 {digest.hexdigest()}, expected {published.md5}: cut short or changed")
    except (OSError, http.client.HTTPException) as error:
        raise TrainError(
            f"the ImageNet weights {path.name} are not in {path.parent} and could not be downloaded ({error}): "
            f"put {url} there, or use --weights FILE or --weights none"
        ) from error


def _cached(published: Published) -> Path:
    path = published.path
    if not path.exists():
        fetch(published)
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise TrainError(f"cannot read the ImageNet weights {path}: {error}") from error
    if digest.hexdigest() != published.md5:
        raise TrainError(
            f"{path} is not what Keras publishes (md5 {digest.hexdigest()}, expected {published.md5}): "
            "cut short or changed; delete it, and it is downloaded again"
        )
    return path


def _checked(path: Path) -> Path:
    """Return `path` when it may be a Keras weights file, or raise TrainError."""
    if not path.is_file():
        raise TrainError(f"there is no weights file {path}; weights is imagenet, none or a .h5 file")
    if path.suffix != ".h5" or not require("h5py", "train", "reading weights").is_hdf5(path):
        raise TrainError(f"{path} is not a Keras weights file: HDF5 called *.h5 or *.weights.h5 is expected")
    return path


def _load(plain: Any, path: Path) -> None:
    """Fill `plain` from a Keras weights file, or raise TrainError."""
    try:
        with warnings.catch_warnings():
            # Of containers that older versions did not write; they list the layers once more. A layer without its
            # weights is an error.
            warnings.filterwarnings("ignore", "Skipping nested container")
            plain.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = " ".join(str(error).split())[:200]
        raise TrainError(f"{path} does not hold the weights of {plain.name} without its classifier: {what}") from error
