"""Every exporter in every precision, run for real: right answers, the contract of the files, and the same bytes again.

As a program it is what the tests start: `test_exporters.py FOLDER` trains a small network on cartoons, unless another
run has left one there, and writes `FOLDER/NAME.SUFFIX` for each case.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from edgefer import cartoon, plugins
from edgefer.bundle import Artifact, Bundle, describe, write_bundle
from edgefer.labels import FER2013_LABELS
from edgefer.optimize import exporters
from edgefer.preprocess import Preprocess
from edgefer.runtime.engines import LoadedEngine, open_engine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Case(NamedTuple):
    """What to export, and how."""

    format: str
    precision: str
    method: str = ""
    """Of the format's own quantiser; nothing = shared."""
    keep_float: tuple[str, ...] = ()
    opset: int = 17
    batch: int | None = None

    @property
    def name(self) -> str:
        return "-".join(map(str, (*self[:3], *self.keep_float, *self[4:])))


FORMATS = ("tflite", "onnx", "openvino")
SHARED = [Case(format, precision) for format in FORMATS for precision in ("fp32", "fp16", "dynamic", "int8")]
OWN = [Case("onnx", "int8", method) for method in ("minmax", "percentile", "entropy")]
OWN += [Case("openvino", "int8", method) for method in ("minmax", "percentile")]
MIXED = [Case(format, "int8", keep_float=keep) for keep in (("s2_conv", "logits"), ("s1_conv",)) for format in FORMATS]
OPSETS = [Case("onnx", precision, opset=opset) for precision in ("fp16", "dynamic", "int8") for opset in (13, 18)]
ALONE = [*SHARED, *OWN, *MIXED, *OPSETS]
BATCHES = [Case("onnx", "dynamic", batch=3), Case("onnx", "int8", "minmax", batch=3), Case("openvino", "fp32", batch=3)]
REFUSED = {
    Case("onnx", "fp32", opset=12): "ONNX opset must be 13–18, found 12",
    Case("onnx", "int8", "guess"): "onnxruntime cannot calibrate by 'guess'",
    Case("openvino", "int8", "entropy"): "nncf cannot calibrate by 'entropy'",
    Case("tflite", "int8", keep_float=("s9_conv",)): "cannot keep 's9_conv' float",
}
MOST = {"fp32": 1e-4, "fp16": 2e-3, "dynamic": 0.01, "int8": 0.015}
"""Mean difference of a probability from Keras's."""
LARGEST = {"fp16": 0.6, "dynamic": 0.5, "int8": 0.5}
"""Bytes, as a part of those in fp32; OpenVINO's XML is as large as these networks, so its weights are compared."""


