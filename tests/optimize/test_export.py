"""Export, run for real: a small network trained on cartoons, every format and precision, every real engine."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgefer import cartoon, plugins
from edgefer.bundle import Artifact, Bundle, describe, open_bundle, write_bundle
from edgefer.errors import BundleError, DataError, EdgeferError, EngineError, ExportError, MissingDependencyError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize import exporters, worker
from edgefer.optimize.convert import FORMATS, Converted, Job, convert
from edgefer.optimize.export import ExportResult, export
from edgefer.optimize.plan import Plan
from edgefer.optimize.tune import DEFAULTS
from edgefer.optimize.verify import Reference, verify
from edgefer.preprocess import Preprocess
from edgefer.runtime.engines import open_engine
from edgefer.train.data import Dataset

EXPORT = importlib.import_module("edgefer.optimize.export")
PRECISIONS = ("fp32", "int8")
KINDS = [(format, precision) for precision in PRECISIONS for format in FORMATS]
for package in ("tensorflow", "tf2onnx", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason="needs edgefer[optimize,onnxruntime,openvino]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def cartoons(per_class: int, seed: int) -> Dataset:
    images, labels = cartoon.dataset(per_class, seed)
    return Dataset(images, labels, FER2013_LABELS)


def trained_weights(train: Dataset, path: Path) -> bytes:
    import keras

    from edgefer.train import architectures

    keras.utils.set_random_seed(0)
    net = architectures.build(keras, "edge-xs0", 7)
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.get_layer("dropout").rate = 0.0
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8
    net.fit(train.images[..., None].astype(np.float32) / 255, train.labels, batch_size=64, epochs=14, verbose=0)
    net.save_weights(path)
    return path.read_bytes()


class World(NamedTuple):
    trained: Bundle
    """As training wrote it, untouched."""
    result: ExportResult
    converted: Converted
    train: Dataset
    validation: Dataset
    said: list[str]


def write_trained(path: Path, weights: bytes, name: str = "edge-xs0.weights.h5") -> Bundle:
    artifact = Artifact(describe(name, weights), "keras", "fp32")
    metrics = {name: {"split": "validation", "n": 1, "accuracy": 1.0}}
    bundle = Bundle(path, "edge-xs0", FER2013_LABELS, Preprocess(), (artifact,), metrics, versions={"keras": "3"})
    return write_bundle(bundle, {name: weights, "MODEL_CARD.md": b"# card\n"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("export")
    train, validation = cartoons(240, seed=1), cartoons(60, seed=2)
    weights = trained_weights(train, folder / "w.weights.h5")
    kept: list[Converted] = []

    def convert_and_keep(job: Job, listener: worker.Listener | None = None) -> Converted:
        kept.append(convert(job, listener))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EXPORT, "convert", convert_and_keep)
        said: list[str] = []
        bundle = write_trained(folder / "in-place.edgefer", weights)
        result = export(bundle, train, validation, listener=lambda message: said.append(message.get("say", "")))
    return World(write_trained(folder / "trained.edgefer", weights), result, kept[0], train, validation, said)


@pytest.fixture
def fresh(world: World, tmp_path: Path) -> Bundle:
    """A trained bundle to do harm to."""
    artifact = world.trained.artifact("keras")
    return write_trained(tmp_path / "fresh.edgefer", world.trained.read(artifact.file))


def state(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def returns(converted: Converted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let export convert to this without the minute that it takes."""
    monkeypatch.setattr(EXPORT, "convert", lambda job, listener: converted)


