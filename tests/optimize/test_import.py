"""Import, run for real: tiny models of each format, opened in their engines, against what they give by themselves."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgefer import cartoon
from edgefer.bundle import Bundle, open_bundle
from edgefer.commands.evaluate import command as evaluate
from edgefer.commands.import_ import command
from edgefer.errors import ExportError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize import importers
from edgefer.optimize.importers import _doubts
from edgefer.optimize.importing import parse_labels
from edgefer.preprocess import Preprocess
from edgefer.runtime.engines import open_engine

onnx = pytest.importorskip("onnx", reason="needs edgefer[optimize]")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs edgefer[onnxruntime]")
pytest.importorskip("openvino", reason="needs edgefer[openvino]")
pytestmark = pytest.mark.timeout(300)

ALPHABETICAL = sorted(FER2013_LABELS)
FLOAT = 1
Probabilities = Any


def faces(size: int) -> Any:
    """Drawn faces uint8 [14, size, size, 1]."""
    return np.stack([Preprocess(size=size)(image) for image in cartoon.dataset(2, 5)[0]])


def softmax(values: Any) -> Probabilities:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def answers(bundle: Bundle, engine: str, pictures: Any) -> Probabilities:
    loaded = open_engine(bundle, engine)
    try:
        return loaded.engine.run(pictures)
    finally:
        loaded.engine.close()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def imported(*arguments: object, out: Path) -> dict[str, Any]:
    """Import through the command line; return what it printed."""
    done = run(*arguments, "--out", out, "--json")
    assert done.exit_code == 0, (done.stderr, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    assert open_bundle(out).verify().path == Path(found["bundle"])
    return found


def refused(*arguments: object, out: Path) -> str:
    """Import through the command line; return the error, after a look that nothing was written."""
    before = sorted(out.parent.iterdir())
    done = run(*arguments, "--out", out)
    assert isinstance(done.exception, ExportError), (done.output, done.exception)
    assert sorted(out.parent.iterdir()) == before
    assert "\n" not in str(done.exception)
    return str(done.exception)


def graph(
    nodes: Sequence[Any], shape: Sequence[Any], constants: dict[str, Any], outputs: Sequence[Any] = (("y", 7),)
) -> Any:
    """An ONNX model of opset 13: `x` of `shape` → float32 [batch, n] for each of `outputs`."""
    helper = onnx.helper
    given = [helper.make_tensor_value_info(name, FLOAT, [shape[0], n]) for name, n in outputs]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", FLOAT, list(shape))]
    whole = helper.make_graph(list(nodes), "tiny-net", inputs, given, weights)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def small_cnn(shape: Sequence[Any], ends_in_softmax: bool, fixed_reshape: bool) -> Any:
    """Convolution, ReLU, dense layer, NCHW."""
    node, rng = onnx.helper.make_node, np.random.default_rng(1)
    side = (shape[2] - 3) // 2 + 1
    constants = {
        "kernel": rng.normal(0, 0.3, (4, shape[1], 3, 3)).astype(np.float32),
        "dense": rng.normal(0, 0.1, (4 * side * side, 7)).astype(np.float32),
    }
    nodes = [node("Conv", ["x", "kernel"], ["a"], strides=[2, 2]), node("Relu", ["a"], ["b"])]
    if fixed_reshape:
        constants["target"] = np.array([shape[0], -1])
        nodes.append(node("Reshape", ["b", "target"], ["flat"]))
    else:
        nodes.append(node("Flatten", ["b"], ["flat"]))
    nodes.append(node("MatMul", ["flat", "dense"], ["z" if ends_in_softmax else "y"]))
    if ends_in_softmax:
        nodes.append(node("Softmax", ["z"], ["y"], axis=1))
    return graph(nodes, shape, constants)


def by_hand(model: Any, pictures: Any, mean: Any, std: Any) -> Any:
    """What the model itself gives, preprocessed here: NCHW, grey repeated."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    channels = session.get_inputs()[0].shape[1]
    planes = pictures.transpose(0, 3, 1, 2).astype(np.float32).repeat(channels, axis=1)
    shape = (1, -1, 1, 1)
    planes = (planes - np.float32(mean).reshape(shape)) / np.float32(std).reshape(shape)
    return np.concatenate([session.run(None, {"x": planes[i : i + 1]})[0] for i in range(len(planes))])


