"""What rounds as int8 does, against the int8 file that is made of it, for every layer that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_model_optimization", reason="needs edgefer[optimize]")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from edgefer.errors import ExportError  # noqa: E402
from edgefer.optimize import fakequant  # noqa: E402
from edgefer.optimize.fold import fold  # noqa: E402
from edgefer.optimize.ranges import ranges  # noqa: E402
from edgefer.optimize.stored import probabilities  # noqa: E402
from edgefer.runtime.engines.litert import Engine  # noqa: E402
from edgefer.train.network import Network, from_keras, to_keras  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
L = keras.layers
FACES = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 1), dtype=np.uint8)


def plain(x: Any) -> Any:
    x = L.ReLU(name="relu")(L.BatchNormalization(name="bn")(L.Conv2D(8, 3, use_bias=False, name="conv")(x)))
    return L.GlobalAveragePooling2D(name="pool")(x)


def squeeze_excite(x: Any) -> Any:
    x = L.Conv2D(8, 3, activation="relu", name="conv")(x)
    s = L.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    s = L.Conv2D(4, 1, activation="relu", name="less")(s)
    s = L.Conv2D(8, 1, activation="sigmoid", name="excite")(s)
    return L.GlobalAveragePooling2D(name="pool")(L.Multiply(name="scaled")([x, s]))


def residual(x: Any) -> Any:
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="conv")(x)
    y = L.Conv2D(8, 3, padding="same", name="more")(x)
    x = L.ReLU(name="relu")(L.Add(name="sum")([x, y]))
    return L.Flatten(name="flat")(L.MaxPooling2D(4, name="max")(x))


def depthwise(x: Any) -> Any:
    x = L.Conv2D(8, 3, strides=2, name="conv")(x)
    x = L.ReLU(max_value=6, name="relu6")(x)
    x = L.DepthwiseConv2D(3, name="deep")(x)
    x = L.Activation("swish", name="swish")(x)
    return L.Flatten(name="flat")(L.AveragePooling2D(2, name="mean")(x))


def sigmoids(x: Any) -> Any:
    x = L.Conv2D(8, 3, activation="tanh", name="conv")(x)
    x = L.Conv2D(8, 3, activation="swish", strides=2, name="more")(x)
    return L.Dense(6, activation="sigmoid", name="last")(L.Flatten(name="flat")(x))


def joined(x: Any) -> Any:
    a = L.Conv2D(4, 3, padding="same", activation="relu", name="a")(x)
    b = L.Conv2D(4, 5, padding="same", name="b")(L.ZeroPadding2D(0, name="zeros")(x))
    return L.Flatten(name="flat")(L.MaxPooling2D(4, name="max")(L.Concatenate(name="both")([a, b])))


def scaled_between(x: Any) -> Any:
    x = L.MaxPooling2D(2, name="max")(L.Conv2D(8, 3, activation="relu", name="conv")(x))
    return L.Flatten(name="flat")(L.Dropout(0.3, name="drop")(L.BatchNormalization(name="bn")(x)))


def pyramid(x: Any) -> Any:
    x = L.Conv2D(8, 3, padding="same", strides=2, activation="relu", name="conv")(x)
    x = L.ZeroPadding2D(((0, 2), (0, 2)), name="zeros")(x)
    y = L.Conv2D(8, 3, padding="same", strides=2, name="less")(x)
    x = L.ReLU(name="relu")(L.Add(name="sum")([x, L.UpSampling2D(2, interpolation="bilinear", name="up")(y)]))
    return L.Flatten(name="flat")(L.MaxPooling2D(5, name="max")(x))


def made(body: Callable[[Any], Any]) -> Network:
    keras.utils.set_random_seed(1)
    picture = keras.Input((16, 16, 1), name="picture")
    net = keras.Model(picture, L.Dense(5, name="logits")(body(picture)), name="made")
    for layer in net.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([np.random.default_rng(2).uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return fold(from_keras(net))


def ends(network: Network, keep: tuple[str, ...] = ()) -> dict[str, tuple[float, float]]:
    net, names = to_keras(keras, network), fakequant.rounded(network, keep)
    taps = keras.Model(net.inputs[0], [net.get_layer(name).output for name in names])
    return ranges(taps, names, FACES.astype(np.float32) / 255, ["minmax"])["minmax"]


BODIES = [plain, squeeze_excite, residual, depthwise, sigmoids, joined, scaled_between, pyramid]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_the_file_computes_what_the_network_rounds_to(body: Callable[[Any], Any]) -> None:
    network = made(body)
    fakequant.check(network)
    model = fakequant.fake_quantised(tf_keras, network, ends(network))
    engine = Engine([fakequant.to_tflite(model, takes_pixels=True)], 1)
    found = engine.run(FACES)
    engine.close()
    assert np.abs(found - probabilities(model, FACES)).max() < 0.03
    assert np.abs(found - probabilities(to_keras(keras, network), FACES)).max() < 0.08


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_all_is_int8_but_the_softmax(body: Callable[[Any], Any]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    network = made(body)
    file = fakequant.to_tflite(fakequant.fake_quantised(tf_keras, network, ends(network)), takes_pixels=True)
    model = Interpreter(model_content=file, num_threads=1)
    model.allocate_tensors()
    operators = model._get_ops_details()
    [softmax] = [op for op in operators if op["op_name"] == "SOFTMAX"]
    floats = {t["index"] for t in model.get_tensor_details() if t["dtype"] == np.float32}
    result = model.get_output_details()[0]["index"]
    assert floats <= {int(softmax["inputs"][0]), int(softmax["outputs"][0]), result}
    if body in (plain, squeeze_excite, residual, pyramid):
        assert [op["op_name"] for op in operators].count("DELEGATE") == 1
    [entry] = model.get_input_details()
    assert entry["quantization"] == (pytest.approx(1 / 255, rel=1e-6), 0)


def test_kernels_are_rounded_where_relu_follows_without_batch_normalisation() -> None:
    """tensorflow-model-optimization's own scheme leaves them as they are."""
    network = made(plain)
    model = fakequant.fake_quantised(tf_keras, network, ends(network))
    [kernel] = [v for v in model.get_layer("quant_conv").weights if "kernel_max" in v.name]
    wanted = np.abs(network["conv"].weights[0]).max(axis=(0, 1, 2))
    np.testing.assert_allclose(np.array(kernel), wanted, rtol=1e-5)


