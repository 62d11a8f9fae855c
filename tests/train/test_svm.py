"""The support vector machine: scikit-learn's, in the bundle and in every engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bench import accuracy
from edgefer.bundle import Artifact, Bundle, describe, open_bundle, write_bundle
from edgefer.errors import DataError, ExportError, TrainError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize.export import export
from edgefer.runtime.engines import open_engine
from edgefer.train import architectures, svm
from edgefer.train.data import Dataset
from edgefer.train.recipe import Recipe, load_recipe

for package in ("sklearn", "onnx"):
    pytest.importorskip(package, reason="needs edgefer[svm]")

RECIPE = load_recipe("svm-rbf")
TRAIN = Dataset(*cartoon.dataset(40, seed=1), FER2013_LABELS)
HELD_OUT = Dataset(*cartoon.dataset(20, seed=2), FER2013_LABELS)
KINDS = {"seven": range(7), "two": (3, 4), "one missing": (0, 1, 2, 4, 5, 6)}


def only(data: Dataset, labels: Any) -> Dataset:
    return data.take(np.flatnonzero(np.isin(data.labels, list(labels))))


def plain(data: Dataset) -> tuple[Any, Any]:
    """Return scikit-learn's own machine as the document has it, and its scaler."""
    from sklearn.preprocessing import MinMaxScaler
    from sklearn.svm import SVC

    pixels = data.images.reshape(len(data), -1)
    scaler = MinMaxScaler().fit(pixels)
    return SVC(kernel="rbf").fit(scaler.transform(pixels), data.labels), scaler


def values(machine: tuple[Any, Any], data: Dataset) -> np.ndarray:
    """Return its decision values; for two classes the one-vs-rest values that more classes have."""
    classifier, scaler = machine
    found = classifier.decision_function(scaler.transform(data.images.reshape(len(data), -1)))
    if found.ndim == 2:
        return np.asarray(found)
    from sklearn.utils.multiclass import _ovr_decision_function

    return np.asarray(_ovr_decision_function(found[:, None] > 0, found[:, None], 2))


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Dataset]:
    """A bundle of each kind of data, and what it was trained on."""
    train = only(TRAIN, KINDS[request.param])
    out = tmp_path_factory.mktemp("svm") / "x.edgefer"
    return svm.svm_bundle(train, HELD_OUT, RECIPE, out, test=HELD_OUT), train


def with_openvino(bundle: Bundle, out: Path) -> Bundle:
    """Return the bundle with its ONNX model as OpenVINO reads it."""
    openvino = pytest.importorskip("openvino", reason="needs edgefer[openvino]")
    (artifact,) = bundle.artifacts
    out.mkdir()
    (out / "m.onnx").write_bytes(bundle.read(artifact.file))
    openvino.save_model(openvino.convert_model(out / "m.onnx"), out / "m.xml", compress_to_fp16=False)
    contents = {name: (out / name).read_bytes() for name in ("m.xml", "m.bin")}
    xml, weights = (describe(name, data) for name, data in contents.items())
    parts = {"labels": bundle.labels, "preprocess": bundle.preprocess, "temperature": bundle.temperature}
    artifacts = (Artifact(xml, "openvino", "fp32", (weights,)),)
    return write_bundle(Bundle(out / "o.edgefer", "svm-rbf", artifacts=artifacts, **parts), contents)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_every_engine_gives_what_scikit_learn_gives(made: tuple[Bundle, Dataset], engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine, reason=f"needs edgefer[{engine}]")
    bundle, train = made
    classes = np.unique(train.labels)
    expected = values(plain(train), HELD_OUT)
    if engine == "openvino":
        bundle = with_openvino(bundle, tmp_path / "openvino")
    found = open_engine(bundle, engine).engine.run(HELD_OUT.images[..., None]).astype(np.float64)
    assert found.shape == (len(HELD_OUT), 7)
    np.testing.assert_array_equal(found.argmax(axis=1), classes[expected.argmax(axis=1)])
    np.testing.assert_array_equal(np.delete(found, classes, axis=1), 0)
    scores = np.log(found[:, classes]) * bundle.temperature  # but for one constant a row
    centred = [part - part.mean(axis=1, keepdims=True) for part in (scores, expected)]
    np.testing.assert_allclose(*centred, rtol=1e-3, atol=1e-3)


def test_the_bundle_is_whole_and_says_how_it_was_measured(made: tuple[Bundle, Dataset]) -> None:
    bundle, train = made
    opened = open_bundle(bundle.path).verify()
    figures = opened.metrics["model.onnx"]
    assert (opened.architecture, opened.labels) == ("svm-rbf", FER2013_LABELS)
    assert opened.recipe["data"] == {**Recipe().as_dict()["data"], "split": [0.72, 0.08, 0.2], "split_seed": 111}
    assert figures["engine"].startswith("scikit-learn ")
    assert figures["train_pictures"] == len(train) >= figures["support_vectors"] > 0
    assert figures["onnx_agreement"]["top1"] == 1
    assert 0.9 <= figures["predict_agreement"] <= 1
    assert figures["test"]["accuracy"] == figures["accuracy"]