@pytest.mark.parametrize(
    ("text", "pixel", "values"),
    [
        ("unit", 51, [0.2]),
        ("signed", 255, [1.0]),
        ("raw", 7, [7.0]),
        ("100,50", 200, [2.0]),
        ("10,20,30,1,2,4", 50, [40.0, 15.0, 5.0]),
    ],
)
def test_scalings(text: str, pixel: int, values: list[float]) -> None:
    picture = np.full((1, 8, 8, 1), pixel, np.uint8)
    scaled = importers.parse_scaling(text).apply(picture, len(values))
    assert scaled.shape == (1, 8, 8, len(values))
    np.testing.assert_allclose(scaled[0, 3, 3], values, rtol=1e-6)


@pytest.mark.parametrize("text", ["", "0-1", "1", "1,2,3", "0,0", "0,-1", "nan,1", "inf,1", "1,2,3,4"])
def test_unknown_scalings_are_refused(text: str) -> None:
    with pytest.raises(ExportError, match="--preprocess"):
        importers.parse_scaling(text)


def test_labels() -> None:
    assert parse_labels("fer2013") == FER2013_LABELS
    assert list(parse_labels("Alphabetical")) == ALPHABETICAL
    assert parse_labels("Happiness, sad,other") == ("happy", "sad", "other")
    for text in ("", "happy", "happy,,sad", "happy,sad,happiness"):
        with pytest.raises(ExportError, match="--labels"):
            parse_labels(text)


def test_shapes() -> None:
    assert importers.picture_shape([None, 48, 48, 1]) == ("NHWC", 48, 1)
    assert importers.picture_shape([1, 3, 224, 224]) == ("NCHW", 224, 3)
    for shape in ([1, 48, 48], [1, 48, 64, 1], [1, 48, 48, 4], [1, None, None, 3], [1, 513, 513, 1], [1, 7, 7, 1]):
        with pytest.raises(ExportError, match="the model"):
            importers.picture_shape(shape)


def test_what_the_output_is() -> None:
    rows = np.random.default_rng(0).normal(0, 3, (5, 7)).astype(np.float32)
    assert importers.decide_output(rows, "auto") == ("logits", "")
    assert importers.decide_output(softmax(rows), "auto") == ("probabilities", "")
    output, warning = importers.decide_output(1 / (1 + np.exp(-rows)), "auto")
    assert output == "logits"
    assert "sigmoid" in warning
    with pytest.raises(ExportError, match="contradicts"):
        importers.decide_output(rows, "probabilities")
    with pytest.raises(ExportError, match="contradicts"):
        importers.decide_output(softmax(rows), "logits")
    with pytest.raises(ExportError, match="not numbers"):
        importers.decide_output(rows * np.float32(np.nan), "auto")


def test_the_best_order_is_found() -> None:
    names = tuple("abcde")
    order = tuple("cadbe")
    labels = np.arange(50) % 5
    outputs = np.array([order.index(names[label]) for label in labels])
    outputs[:5] = 0
    accuracy, found = _doubts.best_order(np.eye(5, dtype=np.float32)[outputs], labels, names)
    assert found == order
    assert accuracy == (outputs == [order.index(names[label]) for label in labels]).mean()
    assert _doubts.best_order(np.eye(5, dtype=np.float32)[labels], labels, names) == (1.0, names)
    nothing = np.tile(np.eye(5, dtype=np.float32)[:1], (50, 1))
    assert _doubts.best_order(nothing, labels, names) == (0.2, names)