def test_float_layers_are_float_and_so_is_what_reads_them() -> None:
    from ai_edge_litert.interpreter import Interpreter

    network = made(residual)
    keep = ("conv",)
    file = fakequant.to_tflite(fakequant.fake_quantised(tf_keras, network, ends(network, keep), keep), True)
    model = Interpreter(model_content=file)
    kernels = [t["dtype"] for t in model.get_tensor_details() if len(t["shape"]) == 4 and t["shape"][1] == 3]
    assert [np.dtype(k).name for k in kernels] == ["float32", "float32"]
    logits = [t["dtype"] for t in model.get_tensor_details() if tuple(t["shape"]) == (5, 128)]
    assert [np.dtype(k).name for k in logits] == ["int8"]


def test_weights_come_back_as_they_were() -> None:
    network = made(depthwise)
    model = fakequant.fake_quantised(tf_keras, network, ends(network))
    for node in network.nodes:
        for variable, weight in zip(fakequant.trained(model, node), node.weights, strict=True):
            np.testing.assert_array_equal(np.array(variable), weight)
    found = fakequant.get_ranges(model, fakequant.rounded(network))
    for name, (low, high) in ends(network).items():
        assert found[name] == (pytest.approx(min(low, 0)), pytest.approx(high))


def test_an_activation_without_an_int8_form_is_named() -> None:
    network = made(lambda x: L.Flatten(name="flat")(L.Conv2D(2, 3, activation="elu", name="odd")(x)))
    with pytest.raises(ExportError, match="'odd' has the activation 'elu': use relu or swish"):
        fakequant.check(network)


def test_repeated_pixels_are_named() -> None:
    network = made(lambda x: L.Flatten(name="flat")(L.UpSampling2D(2, name="up")(L.Conv2D(2, 3, name="conv")(x))))
    with pytest.raises(
        ExportError, match="'up' repeats pixels, which int8 runtimes have no fast form of: use bilinear"
    ):
        fakequant.check(network)
