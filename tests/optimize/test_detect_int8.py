"""int8 of networks that end in no softmax: what the files compute, in which kernels, and that all formats agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("tensorflow_model_optimization", reason="needs edgefer[optimize]")
pytest.importorskip("tf2onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from edgefer.grid import CHANNELS  # noqa: E402
from edgefer.optimize import exporters, fakequant  # noqa: E402
from edgefer.optimize.detect.reading import read_range  # noqa: E402
from edgefer.optimize.exporters import Source, tflite  # noqa: E402
from edgefer.optimize.fold import fold  # noqa: E402
from edgefer.optimize.int8_output import int8_output  # noqa: E402
from edgefer.optimize.judging import run  # noqa: E402
from edgefer.optimize.ranges import ranges  # noqa: E402
from edgefer.train.detect import network  # noqa: E402
from edgefer.train.network import Network, from_keras, to_keras  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
HEIGHT, WIDTH = 120, 160
"""A grid of 15×20 cells, which is padded to 16×20."""


class World(NamedTuple):
    net: Any
    folded: Network
    pictures: Any
    expected: Any
    float_core: tuple[bytes, bytes]
    int8: dict[str, tuple[bytes, bytes]]
    """By who calibrated: the form with float32 in and out, and that with pixels in and int8 out."""


@pytest.fixture(scope="module")
def world() -> World:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    net = network.build(keras, "det-s", HEIGHT, WIDTH)
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.get_weights()[0].shape
            drawn = [rng.uniform(*ends, shape) for ends in ((0.5, 1.5), (-0.5, 0.5), (-0.1, 0.1), (0.1, 0.5))]
            layer.set_weights(drawn)
    shades = rng.uniform(0, 255, (12, HEIGHT // 24, WIDTH // 32, 1))
    pictures = np.asarray(keras.ops.image.resize(shades, (HEIGHT, WIDTH)), np.float32).round().astype(np.uint8)
    unit = pictures.astype(np.float32) / 255
    folded = fold(from_keras(net))
    fakequant.check(folded)
    plain, names = to_keras(keras, folded), fakequant.rounded(folded)
    taps = keras.Model(plain.inputs[0], [plain.get_layer(name).output for name in names])
    rounding = fakequant.fake_quantised(tf_keras, folded, ranges(taps, names, unit, ["minmax"])["minmax"])
    ours = fakequant.to_tflite(rounding, False, softmax=False), fakequant.to_tflite(rounding, True, softmax=False)
    return World(
        net,
        folded,
        pictures,
        np.asarray(net(unit, training=False)),
        (tflite.floating(net, False, softmax=False), tflite.floating(net, True, softmax=False)),
        {"ours": ours, "converter": tflite.quantised_forms(net, pictures, softmax=False)},
    )


def interpreter(model: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(model_content=model, num_threads=1)
    opened.allocate_tensors()
    return opened


@pytest.mark.parametrize("who", ["ours", "converter"])
def test_all_of_it_runs_in_one_partition_of_xnnpack(world: World, who: str) -> None:
    opened = interpreter(world.int8[who][1])
    operators = [op["op_name"] for op in opened._get_ops_details()]
    assert operators.count("DELEGATE") == 1
    assert operators.count("RESIZE_BILINEAR") == 2
    assert operators.count("PAD") == 1
    assert set(operators) == {"QUANTIZE", "CONV_2D", "ADD", "PAD", "RESIZE_BILINEAR", "DELEGATE"}
    assert operators.count("QUANTIZE") == 1  # pixels uint8 → int8


@pytest.mark.parametrize("who", ["ours", "converter"])
def test_it_takes_pixels_and_gives_int8(world: World, who: str) -> None:
    opened = interpreter(world.int8[who][1])
    [taken], [given] = opened.get_input_details(), opened.get_output_details()
    assert (taken["dtype"], given["dtype"]) == (np.uint8, np.int8)
    assert taken["quantization"] == (pytest.approx(1 / 255, rel=1e-6), 0)
    assert tuple(given["shape"]) == (1, 16, 20, CHANNELS)
    floats = [t["name"] for t in opened.get_tensor_details() if t["dtype"] == np.float32]
    assert floats == []
    core = interpreter(world.int8[who][0])
    assert core.get_input_details()[0]["dtype"] == core.get_output_details()[0]["dtype"] == np.float32
    assert core.get_output_details()[0]["shape"].tolist() == given["shape"].tolist()


def test_a_resized_layer_keeps_its_steps(world: World) -> None:
    opened = interpreter(world.int8["ours"][1])
    steps = {t["index"]: t["quantization"] for t in opened.get_tensor_details()}
    for op in opened._get_ops_details():
        if op["op_name"] in ("RESIZE_BILINEAR", "PAD"):
            assert steps[int(op["inputs"][0])] == steps[int(op["outputs"][0])]


@pytest.mark.parametrize("who", ["ours", "converter"])
@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_every_format_gives_nearly_the_same_numbers(world: World, tmp_path: Path, format: str, who: str) -> None:
    found = exported(world, tmp_path, format, "int8", who)
    step = interpreter(world.int8[who][1]).get_output_details()[0]["quantization"][0]
    assert found.shape == world.expected.shape
    spread = world.expected.std()
    assert np.abs(found - world.expected).mean() < 0.06 * spread
    reference = run("litert", [world.int8[who][1]], world.pictures)
    assert np.abs(found - reference).mean() < step
    np.testing.assert_allclose(found / step, np.round(found / step), atol=0.02)  # steps, from first to last


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
@pytest.mark.parametrize(("precision", "part"), [("fp32", 1e-5), ("fp16", 0.01), ("dynamic", 0.06)])
def test_the_other_precisions_give_the_grid_too(
    world: World, tmp_path: Path, format: str, precision: str, part: float
) -> None:
    found = exported(world, tmp_path, format, precision)
    assert np.abs(found - world.expected).mean() < part * world.expected.std()


def exported(world: World, folder: Path, format: str, precision: str, who: str = "") -> Any:
    cores = world.int8[who] if who else world.float_core
    exporter = exporters.load(format)
    source = Source(world.net, precision, world.pictures, *cores, folder, softmax=False)
    return run(exporter.ENGINE, exporter.export(source), world.pictures)


def test_a_last_layer_that_stays_float_gives_float(world: World) -> None:
    core, pixels = tflite.quantised_forms(world.net, world.pictures, ("grid",), softmax=False)
    assert interpreter(pixels).get_output_details()[0]["dtype"] == np.float32
    assert interpreter(core).get_output_details()[0]["dtype"] == np.float32
    found = run("litert", [pixels], world.pictures)
    assert np.abs(found - world.expected).mean() < 0.06 * world.expected.std()


def test_only_a_dequantised_output_is_taken_off(world: World) -> None:
    core, pixels = world.int8["ours"]
    for model in (world.float_core[1], pixels):
        assert int8_output(model) is model
    assert interpreter(int8_output(core)).get_output_details()[0]["dtype"] == np.int8


def test_the_same_network_gives_the_same_bytes(world: World) -> None:
    again = tflite.quantised_forms(world.net, world.pictures, softmax=False)
    assert again == world.int8["converter"]


def test_what_is_read_of_a_grid() -> None:
    def net(unit: Any, training: bool) -> Any:
        grid = np.zeros((len(unit), 2, 2, CHANNELS), np.float32)
        grid[:, 0, 0] = np.linspace(-3, 5, CHANNELS)  # logit −3: read
        grid[:, 1, 1, 0], grid[:, 1, 1, 1:] = -9.0, 70.0  # never looked at
        grid[:, 0, 1, 0] = grid[:, 1, 0, 0] = -3.9  # just below a score of .02
        return grid

    low, high = read_range(net, np.zeros((20, 16, 16, 1), np.uint8)) or (0.0, 0.0)
    assert low == pytest.approx(np.log(0.02 / 0.98))
    assert high == pytest.approx(5, abs=0.01)
    assert read_range(lambda unit, training: np.full((len(unit), 1, 1, CHANNELS), -9.0), np.zeros((3, 8, 8, 1))) is None
