"""A support vector machine on raw pixels, as the documents have it: fit, measure, write a bundle.

It is scikit-learn's `SVC` with its defaults (RBF kernel, C = 1, gamma = "scale") on 2,304 pixels that `MinMaxScaler`
brings to 0–1. Its label is the largest of its one-vs-rest decision values, which is scikit-learn's `break_ties=True`;
its `predict()` takes the first of the classes with as many votes instead. Nothing is pickled: the bundle holds ONNX.

Of the recipe only `arch` and `data` mean something here: there are no epochs, batches, rates or random numbers.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer import __version__, plugins
from edgefer.bundle import Artifact, Bundle, describe, write_bundle
from edgefer.errors import TrainError
from edgefer.metrics import agree, measure
from edgefer.preprocess import Preprocess
from edgefer.train.data import Dataset
from edgefer.train.recipe import Recipe
from edgefer.train.svm_onnx import Machine, pairs, to_onnx
from edgefer.train.temperature import fit_temperature, softmax
from edgefer.train.unfinished import check_out

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]
"""Called with one line on what is done now."""

ROWS = 2048
"""Of the kernel that are computed at once."""
CACHE_MB = 1000
"""What libsvm may keep of the kernel in float32."""
SECONDS_A_PAIR = 1.1e-7
"""Measured with two cores: kernel and solver, for every two pictures."""
MEMORY_SHARE = 0.8
"""Of the machine's memory that the kernel matrix may take."""
MIN_AGREEMENT = 0.99
"""Part of the validation pictures on which the ONNX model must give scikit-learn's label."""
CHUNK = 256
"""Pictures that the ONNX model is checked with at a time."""


@dataclass(frozen=True)
class SvmResult:
    """A trained machine with what it says of the validation pictures."""

    machine: Machine
    classifier: Any
    """scikit-learn's SVC, on scaled pixels."""
    scaler: Any
    """scikit-learn's MinMaxScaler, on grey levels."""
    gamma: float
    """On scaled pixels."""
    temperature: float
    """What the decision values are divided by before the softmax; fitted on validation."""
    predict_agreement: float
    """Part of the validation pictures on which our label is that of scikit-learn's `predict()`."""
    seconds: float
    """Of training."""

    def scores(self, images: npt.NDArray[np.uint8]) -> Floats:
        """Return one-vs-rest decision values [n, m], a column for each of `machine.classes`, for uint8 [n, 48, 48]."""
        values = self.classifier.decision_function(_scaled(self.scaler, images))
        if values.ndim == 1:  # two classes: one value, positive for the second
            values = np.stack([-values, values], axis=1)
            return np.asarray((values > 0) + values / (3 * (np.abs(values) + 1)), np.float64)
        return np.asarray(values, np.float64)

    def probabilities(self, scores: Floats, labels: int, temperature: float) -> Floats:
        """Return probabilities [n, labels] of `scores` [n, m]; a label that the machine does not know has 0."""
        result = np.zeros((len(scores), labels))
        result[:, self.machine.classes] = softmax(scores, temperature)
        return result