def test_figures_are_those_of_the_real_engine(made: tuple[Bundle, Dataset]) -> None:
    pytest.importorskip("onnxruntime", reason="needs edgefer[onnxruntime]")
    bundle, train = made
    found = accuracy.evaluate(bundle, HELD_OUT, open_engine(bundle, "onnxruntime"), split="validation").accuracy
    stated = bundle.metrics["model.onnx"]
    assert found.accuracy == stated["accuracy"]
    assert found.ece == pytest.approx(stated["ece"], abs=0.01)
    known = np.isin(HELD_OUT.labels, np.unique(train.labels)).mean()
    assert found.accuracy > 0.5 * known  # chance is 0.14, or 0.5 with two


def test_the_batch_is_free_and_an_answer_does_not_depend_on_its_neighbours(made: tuple[Bundle, Dataset]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs edgefer[onnxruntime]")
    bundle, _ = made
    session = onnxruntime.InferenceSession(bundle.read(bundle.artifacts[0].file))
    pictures = HELD_OUT.images[:9, :, :, None]
    together = session.run(["probabilities"], {"pixels": pictures})[0]
    alone = np.concatenate([session.run(None, {"pixels": pictures[i : i + 1]})[0] for i in range(9)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_kernel_in_one_product_gives_scikit_learns_own_machine() -> None:
    result, (classifier, _) = svm.fit_svm(TRAIN, HELD_OUT, RECIPE), plain(TRAIN)
    np.testing.assert_array_equal(result.classifier.support_, classifier.support_)
    np.testing.assert_allclose(result.classifier.dual_coef_, classifier.dual_coef_, atol=1e-6)
    np.testing.assert_allclose(
        result.scores(HELD_OUT.images), values((classifier, plain(TRAIN)[1]), HELD_OUT), atol=1e-6
    )
    assert result.gamma == pytest.approx(classifier._gamma)


def test_our_label_is_scikit_learns_with_ties_broken() -> None:
    result = svm.fit_svm(TRAIN, HELD_OUT, RECIPE)
    pixels = result.scaler.transform(HELD_OUT.images.reshape(len(HELD_OUT), -1))
    ours = result.scores(HELD_OUT.images).argmax(axis=1)
    usual = result.classifier.predict(pixels)
    assert result.predict_agreement == (ours == usual).mean()
    np.testing.assert_array_equal(result.classifier.set_params(break_ties=True).predict(pixels), ours)


def test_progress_tells_beforehand_and_the_same_data_gives_the_same_file(tmp_path: Path) -> None:
    told: list[str] = []
    two = [svm.svm_bundle(TRAIN, HELD_OUT, RECIPE, tmp_path / name, progress=told.append) for name in "ab"]
    assert told[0].startswith("an SVM shows no progress: the kernel of 280 pictures")
    assert two[0].artifacts == two[1].artifacts


def test_a_pixel_that_never_changes_weighs_what_it_weighs_in_scikit_learn() -> None:
    images = TRAIN.images.copy()
    images[:, 0] = 7
    still = Dataset(images, TRAIN.labels, TRAIN.names)
    result = svm.fit_svm(still, still, RECIPE)
    np.testing.assert_array_equal(result.machine.weights[:48], result.gamma)
    np.testing.assert_allclose(result.scores(HELD_OUT.images), values(plain(still), HELD_OUT), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.balance": "sampling"}, "balance = 'sampling'"),
        ({"class_weight_power": 1.0}, "class_weight_power"),
        ({"distill.teachers": ["x.edgefer"]}, "teachers"),
        ({"distill.votes": True}, "votes"),
        ({"recall_floor": 0.4}, "recall_floor"),
        ({"weights": "edge-xs"}, "weights"),
    ],
)
def test_what_an_svm_cannot_do_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        svm.fit_svm(TRAIN, HELD_OUT, load_recipe("svm-rbf", settings))


def test_soft_votes_and_a_single_label_are_refused() -> None:
    soft = Dataset(TRAIN.images, TRAIN.labels, TRAIN.names, targets=np.eye(7, dtype=np.float32)[TRAIN.labels])
    with pytest.raises(TrainError, match="majority"):
        svm.fit_svm(soft, HELD_OUT, RECIPE)
    with pytest.raises(TrainError, match="all training pictures are 'happy'"):
        svm.fit_svm(only(TRAIN, [3]), HELD_OUT, RECIPE)


def test_a_kernel_that_does_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm, "MEMORY_SHARE", 1e-9)
    with pytest.raises(TrainError, match="the kernel of 280 pictures takes"):
        svm.fit_svm(TRAIN, HELD_OUT, RECIPE)


def test_validation_with_another_label() -> None:
    with pytest.raises(DataError, match="bored"):
        svm.fit_svm(TRAIN, Dataset(HELD_OUT.images, HELD_OUT.labels, ("bored", *FER2013_LABELS[1:])), RECIPE)


def test_out_that_exists_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="something that is not a bundle"):
        svm.svm_bundle(TRAIN, HELD_OUT, RECIPE, tmp_path)


def test_it_is_listed_and_is_no_network() -> None:
    assert architectures.facts()["svm-rbf"].trainer == "sklearn"
    with pytest.raises(TrainError, match="svm-rbf is no network"):
        architectures.build(None, "svm-rbf", 7)


def test_an_export_says_that_it_has_no_weights(made: tuple[Bundle, Dataset]) -> None:
    for package in ("keras", "tensorflow", "tf2onnx", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason="needs edgefer[optimize,onnxruntime,openvino]")
    with pytest.raises(ExportError, match="is no network"):
        export(made[0], TRAIN, HELD_OUT)