class World(NamedTuple):
    first: Path
    again: Path
    expected: Any
    """Probabilities of the trained network for `faces(2)`."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    needed = ("tensorflow", "tf2onnx", "onnxruntime", "openvino", "nncf")
    missing = [module for module in needed if not plugins.installed(module)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    first, again = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("again")
    convert(first, "1")
    for name in ("w.weights.h5", "expected.npy"):
        (again / name).write_bytes((first / name).read_bytes())
    convert(again, "2")
    return World(first, again, np.load(first / "expected.npy"))


def convert(folder: Path, seed: str) -> None:
    # CI=true: OpenVINO sends no telemetry. The seed decides in which order Python walks through sets.
    environment = {"CI": "true", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow", "PYTHONHASHSEED": seed}
    command = [sys.executable, __file__, str(folder), seed]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == ""


def faces(seed: int) -> Any:
    return cartoon.dataset(60, seed)[0][..., None]


def main(folder: Path, seed: str) -> None:
    import keras

    from edgefer.errors import ExportError
    from edgefer.optimize.exporters import Source, tflite
    from edgefer.optimize.stored import probabilities
    from edgefer.train import architectures

    net = architectures.build(keras, "edge-xs", 7)
    if not (folder / "w.weights.h5").exists():
        train(keras, net, folder / "w.weights.h5")
        np.save(folder / "expected.npy", probabilities(net, faces(2)))
    net.load_weights(folder / "w.weights.h5")
    calibration = faces(3)[:96]
    cores: dict[Any, tuple[bytes, bytes]] = {}

    def core(case: Case) -> tuple[bytes, bytes]:
        key = case.keep_float if case.precision == "int8" and not case.method else "float"
        if key not in cores:
            if key == "float":
                cores[key] = tflite.floating(net, False), tflite.floating(net, True)
            else:
                cores[key] = (
                    tflite.quantised(net, calibration, False, case.keep_float),
                    tflite.quantised(net, calibration, True, case.keep_float),
                )
        return cores[key]

    cases = [*ALONE, *BATCHES, *REFUSED]
    for case in cases if seed == "1" else reversed(cases):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                own = {"own": bool(case.method), "method": case.method or "minmax"}
                source = Source(
                    net,
                    case.precision,
                    calibration,
                    *core(case),
                    Path(scratch),
                    **own,
                    opset=case.opset,
                    batch=case.batch,
                )
                contents = exporters.load(case.format).export(source)
            except ExportError as error:
                (folder / f"{case.name}.refused").write_text(str(error), encoding="utf-8")
                continue
        for suffix, data in zip(exporters.load(case.format).SUFFIXES, contents, strict=True):
            (folder / f"{case.name}{suffix}").write_bytes(data)


def train(keras: Any, net: Any, path: Path) -> None:
    images, labels = cartoon.dataset(160, seed=1)
    keras.utils.set_random_seed(0)
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.get_layer("dropout").rate = 0.0
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8
    net.fit(images[..., None].astype(np.float32) / 255, labels, batch_size=64, epochs=14, verbose=0)
    net.save_weights(path)


def files(folder: Path, case: Case) -> list[bytes]:
    return [(folder / f"{case.name}{suffix}").read_bytes() for suffix in exporters.load(case.format).SUFFIXES]


def main_file(world: World, case: Case) -> str:
    return str(world.first / f"{case.name}{exporters.load(case.format).SUFFIXES[0]}")


def opened(world: World, case: Case, path: Path) -> LoadedEngine:
    exporter = exporters.load(case.format)
    names = [f"model{suffix}" for suffix in exporter.SUFFIXES]
    contents = dict(zip(names, files(world.first, case), strict=True))
    first, *others = [describe(name, data) for name, data in contents.items()]
    artifact = Artifact(first, case.format, case.precision, tuple(others))
    bundle = Bundle(path / "x.edgefer", "edge-xs", FER2013_LABELS, Preprocess(), (artifact,))
    return open_engine(write_bundle(bundle, contents), exporter.ENGINE, case.precision)


def by_name(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def test_the_test_network_is_worth_comparing_with(world: World) -> None:
    assert (world.expected.argmax(axis=1) == cartoon.dataset(60, 2)[1]).mean() > 0.8


@by_name(ALONE)
def test_answers_are_those_of_the_trained_network(world: World, case: Case, tmp_path: Path) -> None:
    loaded = opened(world, case, tmp_path)
    found = loaded.engine.run(faces(2))
    loaded.engine.close()
    assert found.dtype == np.float32
    # Each of the shared int8's is rounded to 1/256.
    rounded = case.precision == "int8" and not case.method
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=7 / 512 if rounded else 2e-3)
    assert (found.argmax(axis=1) == world.expected.argmax(axis=1)).mean() >= (
        0.99 if case.precision in ("fp32", "fp16") else 0.96
    )
    assert np.abs(found - world.expected).mean() < MOST[case.precision]


@by_name([*ALONE, *BATCHES])
def test_the_same_network_gives_the_same_bytes(world: World, case: Case) -> None:
    """In another process, in another order, with sets walked through otherwise."""
    assert files(world.first, case) == files(world.again, case)


@by_name([case for case in [*SHARED, *OWN] if case.precision != "fp32"])
def test_files_are_smaller_than_in_float(world: World, case: Case) -> None:
    small, large = files(world.first, case)[-1], files(world.first, Case(case.format, "fp32"))[-1]
    assert len(small) < LARGEST[case.precision] * len(large)


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_what_an_exporter_cannot_do_is_refused(world: World, case: Case) -> None:
    text = (world.first / f"{case.name}.refused").read_text(encoding="utf-8")
    assert text.startswith(REFUSED[case])
    assert "\n" not in text


@by_name([case for case in [*SHARED, *OWN, *BATCHES] if case.format == "onnx"])
def test_onnx_contract(world: World, case: Case) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(main_file(world, case), options, providers=["CPUExecutionProvider"])
    [entry], [result] = session.get_inputs(), session.get_outputs()
    assert (entry.type, entry.shape) == ("tensor(uint8)", [case.batch or "n", 48, 48, 1])
    assert (result.type, result.shape) == ("tensor(float)", [case.batch or "n", 7])
    together = session.run(None, {entry.name: faces(2)[:3]})[0]
    assert together.shape == (3, 7)
    if case.batch is None and case.precision != "dynamic":  # rounds to steps that all three pictures decide
        alone = [session.run(None, {entry.name: face[None]})[0][0] for face in faces(2)[:3]]
        np.testing.assert_allclose(together, alone, atol=1e-5)


@by_name([case for case in [*SHARED, *OWN, *BATCHES] if case.format == "openvino"])
def test_openvino_contract(world: World, case: Case) -> None:
    import openvino

    model = openvino.Core().read_model(main_file(world, case))
    first = openvino.Dimension() if case.batch is None else openvino.Dimension(case.batch)
    assert model.input().element_type == openvino.Type.u8
    assert model.input().partial_shape == openvino.PartialShape([first, 48, 48, 1])
    assert model.output().element_type == openvino.Type.f32
    found = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(faces(2)[:3])[0]
    assert np.abs(found - world.expected[:3]).max() < 0.1


def operations(world: World, case: Case) -> list[tuple[str, str, type]]:
    """Return (operation, what its result is called, dtype) of a TFLite model, delegates included."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(main_file(world, case))
    interpreter.allocate_tensors()
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    results = [(op["op_name"], tensors[op["outputs"][0]]) for op in interpreter._get_ops_details()]
    return [(op, tensor["name"], tensor["dtype"]) for op, tensor in results]


