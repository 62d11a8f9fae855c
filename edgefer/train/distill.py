"""Learning from trained bundles: their networks, and their answers averaged over views and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import plugins
from edgefer.bundle import Artifact, Bundle, open_bundle
from edgefer.errors import TrainError
from edgefer.train import architectures, kept, network, network_file
from edgefer.train.data import Dataset
from edgefer.train.recipe import Augmentation, Recipe

BATCH = 256


@dataclass(frozen=True)
class Teacher:
    """A trained network that another learns from."""

    net: Any
    """keras.Model, float32 [n, 48, 48, 1] in [0, 1] → logits [n, classes]."""
    order: tuple[int, ...]
    """Place of each of the student's labels among the teacher's."""
    sha256: str
    """Of its weights."""


def load_net(keras: Any, bundle: Bundle) -> Any:
    """Return the trained network of a bundle; raises TrainError when it holds no trained weights of a network."""
    artifact = weights_of(bundle)
    if artifact.companions:  # no architecture of ours, or one made narrower: its layers lie beside the weights
        layers = artifact.companions[0]
        net = network.to_keras(keras, network_file.from_json(bundle.read(layers), str(bundle.path / layers.path)))
    else:
        net = architectures.build(keras, bundle.architecture, len(bundle.labels))
    with tempfile.TemporaryDirectory(prefix="edgefer-") as folder:
        path = os.path.join(folder, "model.weights.h5")
        Path(path).write_bytes(bundle.read(artifact.file))
        try:
            net.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise TrainError(f"{bundle.path}: its weights do not fit {bundle.architecture}: {error}") from error
    return net


def load_teachers(keras: Any, paths: Sequence[str], names: Sequence[str]) -> tuple[Teacher, ...]:
    """Open the bundles that teach a student with the labels `names`.

    Raises TrainError for a bundle without a trained network or without one of the labels, BundleError for what is none.
    """
    teachers = []
    for path in paths:
        bundle = open_bundle(Path(path))
        if set(bundle.labels) != set(names):
            raise TrainError(
                f"the teacher {path} knows the labels {', '.join(bundle.labels)}, but the data has {', '.join(names)}"
            )
        net = load_net(keras, bundle)
        net.trainable = False
        order = tuple(bundle.labels.index(name) for name in names)
        teachers.append(Teacher(net, order, weights_of(bundle).file.sha256))
    return tuple(teachers)


def answers(
    teachers: Sequence[Teacher],
    train: Dataset,
    recipe: Recipe,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Return what a network is taught of each picture, float32 [n, classes]: `soft_labels`, or `with_votes`."""
    if not recipe.distill.votes:
        return soft_labels(teachers, train.images, recipe, progress)
    if train.votes is None:
        raise TrainError(
            "distill.votes is on, but the data has no votes: give FER+'s fer2013new.csv with --votes, or a .npz with"
            " `votes`"
        )
    taught = soft_labels(teachers, train.images, recipe, progress) if teachers else None
    return with_votes(train.votes, train.labels, len(train.names), taught, recipe.distill.temperature)


def with_votes(
    votes: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: int,
    taught: npt.NDArray[np.float32] | None,
    temperature: float,
) -> npt.NDArray[np.float32]:
    """Return how pictures with such votes, and such answers of teachers, are labelled: float32 [n, classes].

    A logistic regression from the shares of the votes and the logarithm of the answers to the labels, fitted on these
    pictures. People's votes are not there for a picture from a camera, so it is no network that could ship, but it can
    teach one (learning with privileged information: Lopez-Paz et al., 2016, arXiv:1511.03643). Its probabilities are
    given at `temperature`, as those of a teacher are. Raises TrainError when all pictures have the same label.
    """
    if len(np.unique(labels)) < 2:
        raise TrainError("distill.votes needs pictures of two labels or more; all have the same one")
    plugins.require("sklearn", "train", "teaching with votes")
    from sklearn.linear_model import LogisticRegression

    share = votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)
    told = [share, share**2, np.sqrt(share)]
    if taught is not None:
        told.append(np.log(taught + 1e-8))
    known = np.concatenate(told, axis=1)
    fitted = LogisticRegression(max_iter=3000).fit(known, labels)
    softened = np.zeros((len(labels), classes), np.float64)
    softened[:, fitted.classes_] = fitted.predict_proba(known) ** (1.0 / temperature)
    return np.asarray(softened / softened.sum(axis=1, keepdims=True), np.float32)