def one_line(error: pytest.ExceptionInfo[EdgeferError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def pictures(data: Dataset) -> Any:
    return data.images[..., None]


def test_the_test_network_can_tell_cartoons_apart(world: World) -> None:
    assert (world.converted.trained.argmax(axis=1) == world.validation.labels).mean() > 0.85


def test_in_place_export_keeps_what_was_there(world: World) -> None:
    bundle = open_bundle(world.result.bundle.path).verify()
    assert [(a.format, a.precision) for a in bundle.artifacts] == [("keras", "fp32"), *KINDS]
    assert (bundle.path / "MODEL_CARD.md").read_bytes() == b"# card\n"
    assert bundle.artifact("tflite").path == "edge-xs0.int8.tflite"
    assert bundle.artifact("openvino", "fp32").companions[0].path == "edge-xs0.fp32.bin"
    assert bundle.parent is None
    assert {"tensorflow", "tf2onnx", "openvino", "keras"} <= set(bundle.versions)
    assert any("litert" in line for line in world.said)


def test_metrics_say_how_they_were_measured(world: World) -> None:
    metrics = json.loads((world.result.bundle.path / "manifest.json").read_text())["metrics"]
    assert set(metrics) == {a.path for a in world.result.bundle.artifacts}
    for parity in world.result.parities:
        entry = metrics[parity.artifact]
        assert parity.passed
        assert entry["split"] == "validation"
        assert entry["n"] == len(world.validation)
        assert entry["engine"] == parity.engine
        assert 0 <= entry["ci95"][0] <= entry["accuracy"] <= entry["ci95"][1] <= 1
        assert entry["agreement_with_float"] >= 0.95


@pytest.mark.parametrize(("format", "precision"), KINDS)
def test_every_artifact_answers_like_the_trained_network(world: World, format: str, precision: str) -> None:
    loaded = open_engine(world.result.bundle, exporters.load(format).ENGINE, precision)
    found = loaded.engine.run(pictures(world.validation)[:200])
    loaded.engine.close()
    expected = world.converted.trained[:200]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=0.02)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.97
    # bfloat16 is what OpenVINO may take for float32.
    assert np.abs(found - expected).mean() < (0.02 if precision == "int8" else 0.005)


def test_int8_agrees_across_engines(world: World) -> None:
    answers = []
    for format in FORMATS:
        loaded = open_engine(world.result.bundle, exporters.load(format).ENGINE, "int8")
        answers.append(loaded.engine.run(pictures(world.validation)).argmax(axis=1))
        loaded.engine.close()
    for one, other in itertools.combinations(answers, 2):
        assert (one == other).mean() >= 0.99


def test_tflite_int8_takes_pixels_as_they_are(world: World) -> None:
    from ai_edge_litert.interpreter import Interpreter

    bundle = world.result.bundle
    model = Interpreter(model_content=bundle.read(bundle.artifact("tflite", "int8").file))
    [entry] = model.get_input_details()
    assert entry["dtype"] == np.uint8
    assert list(entry["shape"]) == [1, 48, 48, 1]
    assert entry["quantization"] == (pytest.approx(1 / 255, rel=1e-6), 0)
    # Float is nowhere but in the logits, the softmax of them, and that in steps.
    floats = [t["index"] for t in model.get_tensor_details() if t["dtype"] == np.float32]
    [softmax] = [op for op in model._get_ops_details() if op["op_name"] == "SOFTMAX"]
    result = model.get_output_details()[0]["index"]
    assert sorted(floats) == sorted([softmax["inputs"][0], softmax["outputs"][0], result])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_onnx_and_openvino_take_any_number_of_pictures(world: World, precision: str) -> None:
    import onnxruntime
    import openvino

    bundle, batch = world.result.bundle, pictures(world.validation)[:3]
    session = onnxruntime.InferenceSession(bundle.read(bundle.artifact("onnx", precision).file))
    [entry] = session.get_inputs()
    assert (entry.type, entry.shape[1:]) == ("tensor(uint8)", [48, 48, 1])
    together = session.run(None, {entry.name: batch})[0]
    alone = np.concatenate([session.run(None, {entry.name: batch[i : i + 1]})[0] for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-5)

    artifact = bundle.artifact("openvino", precision)
    core = openvino.Core()
    model = core.read_model(bundle.read(artifact.file), bundle.read(artifact.companions[0]))
    assert model.input().element_type == openvino.Type.u8
    assert core.compile_model(model, "CPU")(batch)[0].shape == (3, 7)


def test_int8_is_executed_as_int8(world: World, tmp_path: Path) -> None:
    import onnx
    import onnxruntime
    import openvino

    bundle = world.result.bundle
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(bundle.read(bundle.artifact("onnx", "int8").file), options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert "QLinearConv" in kinds
    assert "Conv" not in kinds

    artifact = bundle.artifact("openvino", "int8")
    core = openvino.Core()
    model = core.read_model(bundle.read(artifact.file), bundle.read(artifact.companions[0]))
    nodes = [op.get_rt_info() for op in core.compile_model(model, "CPU").get_runtime_model().get_ops()]
    used = {n["runtimePrecision"].astype(str) for n in nodes if n["layerType"].astype(str) == "Convolution"}
    assert used <= {"u8", "i8"}


def test_int8_is_smaller(world: World) -> None:
    bundle = world.result.bundle
    assert bundle.artifact("tflite", "int8").bytes < 0.45 * bundle.artifact("tflite", "fp32").bytes


def test_out_writes_a_new_bundle_and_names_its_parent(
    world: World, fresh: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returns(world.converted, monkeypatch)
    before = state(fresh.path)
    result = export(fresh, world.train, world.validation, out=tmp_path / "new.edgefer")
    assert result.bundle.path == tmp_path / "new.edgefer"
    assert result.bundle.parent == fresh.digest()
    assert (result.bundle.path / "MODEL_CARD.md").exists()
    assert state(fresh.path) == before
    with pytest.raises(BundleError, match="exists"):
        export(fresh, world.train, world.validation, out=tmp_path / "new.edgefer")


def test_exporting_again_replaces_and_leaves_standard_output_alone(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    returns(world.converted, monkeypatch)
    once = export(fresh, world.train, world.validation).bundle
    twice = export(once, world.train, world.validation, force=True).bundle
    assert state(once.path) == state(twice.path)
    assert len(twice.artifacts) == 1 + len(KINDS)
    assert capfd.readouterr().out == ""


def test_what_is_there_already_stays(world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    returns(world.converted, monkeypatch)
    once = export(fresh, world.train, world.validation).bundle
    before = state(once.path)
    monkeypatch.delattr(EXPORT, "convert")  # nothing is converted
    again = export(once, world.train, world.validation)
    assert again.parities == ()
    assert sorted(again.skipped) == sorted(a.path for a in once.artifacts if a.format != "keras")
    assert state(once.path) == before


def test_a_model_that_answers_otherwise_is_refused_and_nothing_changes(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = np.roll(world.converted.trained, 1, axis=1)
    returns(dataclasses.replace(world.converted, tuned=turned, int8=turned), monkeypatch)
    before = state(fresh.path)
    with pytest.raises(ExportError, match=r"edge-xs0\.fp32\.tflite in litert.*label of its network for .* %") as error:
        export(fresh, world.train, world.validation)
    one_line(error)
    assert state(fresh.path) == before


def test_lost_accuracy_is_refused(world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = world.validation.labels.copy()
    wrong[:50] = (wrong[:50] + 1) % 7
    harder = dataclasses.replace(world.validation, labels=wrong)
    returns(dataclasses.replace(world.converted, trained=np.eye(7, dtype=np.float32)[wrong]), monkeypatch)
    with pytest.raises(ExportError, match=r"points of accuracy; at most 0\.5 are allowed"):
        export(fresh, world.train, harder)


def test_a_broken_file_is_refused_and_nothing_changes(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = world.converted.files | {("onnx", "int8"): {"edge-xs0.int8.onnx": b"not a model"}}
    returns(dataclasses.replace(world.converted, files=files), monkeypatch)
    before = state(fresh.path)
    with pytest.raises(EngineError, match="onnxruntime cannot load"):
        export(fresh, world.train, world.validation)
    assert state(fresh.path) == before


def test_verify_reports_a_refusal_without_raising(world: World) -> None:
    few = slice(0, 40)
    other = np.roll(world.converted.trained[few], 1, axis=1)
    reference = Reference(pictures(world.validation)[few], world.validation.labels[few], other, other)
    parity, found = verify(world.result.bundle, "litert", "int8", reference)
    assert not parity.passed
    assert "95 % are needed" in parity.reason
    assert found.shape == (40, 7)


def test_weights_that_are_none_fail_in_one_line(world: World, tmp_path: Path) -> None:
    bundle = write_trained(tmp_path / "bad.edgefer", b"not HDF5")
    before = state(bundle.path)
    with pytest.raises(ExportError, match=r"conversion failed \(exit 1\): .+") as error:
        export(bundle, world.train, world.validation, Plan(formats=("tflite",)))
    one_line(error)
    assert state(bundle.path) == before


def test_a_conversion_that_aborts_is_reported(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'malloc(): corrupted' >&2\nkill -ABRT $$\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    before = state(fresh.path)
    with pytest.raises(ExportError, match=r"conversion failed \(SIGABRT\): malloc\(\): corrupted") as error:
        export(fresh, world.train, world.validation)
    one_line(error)
    assert state(fresh.path) == before


def test_a_bundle_without_weights_says_so(world: World, tmp_path: Path) -> None:
    only = world.result.bundle.artifact("tflite", "int8")
    contents = {only.path: world.result.bundle.read(only.file)}
    bundle = dataclasses.replace(world.result.bundle, path=tmp_path / "x.edgefer", artifacts=(only,), metrics={})
    with pytest.raises(ExportError, match="holds no trained weights"):
        export(write_bundle(bundle, contents), world.train, world.validation)


def test_whole_keras_models_are_not_read(world: World, tmp_path: Path) -> None:
    bundle = write_trained(tmp_path / "x.edgefer", b"anything", name="edge-xs0.keras")
    with pytest.raises(ExportError, match=r"must be a \.weights\.h5 file"):
        export(bundle, world.train, world.validation)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Plan(formats=("coreml",)), "no export format called 'coreml'"),
        (Plan(formats=()), "nothing to export"),
        (Plan(precisions=("int4",)), "precision called 'int4'"),
        (Plan(methods=("guess",)), "calibration called 'guess'"),
        (Plan(max_drop=-1.0), "0 or more points"),
        (Plan(max_drop=float("nan")), "0 or more points"),
        (Plan(calibration=0), "at least 32 training faces"),
        (Plan(opset=9), "opset must be 13 to 18"),
        (Plan(batch=0), "batch must be 1 to 1024"),
        (Plan(precisions=("fp32",), tunings=(DEFAULTS["qat"],)), "qat is for int8"),
        (Plan(keep_float=("x",), own=True), "needs the shared quantiser"),
        (
            Plan(own=True, methods=("entropy",)),
            "tflite's own quantiser cannot calibrate by entropy; it knows converter",
        ),
        (Plan(tunings=(DEFAULTS["qat"], DEFAULTS["qat"])), "once"),
        (Plan(tunings=(DEFAULTS["narrow"],)), "narrow changes the trained weights.*--out"),
    ],
)
def test_wrong_plans_are_refused(world: World, fresh: Bundle, wanted: Plan, message: str) -> None:
    with pytest.raises(ExportError, match=message) as error:
        export(fresh, world.train, world.validation, wanted)
    one_line(error)


def test_an_unknown_architecture_is_refused(world: World, fresh: Bundle) -> None:
    with pytest.raises(ExportError, match=r"architecture '\.\./x' is not known"):
        export(dataclasses.replace(fresh, architecture="../x"), world.train, world.validation)


def test_labels_that_the_bundle_lacks_are_refused(world: World, fresh: Bundle) -> None:
    renamed = dataclasses.replace(world.validation, names=("bored", *FER2013_LABELS[1:]))
    with pytest.raises(DataError, match="bored"):
        export(fresh, world.train, renamed)


@pytest.mark.parametrize(
    ("missing", "format", "extra"),
    [
        ("tensorflow", "tflite", "optimize"),
        ("tf2onnx", "onnx", "optimize"),
        ("onnxruntime", "onnx", "onnxruntime"),
        ("openvino", "openvino", "openvino"),
    ],
)
def test_a_missing_package_is_named_before_any_work(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch, missing: str, format: str, extra: str
) -> None:
    installed = plugins.installed
    monkeypatch.setattr(plugins, "installed", lambda module: module != missing and installed(module))
    with pytest.raises(MissingDependencyError, match=rf"{missing}.*pip install 'edgefer\[{extra}\]'"):
        export(fresh, world.train, world.validation, Plan(formats=(format,)))


def test_no_room_for_temporary_files_is_one_line(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ExportError, match="TMPDIR") as error:
        export(fresh, world.train, world.validation)
    one_line(error)


def test_another_label_order_in_the_data_does_not_matter(
    world: World, fresh: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    returns(world.converted, monkeypatch)
    names = tuple(sorted(FER2013_LABELS))
    result = export(fresh, world.train.ordered(names), world.validation.ordered(names))
    assert [p.accuracy for p in result.parities] == [p.accuracy for p in world.result.parities]


KEPT = ("s2_conv", "s2_relu", "s3_conv", "s3_relu")


def sabotaged(world: World, path: Path) -> Bundle:
    """The trained network with one channel of `s2` a thousand times larger, and its readers as much smaller."""
    import keras

    from edgefer.train import distill, network

    found = network.from_keras(distill.load_net(keras, world.trained))
    scale, center, *rest = found["s2_bn"].weights
    scale, center, kernel = scale.copy(), center.copy(), found["s3_conv"].weights[0].copy()
    scale[3] *= 2000
    center[3] *= 2000
    kernel[:, :, 3] /= 2000
    found = network.replace_node(found, "s2_bn", weights=(scale, center, *rest))
    found = network.replace_node(found, "s3_conv", weights=(kernel,))
    network.to_keras(keras, found).save_weights(path.with_suffix(".weights.h5"))
    return write_trained(path, path.with_suffix(".weights.h5").read_bytes())


def test_a_layer_with_extreme_weights_is_refused_by_its_name(world: World, tmp_path: Path) -> None:
    bundle = sabotaged(world, tmp_path / "extreme.edgefer")
    before = state(bundle.path)
    with pytest.raises(
        ExportError, match=r"int8\.tflite in litert (loses|gives).*lose most in int8: s2_conv "
    ) as error:
        export(bundle, world.train, world.validation, Plan(formats=("tflite",)))
    assert " ".join(f"--keep-float {name}" for name in KEPT) in one_line(error)
    assert state(bundle.path) == before
    # What it advises helps.
    kept = Plan(formats=("tflite",), precisions=("int8",), keep_float=KEPT, max_drop=3)
    result = export(bundle, world.train, world.validation, kept, out=tmp_path / "kept.edgefer")
    assert result.parities[0].passed
    assert result.bundle.metrics["edge-xs0.int8.tflite"]["quantisation"]["keep_float"] == list(KEPT)


def test_narrowed_bundles_hold_their_own_network(world: World, fresh: Bundle, tmp_path: Path) -> None:
    import keras

    from edgefer.train import distill

    narrow = dataclasses.replace(DEFAULTS["narrow"], amount=0.3, epochs=3)
    qat = dataclasses.replace(DEFAULTS["qat"], epochs=1)
    plan = Plan(precisions=("fp32", "int8"), tunings=(qat, narrow), max_drop=30)
    before = state(fresh.path)
    result = export(fresh, world.train, world.validation, plan, out=tmp_path / "narrow.edgefer")
    assert state(fresh.path) == before
    assert [step.tuning.stage for step in result.steps] == ["narrow", "qat"]
    bundle = open_bundle(result.bundle.path).verify()
    assert bundle.parent == fresh.digest()
    [stored] = [a for a in bundle.artifacts if a.format == "keras"]
    assert [f.path for f in stored.companions] == ["edge-xs0.network.json"]
    assert bundle.artifact("tflite", "fp32").bytes < 0.8 * world.result.bundle.artifact("tflite", "fp32").bytes
    # Its weights and layers are what the float artifact computes: it can teach, and be exported again.
    net = distill.load_net(keras, bundle)
    faces = pictures(world.validation)[:64]
    loaded = open_engine(dataclasses.replace(bundle, temperature=1.0), "litert", "fp32")
    found = loaded.engine.run(faces)
    loaded.engine.close()
    logits = np.asarray(net(faces.astype(np.float32) / 255))
    wanted = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-4)
    for parity in result.parities:
        assert parity.source_agreement >= 95
        if parity.int8_agreement is not None:
            assert parity.int8_agreement >= 99
    again = export(bundle, world.train, world.validation, Plan(formats=("tflite",), precisions=("fp16",), max_drop=3))
    assert again.bundle.artifact("tflite", "fp16").path == "edge-xs0.fp16.tflite"
    assert not list(tmp_path.glob("*.tuning"))


def test_every_precision_passes(world: World, fresh: Bundle) -> None:
    plan = Plan(precisions=("fp16", "dynamic"), max_drop=2)
    result = export(fresh, world.train, world.validation, plan)
    sizes = {p.artifact: p.bytes for p in result.parities}
    for format in FORMATS:
        full = world.result.bundle.artifact(format, "fp32").bytes
        half, small = (result.bundle.artifact(format, precision) for precision in ("fp16", "dynamic"))
        assert sizes[half.path] == half.bytes
        assert half.bytes < 0.75 * full
        assert small.bytes < 0.75 * full


def test_fixed_batches_run_in_the_engines(world: World, fresh: Bundle) -> None:
    plan = Plan(formats=("onnx", "openvino"), precisions=("fp32", "int8"), methods=("converter",), batch=4, max_drop=2)
    result = export(fresh, world.train, world.validation, plan)
    for parity in result.parities:
        loaded = open_engine(result.bundle, parity.engine, parity.precision)
        together = loaded.engine.run(pictures(world.validation)[:7])
        alone = np.concatenate([loaded.engine.run(pictures(world.validation)[i : i + 1]) for i in range(7)])
        loaded.engine.close()
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_stage_that_loses_too_much_is_refused_and_can_be_gone_on_with(
    world: World, fresh: Bundle, tmp_path: Path
) -> None:
    crushed = dataclasses.replace(DEFAULTS["narrow"], amount=0.8, epochs=1, learning_rate=1e-6)
    plan = Plan(formats=("tflite",), precisions=("fp32",), tunings=(crushed,))
    out = tmp_path / "crushed.edgefer"
    with pytest.raises(ExportError, match=r"narrow loses .* points.*--set narrow.epochs=2.*--narrow 0.56"):
        export(fresh, world.train, world.validation, plan, out=out)
    assert not out.exists()
    with pytest.raises(ExportError, match="unfinished fine-tuning; go on with --resume"):
        export(fresh, world.train, world.validation, plan, out=out)
    said: list[str] = []
    result = export(
        fresh,
        world.train,
        world.validation,
        dataclasses.replace(plan, max_drop=100),
        out=out,
        resume=True,
        listener=lambda message: said.append("step" if "step" in message else ""),
    )
    assert result.steps[0].tuning.stage == "narrow"
    assert "step" not in said
    # What could not begin leaves nothing to go on from.
    empty = dataclasses.replace(plan, tunings=(dataclasses.replace(crushed, amount=0.95),))
    with pytest.raises(ExportError, match="is the least that it reaches"):
        export(fresh, world.train, world.validation, empty, out=tmp_path / "least.edgefer")
    assert not (tmp_path / "least.edgefer.tuning").exists()
    with pytest.raises(ExportError, match="nothing to resume"):
        export(fresh, world.train, world.validation, plan, out=tmp_path / "other.edgefer", resume=True)


def test_only_what_is_missing_is_converted(world: World, fresh: Bundle) -> None:
    once = export(fresh, world.train, world.validation, Plan(formats=("tflite",), precisions=("int8",), max_drop=3))
    said: list[str] = []
    plan = Plan(formats=("tflite",), max_drop=3)
    again = export(once.bundle, world.train, world.validation, plan, listener=lambda m: said.append(m.get("say", "")))
    assert [p.precision for p in again.parities] == ["fp32"]
    assert again.skipped == ("edge-xs0.int8.tflite",)
    assert not any("int8" in line for line in said)
    half = dataclasses.replace(plan, precisions=("fp16", "int8"), tunings=(DEFAULTS["qat"],))
    with pytest.raises(ExportError, match="qat is for int8, which the bundle has already; --force"):
        export(again.bundle, world.train, world.validation, half)


def test_a_teacher_with_other_labels_is_refused(world: World, fresh: Bundle, tmp_path: Path) -> None:
    plan = Plan(formats=("tflite",), tunings=(DEFAULTS["qat"],))
    stranger = dataclasses.replace(fresh, labels=tuple(reversed(FER2013_LABELS)))
    with pytest.raises(ExportError, match="same order"):
        export(fresh, world.train, world.validation, plan, teacher=stranger, out=tmp_path / "x.edgefer")