@by_name([case for case in [*SHARED, *MIXED] if case.format == "tflite"])
def test_tflite_contract(world: World, case: Case) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(main_file(world, case))
    [entry], [result] = interpreter.get_input_details(), interpreter.get_output_details()
    assert (entry["dtype"], list(entry["shape"])) == (np.uint8, [1, 48, 48, 1])
    assert (result["dtype"], list(result["shape"])) == (np.float32, [1, 7])
    if case.precision == "int8" and "s1_conv" not in case.keep_float:
        assert entry["quantization"] == (pytest.approx(1 / 255, rel=1e-6), 0)  # pixels as they are


@by_name([case for case in [*SHARED, *MIXED] if case.format == "tflite" and case.precision != "fp16"])
def test_xnnpack_takes_the_whole_model_in_one_piece(world: World, case: Case) -> None:
    names = [op for op, _, _ in operations(world, case)]
    assert names.count("DELEGATE") == 1
    end = ["SOFTMAX", "QUANTIZE", "DEQUANTIZE"] if case.precision == "int8" else ["SOFTMAX"]
    assert names[-len(end) - 1 :] == [*end, "DELEGATE"]


@by_name([case for case in [*SHARED, *MIXED] if (case.format, case.precision) == ("tflite", "int8")])
def test_int8_probabilities_are_whole_steps(world: World, case: Case, tmp_path: Path) -> None:
    loaded = opened(world, case, tmp_path)
    steps = loaded.engine.run(faces(2)) * 256
    loaded.engine.close()
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert steps.min() == 0
    assert steps.max() <= 255