def soft_labels(
    teachers: Sequence[Teacher],
    images: npt.NDArray[np.uint8],
    recipe: Recipe,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the teachers' answers float32 [n, classes], averaged over `recipe.distill.views` random views a picture.

    They are computed once and kept in the user's cache, under a name made of all that they depend on.
    """
    from edgefer.train.augment import Augment

    settings = dataclasses.replace(recipe.augmentation, noise=0.0, erase=0.0, mixup=0.0, cutmix=0.0, off_epochs=0)
    name = _cache_name(teachers, images, recipe, settings)
    arrays = kept.load(name)
    if arrays is not None and "answers" in arrays:
        return np.asarray(arrays["answers"], np.float32)
    import keras

    augment = Augment(settings, recipe.seed)
    pictures = keras.Input((48, 48, 1), dtype="uint8")
    # A view is drawn as in training, so the layer is told that it trains; the teachers are not.
    asked = keras.Model(pictures, answer_layer(teachers, recipe.distill.temperature)(augment(pictures, training=True)))
    total = np.zeros((len(images), len(teachers[0].order)), np.float64)
    done, whole = 0, len(images) * recipe.distill.views
    for _ in range(recipe.distill.views):
        for start in range(0, len(images), BATCH * 8):
            part = images[start : start + BATCH * 8, :, :, None]
            total[start : start + len(part)] += asked.predict(part, batch_size=BATCH, verbose=0)
            done += len(part)
            if progress:
                progress(done, whole)
    result = np.asarray(total / recipe.distill.views, np.float32)
    kept.store(name, answers=result)
    return result


def answer_layer(teachers: Sequence[Teacher], temperature: float) -> Any:
    """Return a layer that gives the teachers' mean probabilities float32 [n, classes] at a temperature.

    It does not own the teachers, so their weights are neither trained nor kept with the run's.
    """
    import keras
    from keras import ops

    class Answers(keras.layers.Layer):  # type: ignore[misc, unused-ignore]
        def call(self, pictures: Any) -> Any:
            total: Any = 0.0
            for teacher in teachers:
                logits = ops.cast(teacher.net(pictures, training=False), "float32")
                total = total + ops.softmax(ops.take(logits, np.array(teacher.order), axis=1) / temperature)
            return ops.stop_gradient(total / float(len(teachers)))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], len(teachers[0].order))

    return Answers(name="teachers", dtype="float32", trainable=False)


def weights_of(bundle: Bundle) -> Artifact:
    """Return the artifact of a bundle that holds its trained weights; raises TrainError when none does."""
    for artifact in bundle.artifacts:
        if (artifact.format, artifact.precision) == ("keras", "fp32"):
            return artifact
    raise TrainError(
        f"{bundle.path} holds no trained weights of a network (a keras artifact); train one, or choose another"
    )


def _cache_name(
    teachers: Sequence[Teacher], images: npt.NDArray[np.uint8], recipe: Recipe, settings: Augmentation
) -> str:
    taught = [[t.sha256, t.order] for t in teachers], recipe.distill.views, recipe.distill.temperature
    digest = hashlib.sha256(json.dumps([*taught, dataclasses.asdict(settings), recipe.seed]).encode())
    digest.update(np.ascontiguousarray(images).data)
    return f"soft-labels-{digest.hexdigest()[:16]}"