def fit_svm(train: Dataset, validation: Dataset, recipe: Recipe, progress: Progress | None = None) -> SvmResult:
    """Train on `train` and fit the temperature on `validation`.

    scikit-learn computes an RBF kernel pair by pair; here it is given the kernel of all pairs at once, from one matrix
    product in float64, which gives the same machine in a twenty-fifth of the time. `progress` is told beforehand how
    long it will take, since the solver tells nothing. Raises TrainError when there are fewer than two labels among the
    training pictures, the kernel does not fit into memory, or the recipe asks for what an SVM cannot do;
    MissingDependencyError without scikit-learn; DataError when the two sets have different labels.
    """
    say = progress or (lambda line: None)
    svm = plugins.require("sklearn.svm", "svm", "training an SVM")
    preprocessing = plugins.require("sklearn.preprocessing", "svm", "training an SVM")
    _refuse(train, recipe)
    n = len(train)
    say(
        f"an SVM shows no progress: the kernel of {n:,} pictures takes {8e-9 * n * n:.1f} GB,"
        f" training about {max(1, round(n * n * SECONDS_A_PAIR)):,} s on two cores"
    )
    start = time.monotonic()
    scaler = preprocessing.MinMaxScaler().fit(_flat(train.images))
    pixels = _scaled(scaler, train.images)
    variance = float(pixels.var())
    gamma = 1 / (pixels.shape[1] * variance) if variance else 1.0
    classifier = svm.SVC(C=1.0, kernel=_Kernel(gamma), decision_function_shape="ovr", cache_size=CACHE_MB)
    classifier.fit(pixels, train.labels)
    seconds = time.monotonic() - start
    machine = _machine(classifier, scaler, gamma, train)
    say(f"trained in {seconds:.0f} s: {len(machine.support):,} of {n:,} pictures are support vectors")
    result = SvmResult(machine, classifier, scaler, gamma, 1.0, 1.0, seconds)
    held_out = validation.ordered(train.names)
    scores = result.scores(held_out.images)
    same = machine.classes[scores.argmax(axis=1)] == classifier.predict(_scaled(scaler, held_out.images))
    temperature = _temperature(scores, held_out.labels, machine.classes)
    return dataclasses.replace(result, temperature=temperature, predict_agreement=float(same.mean()))