@by_name([case for case in [*SHARED, *OWN] if (case.format, case.precision) == ("onnx", "int8")])
def test_no_int8_sum_in_onnx_is_near_the_middle_of_two_steps(world: World, case: Case) -> None:
    """There onnxruntime's way of adding on Arm, with 22 bits, would give another step than that on x86."""
    import onnx

    model = onnx.load(main_file(world, case))
    makers = {node.output[0]: node for node in model.graph.node}
    readers = {name: node for node in model.graph.node for name in node.input}
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    assert sums
    for node in sums:
        after = readers[node.output[0]]
        after = readers[after.output[0]] if after.op_type == "Relu" else after
        assert after.op_type == "QuantizeLinear"
        a, b, total = (float(constants[n.input[1]]) for n in (makers[node.input[0]], makers[node.input[1]], after))
        steps = np.arange(-255, 256)
        exact = (steps[:, None] * a + steps * b) / total
        assert np.abs(exact % 1 - 0.5).min() > 255 * max(a, b) / total * 2**-21


@by_name([case for case in [*SHARED, *MIXED] if (case.format, case.precision) == ("tflite", "int8")])
def test_float_is_what_was_asked_to_be(world: World, case: Case) -> None:
    passing = ("QUANTIZE", "DEQUANTIZE", "CAST", "SOFTMAX", "DELEGATE")
    computing = [(name, dtype) for op, name, dtype in operations(world, case) if op not in passing]
    kept = {name for name, dtype in computing if dtype is np.float32}
    assert len(kept) == len(case.keep_float)
    assert all(any(f"/{layer}_" in name for name in kept) for layer in case.keep_float)
    assert all(dtype is np.int8 for name, dtype in computing if name not in kept)


@by_name(OWN[:3])
def test_onnxruntime_computes_its_own_int8_in_integers(world: World, case: Case, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(main_file(world, case), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert "QLinearConv" in kinds
    assert "Conv" not in kinds
    tensors = {tensor.name: tensor for tensor in onnx.load(main_file(world, case)).graph.initializer}
    rounds = [node for node in onnx.load(main_file(world, case)).graph.node if node.op_type == "QuantizeLinear"]
    assert {tensors[node.input[2]].data_type for node in rounds} == {onnx.TensorProto.UINT8}


@by_name(OWN[3:])
def test_openvino_computes_its_own_int8_in_integers(world: World, case: Case) -> None:
    import openvino

    model = openvino.Core().read_model(main_file(world, case))
    nodes = [op.get_rt_info() for op in openvino.compile_model(model, "CPU").get_runtime_model().get_ops()]
    used = {n["runtimePrecision"].astype(str) for n in nodes if n["layerType"].astype(str) == "Convolution"}
    assert used
    assert used <= {"u8", "i8"}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])


def test_an_activation_that_shares_its_zero_point_with_weights_is_shifted_alone() -> None:
    onnx = pytest.importorskip("onnx", reason="needs edgefer[optimize]")
    from onnx import TensorProto, helper, numpy_helper

    from edgefer.optimize.exporters.onnx import _unsigned_activations

    constants = {"scale": np.float32(0.5), "zero": np.int8(0), "weights": np.full((3, 2), 4, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["rounded"]),
        helper.make_node("DequantizeLinear", ["weights", "scale", "zero"], ["w"]),
        helper.make_node("MatMul", ["rounded", "w"], ["y"]),
    ]
    sides = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", size]) for n, size in (("x", 3), ("y", 2))]
    initialisers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "shared", sides[:1], sides[1:], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    _unsigned_activations(model)
    onnx.checker.check_model(model, full_check=True)
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    zeros = [found[node.input[2]] for node in model.graph.node[:3]]
    assert [(zero.dtype, int(zero)) for zero in zeros] == [(np.uint8, 128), (np.uint8, 128), (np.int8, 0)]