@pytest.mark.parametrize(
    ("shape", "ends_in_softmax", "fixed_reshape", "how", "mean", "std"),
    [
        (("n", 3, 32, 32), False, False, "123.675,116.28,103.53,58.395,57.12,57.375",
         (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        ((1, 1, 40, 40), True, True, "signed", 127.5, 127.5),
    ],
)  # fmt: skip
def test_onnx(
    tmp_path: Path,
    shape: Sequence[Any],
    ends_in_softmax: bool,
    fixed_reshape: bool,
    how: str,
    mean: Any,
    std: Any,
) -> None:
    model = small_cnn(shape, ends_in_softmax, fixed_reshape)
    onnx.save(model, tmp_path / "it.onnx")
    out = tmp_path / "it.edgefer"
    told = imported(tmp_path / "it.onnx", "--labels", "fer2013", "--preprocess", how, out=out)
    assert told["output"] == ("probabilities" if ends_in_softmax else "logits")
    assert (told["found"]["layout"], told["found"]["channels"]) == ("NCHW", shape[1])
    assert told["warnings"] == told["notes"] == []
    bundle = open_bundle(out)
    assert bundle.preprocess.size == shape[2]
    assert (bundle.architecture, bundle.labels) == ("tiny-net", FER2013_LABELS)
    assert bundle.recipe["imported"]["file"] == "it.onnx"
    pictures = faces(shape[2])
    expected = by_hand(model, pictures, mean, std)
    expected = expected if ends_in_softmax else softmax(expected)
    assert expected.max() > 0.3
    for engine in ("onnxruntime", "openvino"):
        np.testing.assert_allclose(answers(bundle, engine, pictures), expected, atol=1e-4)
    written = onnx.load_from_string(bundle.read(bundle.artifact("onnx", "fp32").file))
    assert written.opset_import[0].version == 13
    session = onnxruntime.InferenceSession(written.SerializeToString())
    assert (session.get_inputs()[0].type, session.get_inputs()[0].shape[0]) == ("tensor(uint8)", "n")
    together = session.run(None, {session.get_inputs()[0].name: pictures})[0]
    np.testing.assert_allclose(together, expected, atol=1e-4)


def test_a_batch_that_cannot_be_freed_stays(tmp_path: Path) -> None:
    """The largest value of the batch is taken: answers would depend on the neighbours, so the batch of 1 stays."""
    node = onnx.helper.make_node
    dense = np.random.default_rng(0).normal(0, 0.1, (256, 7)).astype(np.float32)
    nodes = [
        node("Flatten", ["x"], ["a"]),
        node("MatMul", ["a", "dense"], ["b"]),
        node("ReduceMax", ["b"], ["most"], axes=[0]),
        node("Sub", ["most", "b"], ["c"]),
        node("Add", ["c", "b"], ["y"]),
    ]
    onnx.save(graph(nodes, (1, 16, 16, 1), {"dense": dense}), tmp_path / "it.onnx")
    opened = importers.for_file(tmp_path / "it.onnx").open_model(tmp_path / "it.onnx")
    assert opened.found.batch == 1
    assert opened.found.layout == "NHWC"


def stripes(tmp_path: Path) -> tuple[Path, Path]:
    """A model that finds the brightest of seven stripes, and labelled pictures of such; pixels beyond 1 look alike."""
    node = onnx.helper.make_node
    which = np.zeros((48 * 48, 7), np.float32)
    rows = np.arange(48) * 7 // 48
    which[np.arange(48 * 48), rows.repeat(48)] = 0.05
    nodes = [
        node("Clip", ["x", "low", "high"], ["a"]),
        node("Flatten", ["a"], ["b"]),
        node("MatMul", ["b", "which"], ["y"]),
    ]
    limits = {"low": np.array(0, np.float32), "high": np.array(1, np.float32)}
    onnx.save(graph(nodes, ("n", 48, 48, 1), {"which": which, **limits}), tmp_path / "stripes.onnx")
    labels = np.arange(70) % 7
    images = np.random.default_rng(0).integers(60, 100, (70, 48, 48), dtype=np.uint8)
    images[rows[None, :] == labels[:, None]] += 100
    np.savez(tmp_path / "stripes.npz", images=images, labels=labels)
    return tmp_path / "stripes.onnx", tmp_path / "stripes.npz"


def test_data_measures_and_shows_wrong_labels_and_pixels(tmp_path: Path) -> None:
    model, data = stripes(tmp_path)
    right = imported(model, "--labels", "fer2013", "--preprocess", "unit", "--data", data, out=tmp_path / "a.edgefer")
    assert right["warnings"] == []
    [figures] = [right["metrics"][path] for path in right["metrics"] if path.endswith(".onnx")]
    assert (figures["accuracy"], figures["n"], figures["engine"]) == (1.0, 70, "onnxruntime")

    names = ",".join(ALPHABETICAL)
    wrong = imported(model, "--labels", names, "--preprocess", "unit", "--data", data, out=tmp_path / "b.edgefer")
    [warning] = wrong["warnings"]
    assert "--labels angry,disgust,fear,happy,sad,surprise,neutral (--labels fer2013)" in warning

    bright = imported(model, "--labels", "fer2013", "--preprocess", "raw", "--data", data, out=tmp_path / "c.edgefer")
    assert "near chance" in bright["warnings"][0]
    assert any("--preprocess unit 1.000" in warning for warning in bright["warnings"])


def test_an_imported_bundle_is_evaluated_like_any_other(tmp_path: Path) -> None:
    model, data = stripes(tmp_path)
    imported(model, "--labels", "fer2013", "--preprocess", "unit", out=tmp_path / "a.edgefer")
    done = CliRunner().invoke(
        evaluate, [str(tmp_path / "a.edgefer"), "--data", str(data), "--engine", "openvino", "--json"]
    )
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["accuracy"] == 1.0


def test_a_person_is_told_what_was_found(tmp_path: Path) -> None:
    model, _ = stripes(tmp_path)
    done = run(model, "--labels", "fer2013", "--preprocess", "unit", "--out", tmp_path / "it.edgefer")
    assert "onnx: takes float32 [n, 48, 48, 1] (NHWC), gives 7 values" in done.stderr
    assert "taken as logits" in done.stderr
    assert "imported.fp32.onnx" in done.stdout
    assert "edgefer run" in done.stderr


def test_files_that_are_no_models(tmp_path: Path) -> None:
    model, _ = stripes(tmp_path)
    out = tmp_path / "out.edgefer"
    how = ("--labels", "fer2013", "--preprocess", "unit")
    (tmp_path / "empty.onnx").touch()
    assert "is empty" in refused(tmp_path / "empty.onnx", *how, out=out)
    assert "a directory" in refused(tmp_path, *how, out=out)
    assert "not there" in refused(tmp_path / "none.onnx", *how, out=out)
    shutil.copy(model, tmp_path / "it.pt")
    assert ".pt is not read; export the model to" in refused(tmp_path / "it.pt", *how, out=out)
    (tmp_path / "cut.onnx").write_bytes(model.read_bytes()[:2000])
    assert "not an ONNX model" in refused(tmp_path / "cut.onnx", *how, out=out)
    shutil.copy(model, tmp_path / "it.tflite")
    assert "not a TensorFlow Lite model" in refused(tmp_path / "it.tflite", *how, out=out)


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    model, _ = stripes(tmp_path)
    out = tmp_path / "out.edgefer"
    few = refused(model, "--labels", "happy,sad", "--preprocess", "unit", out=out)
    assert "gives 7 values, but --labels names 2" in few
    assert "takes float32: say how" in refused(model, "--labels", "fer2013", out=out)
    colours = refused(model, "--labels", "fer2013", "--preprocess", "1,2,3,4,5,6", out=out)
    assert "takes one" in colours
    wrong = refused(model, "--labels", "fer2013", "--preprocess", "unit", "--output", "probabilities", out=out)
    assert "contradicts" in wrong
    assert run(model, "--preprocess", "unit", "--out", out).exit_code == 2  # no labels
    out.mkdir()
    assert "exists" in str(run(model, "--labels", "fer2013", "--preprocess", "unit", "--out", out).exception)


def opened(model: Any, path: Path) -> None:
    path.write_bytes(model.SerializeToString())
    importers.for_file(path).open_model(path)


def test_onnx_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    outside = small_cnn(("n", 1, 16, 16), False, False)
    entry = outside.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    with pytest.raises(ExportError, match="'kernel' lie in another file"):
        opened(outside, tmp_path / "it.onnx")
    custom = small_cnn(("n", 1, 16, 16), False, False)
    custom.graph.node[1].domain = "com.example"
    with pytest.raises(ExportError, match=r"'Relu' is of the domain 'com\.example'"):
        opened(custom, tmp_path / "it.onnx")
    hidden = small_cnn(("n", 1, 16, 16), False, False)
    branch = onnx.helper.make_graph([node("Evil", [], ["q"], domain="evil")], "b", [], [])
    hidden.graph.node.append(node("If", ["x"], ["q"], then_branch=branch, else_branch=branch))
    with pytest.raises(ExportError, match="'Evil'"):
        opened(hidden, tmp_path / "it.onnx")


def test_onnx_with_other_inputs_or_outputs_is_refused(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    dense = {"w": np.zeros((256, 7), np.float32)}
    nodes = [node("Flatten", ["x"], ["a"]), node("MatMul", ["a", "w"], ["y"]), node("Relu", ["y"], ["z"])]
    with pytest.raises(ExportError, match=r"found 1 \(x\) and 2 \(y, z\)"):
        opened(graph(nodes, ("n", 1, 16, 16), dense, (("y", 7), ("z", 7))), tmp_path / "it.onnx")
    with pytest.raises(ExportError, match=r"square pictures .* \[\?, 1, 16, 20\]"):
        opened(graph(nodes[:2], ("n", 1, 16, 20), dense), tmp_path / "it.onnx")
    old = graph(nodes[:2], ("n", 1, 16, 16), dense)
    old.opset_import[0].version = 5
    with pytest.raises(ExportError, match="opset 5"):
        opened(old, tmp_path / "it.onnx")


def test_a_reader_that_crashes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = stripes(tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "onnx.py").write_text(f"import os; os.kill(os.getpid(), {int(signal.SIGSEGV)})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    message = refused(model, "--labels", "fer2013", "--preprocess", "unit", out=tmp_path / "out.edgefer")
    assert "SIGSEGV" in message


def test_tflite_that_takes_pixels_is_kept(tmp_path: Path, tiny_bundle: Bundle) -> None:
    own = tiny_bundle.artifact("tflite", "int8")
    (tmp_path / "it.tflite").write_bytes(tiny_bundle.read(own.file))
    labels = ",".join(tiny_bundle.labels)
    told = imported(tmp_path / "it.tflite", "--labels", labels, "--preprocess", "unit", out=tmp_path / "it.edgefer")
    bundle = open_bundle(tmp_path / "it.edgefer")
    [artifact] = bundle.artifacts
    assert (artifact.format, artifact.precision) == ("tflite", "int8")
    assert artifact.file.sha256 == own.file.sha256
    assert told["output"] == "probabilities"
    other = imported(tmp_path / "it.tflite", "--labels", labels, out=tmp_path / "other.edgefer")
    assert other["notes"] == ["the file says that pixels 0–255 mean 0 to 1"]


needs_tensorflow = pytest.mark.skipif(
    not all(importers.plugins.installed(m) for m in ("tensorflow", "tf2onnx", "keras")),
    reason="needs edgefer[optimize]",
)


@pytest.fixture(scope="module")
def colour_net() -> Any:
    """Keras: 32 × 32, three channels, a model inside of a model, augmentation, softmax."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(6, 3, strides=2, activation="relu", name="conv"),
            layers.MaxPooling2D(),
        ],
        name="backbone",
    )
    inputs = keras.Input((32, 32, 3))
    values = inner(layers.RandomFlip()(inputs))
    values = layers.BatchNormalization()(layers.Conv2D(8, 3, name="conv")(values))
    values = layers.Flatten()(layers.Dropout(0.3)(values))
    values = layers.Dense(7, activation="softmax", kernel_initializer="glorot_normal", kernel_regularizer="l2")(values)
    net = keras.Model(inputs, values, name="colours")
    named = next(layer.name for layer in net.layers if layer.name.startswith("batch_normalization"))
    net.get_layer(named).set_weights([np.linspace(0.5, 2, 8, dtype=np.float32) for _ in range(4)])
    net.compile("adam", "categorical_crossentropy")
    return net


def signed_colours(pictures: Any) -> Any:
    return pictures.repeat(3, axis=3).astype(np.float32) / np.float32(127.5) - 1


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras(tmp_path: Path, colour_net: Any, suffix: str) -> None:
    import keras

    from edgefer.train.distill import load_net

    file = tmp_path / f"it{suffix}"
    colour_net.save(file)
    _, data = stripes(tmp_path)
    out = tmp_path / "it.edgefer"
    told = imported(file, "--labels", "fer2013", "--preprocess", "signed", "--data", data, out=out)
    bundle = open_bundle(out)
    [artifact] = bundle.artifacts
    assert (artifact.format, artifact.path, bundle.architecture) == ("keras", "imported.weights.h5", "colours")
    assert [c.path for c in artifact.companions] == ["imported.network.json"]
    assert told["metrics"][artifact.path]["n"] == 70
    pictures = faces(32)
    expected = np.asarray(colour_net(signed_colours(pictures), training=False))
    logits = np.asarray(load_net(keras, bundle)(pictures.astype(np.float32) / 255, training=False))
    assert np.abs(logits.sum(axis=1) - 1).max() > 0.1  # no softmax is left
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-4)


@needs_tensorflow
@pytest.mark.slow
def test_tflite_that_takes_floats_is_translated(tmp_path: Path, colour_net: Any) -> None:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((1, 32, 32, 3), tf.float32)
    concrete = tf.function(lambda x: colour_net(x, training=False)).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(concrete)])
    (tmp_path / "it.tflite").write_bytes(converter.convert())
    out = tmp_path / "it.edgefer"
    told = imported(tmp_path / "it.tflite", "--labels", "alphabetical", "--preprocess", "signed", out=out)
    assert told["notes"][0].startswith("no tflite artifact: the model takes float32, not uint8")
    bundle = open_bundle(out)
    assert {a.format for a in bundle.artifacts} == {"onnx", "openvino"}
    pictures = faces(32)
    expected = np.asarray(colour_net(signed_colours(pictures), training=False))
    for engine in ("onnxruntime", "openvino"):
        np.testing.assert_allclose(answers(bundle, engine, pictures), expected, atol=1e-4)


@needs_tensorflow
@pytest.mark.slow
def test_tflite_whose_steps_do_not_hold_pixels_is_translated(tmp_path: Path, tiny_bundle: Bundle) -> None:
    """Quantised for 0–1, but told that it wants -1–1: the quantisation is done in the graph, and the file not kept."""
    (tmp_path / "it.tflite").write_bytes(tiny_bundle.read(tiny_bundle.artifact("tflite", "int8").file))
    labels, out = ",".join(tiny_bundle.labels), tmp_path / "it.edgefer"
    told = imported(tmp_path / "it.tflite", "--labels", labels, "--preprocess", "signed", out=out)
    assert "does not hold pixels as they are" in told["notes"][0]
    pictures = faces(48)
    bytes_in = np.clip(np.rint((pictures / 127.5 - 1) * 255), 0, 255).astype(np.uint8)
    expected = answers(tiny_bundle, "litert", bytes_in) ** tiny_bundle.temperature
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.abs(answers(open_bundle(out), "onnxruntime", pictures) - expected).max() < 0.06


@needs_tensorflow
@pytest.mark.slow
def test_keras_files_that_are_refused(tmp_path: Path, colour_net: Any) -> None:
    import h5py
    import keras

    from edgefer.optimize.importers import keras as importer

    def message(path: Path) -> str:
        with pytest.raises(ExportError) as error:
            importer.open_model(path)
        return str(error.value)

    layers = keras.layers
    code = keras.Sequential([keras.Input((16, 16, 1)), layers.Lambda(lambda x: x * 2, name="twice"), layers.Flatten()])
    for suffix in (".keras", ".h5"):
        code.save(tmp_path / f"code{suffix}")
        assert "'twice' is a Lambda: it holds code" in message(tmp_path / f"code{suffix}")

    class Mine(layers.Layer):  # type: ignore[misc, unused-ignore]
        def call(self, values: Any) -> Any:
            return values

    keras.Sequential([keras.Input((16, 16, 1)), Mine(name="my-own"), layers.Flatten()]).save(tmp_path / "mine.keras")
    assert "'my-own' is a Mine" in message(tmp_path / "mine.keras")

    colour_net.save_weights(tmp_path / "it.weights.h5")
    assert "weights only" in message(tmp_path / "it.weights.h5")
    colour_net.save(tmp_path / "it.keras")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "it.keras").read_bytes()[:3000])
    assert "neither a .keras archive nor HDF5" in message(tmp_path / "cut.keras")
    colour_net.save(tmp_path / "it.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "it.h5").read_bytes()[:3000])
    assert "cut short" in message(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "it.h5", "r+") as file:
        file["model_weights"]["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert "'elsewhere' lie in another place" in message(tmp_path / "it.h5")


@needs_tensorflow
@pytest.mark.slow
def test_an_hdf5_file_with_settings_of_keras_2_is_read(tmp_path: Path) -> None:
    import h5py
    import keras

    from edgefer.optimize.importers import keras as importer

    layers = keras.layers
    net = keras.Sequential([keras.Input((16, 16, 1)), layers.SeparableConv2D(7, 3), layers.GlobalAveragePooling2D()])
    net.save(tmp_path / "it.h5")
    with h5py.File(tmp_path / "it.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["config"] |= {"groups": 1, "kernel_initializer": None}
        file.attrs["model_config"] = json.dumps(config)
    found = importer.open_model(tmp_path / "it.h5")
    pictures = np.ones((1, 16, 16, 1), np.float32)
    np.testing.assert_allclose(found.run(pictures), np.asarray(net(pictures)), atol=1e-6)


@needs_tensorflow
@pytest.mark.slow
def test_an_imported_network_is_trained_for_int8_and_exported(tmp_path: Path, colour_net: Any) -> None:
    from edgefer import cartoon
    from edgefer.optimize.export import export
    from edgefer.optimize.plan import Plan
    from edgefer.optimize.tune import DEFAULTS
    from edgefer.train.data import Dataset

    colour_net.save(tmp_path / "it.keras")
    out = tmp_path / "it.edgefer"
    imported(tmp_path / "it.keras", "--labels", "a,b,c,d,e,f,g", "--preprocess", "signed", out=out)
    images, labels = cartoon.dataset(20, seed=1)
    train = Dataset(images, labels, tuple("abcdefg"))
    qat = dataclasses.replace(DEFAULTS["qat"], epochs=1, learning_rate=1e-6)
    plan = Plan(formats=("tflite",), precisions=("fp32", "int8"), tunings=(qat,), max_drop=50)
    result = export(open_bundle(out), train, train, plan)
    assert [p.artifact for p in result.parities] == ["colours.fp32.tflite", "colours.int8.tflite"]
    assert result.parities[1].agreement > 90
    float_said, int8_said = (
        open_engine(result.bundle, "litert", precision).engine.run(faces(result.bundle.preprocess.size))
        for precision in ("fp32", "int8")
    )
    assert np.abs(float_said - int8_said).mean() < 0.03