def svm_bundle(
    train: Dataset,
    validation: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    test: Dataset | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Train, and write the bundle `out` with an fp32 ONNX model, which onnxruntime runs at once.

    The figures are scikit-learn's in float64. The written model is run on the validation pictures with ONNX's reference
    implementation; how it agrees stands in the metrics, and a model that does not agree is refused. `test` is measured
    once. Raises TrainError as `fit_svm` does and when `out` exists; BundleError when the bundle cannot be written.
    """
    check_out(out, resume=False)
    say = progress or (lambda line: None)
    plugins.require("onnx", "svm", "writing an SVM")
    result = fit_svm(train, validation, recipe, progress)
    k = len(train.names)
    model = to_onnx(result.machine, k)
    file = describe("model.onnx", model)
    held_out = validation.ordered(train.names)
    scores = result.scores(held_out.images)
    say(f"checking the ONNX model, {len(model) / 1e6:.0f} MB, on {len(held_out):,} pictures")
    agreement = agree(result.probabilities(scores, k, 1.0), _run_reference(model, held_out.images))
    if agreement.top1 < MIN_AGREEMENT:
        raise TrainError(
            f"the ONNX model gives scikit-learn's label on only {100 * agreement.top1:.1f} % of the validation"
            " pictures; nothing was written; please report this"
        )
    said = result.probabilities(scores, k, result.temperature)
    figures = measure(said, held_out.labels, held_out.names).as_dict() | {
        "split": "validation",
        "engine": f"scikit-learn {metadata.version('scikit-learn')}",
        "train_seconds": round(result.seconds, 1),
        "train_pictures": len(train),
        "support_vectors": len(result.machine.support),
        "gamma": result.gamma,
        "predict_agreement": result.predict_agreement,
        "onnx_agreement": {"top1": agreement.top1, "max_difference": agreement.max_difference},
    }
    if test is not None:
        others = test.ordered(train.names)
        said = result.probabilities(result.scores(others.images), k, result.temperature)
        figures["test"] = measure(said, others.labels, others.names).as_dict()
    bundle = Bundle(
        path=out,
        architecture=recipe.arch,
        labels=train.names,
        preprocess=Preprocess(),
        artifacts=(Artifact(file, "onnx", "fp32"),),
        metrics={file.path: figures},
        recipe=recipe.as_dict(),
        versions={"edgefer": __version__, **plugins.versions(("scikit-learn", "onnx", "numpy"))},
        temperature=result.temperature,
    )
    return write_bundle(bundle, {file.path: model})


@dataclass(frozen=True)
class _Kernel:
    """The RBF kernel of all rows of `one` with all rows of `other`, float64."""

    gamma: float

    def __call__(self, one: Floats, other: Floats) -> Floats:
        kernel = np.empty((len(one), len(other)))
        squares = self.gamma * np.einsum("ij,ij->i", other, other)
        # By blocks: for a matrix and its own transpose NumPy takes a routine of OpenBLAS that crashed at 27,657 rows.
        for start in range(0, len(one), ROWS):
            rows = one[start : start + ROWS]
            block = np.matmul(rows, other.T, out=kernel[start : start + ROWS])
            block *= 2 * self.gamma
            block -= self.gamma * np.einsum("ij,ij->i", rows, rows)[:, None]
            block -= squares
            np.exp(block, out=block)
        return kernel


def _refuse(train: Dataset, recipe: Recipe) -> None:
    """Refuse at once what would fail after minutes, and what would be left out silently."""
    if len(set(train.labels.tolist())) < 2:
        raise TrainError(
            f"all training pictures are {train.names[train.labels[0]]!r}; an SVM needs pictures of two labels or more"
        )
    for name, given in (
        ("data.votes = 'soft' (take 'majority')", train.targets is not None),
        ("data.balance = 'sampling' (take 'resample')", recipe.data.balance == "sampling"),
        ("class_weight_power (leave it 0)", recipe.class_weight_power != 0),
        ("recall_floor (leave it 0)", recipe.recall_floor != 0),
        ("weights (leave them none)", recipe.weights != "none"),
        ("distill (leave teachers and votes out)", recipe.distill.on),
    ):
        if given:
            raise TrainError(f"{recipe.arch} cannot be trained with {name}")
    needed, there = 8 * len(train) ** 2, _memory()
    if there is not None and needed > MEMORY_SHARE * there:
        raise TrainError(
            f"the kernel of {len(train):,} pictures takes {needed / 1e9:.1f} GB, and this machine has"
            f" {there / 1e9:.1f} GB; train on fewer pictures"
        )


def _memory() -> int | None:
    """Return the machine's memory in bytes, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _flat(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return images.reshape(len(images), -1)


def _scaled(scaler: Any, images: npt.NDArray[np.uint8]) -> Floats:
    return np.asarray(scaler.transform(_flat(images)), np.float64)


def _machine(classifier: Any, scaler: Any, gamma: float, train: Dataset) -> Machine:
    """Return the plain arrays of a fitted SVC.

    It keeps a support vector's coefficients against each other class in one column of `dual_coef_`: row j - 1 against
    class j where its own class stands before j, row j where it stands after. With two classes it turns all signs.
    """
    classes = np.asarray(classifier.classes_, np.int64)
    owner = np.searchsorted(classes, train.labels[classifier.support_])
    dual, intercepts = np.asarray(classifier.dual_coef_), np.asarray(classifier.intercept_)
    if len(classes) == 2:
        dual, intercepts = -dual, -intercepts
    coefficients = np.zeros((len(owner), len(pairs(len(classes)))))
    for column, (one, other) in enumerate(pairs(len(classes))):
        for mine, row in ((one, other - 1), (other, one)):
            coefficients[owner == mine, column] = dual[row, owner == mine]
    weights = gamma * np.asarray(scaler.scale_, np.float64) ** 2
    return Machine(_flat(train.images)[classifier.support_], weights, coefficients, intercepts, classes)


def _temperature(scores: Floats, labels: npt.NDArray[np.int64], classes: npt.NDArray[np.int64]) -> float:
    """Return the temperature from the pictures whose label the machine knows; 1 when there is none."""
    known = np.isin(labels, classes)
    if not known.any():
        return 1.0
    return fit_temperature(scores[known], np.searchsorted(classes, labels[known]))


def _run_reference(model: bytes, images: npt.NDArray[np.uint8]) -> Floats:
    """Return the probabilities [n, k] of an ONNX model, computed with NumPy operator by operator."""
    onnx = plugins.require("onnx", "svm", "checking an SVM")
    reference = plugins.require("onnx.reference", "svm", "checking an SVM")
    evaluator = reference.ReferenceEvaluator(onnx.load_from_string(model))
    parts = [
        evaluator.run(None, {"pixels": images[i : i + CHUNK, :, :, None]})[0] for i in range(0, len(images), CHUNK)
    ]
    return np.concatenate(parts).astype(np.float64)
