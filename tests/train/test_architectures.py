"""Every architecture: what it takes and gives, its exact size, its pixel scale, its weights and frozen layers."""

from __future__ import annotations

import gc
import hashlib
import http.server
import math
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgefer.errors import TrainError
from edgefer.train import architectures
from edgefer.train.macs import count_macs
from edgefer.train.recipe import load_recipe, recipe_names

pytest.importorskip("keras", reason="needs edgefer[train]")

from edgefer.train.architectures import _imagenet, efficientnet, resnet50, vgg19
from edgefer.train.backend import load_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3 on numpy 2
FACTS = {name: facts for name, facts in architectures.facts().items() if facts.trainer == "keras"}
PRETRAINED = [name for name in FACTS if FACTS[name].pretrained]
# The documents' figures: all parameters, and those trained.
DOCUMENTS = {
    "mlp": (1_353_799, 1_353_799),
    "custom-cnn": (353_287, 353_031),
    "vgg19-transfer": (20_024_384 + 499_943, 499_943),
    "vgg19-full": (20_027_975, 20_027_975),
    "resnet50": (23_602_055, 23_548_935),
    "efficientnetv2-l": (117_755_815, 8_967),
    "deep-cnn": (4_181_895, 4_178_439),
}
PICTURES = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype(np.float32) / np.float32(255)


def params(names: Any) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] if n == "efficientnetv2-l" else []) for n in names]


def build(name: str, classes: int = 7, **options: Any) -> Any:
    return architectures.build(load_keras(), name, classes, **options)


def unfrozen(name: str) -> int:
    """Return how many layers the architecture's own recipe trains."""
    return load_recipe(name).unfreeze if name in recipe_names() else -1


@pytest.fixture(scope="module", params=params(FACTS))
def net(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each architecture with 7 classes as its own recipe builds it, but for the weights; one at a time is alive."""
    yield build(request.param, unfreeze=unfrozen(request.param))
    gc.collect()


def at(net: Any, layer: str) -> np.ndarray:
    """Return what `layer` is given, or gives where it is `rgb` or `pixels`, for PICTURES."""
    tensor = net.get_layer(layer).output if layer in ("rgb", "pixels") else net.get_layer(layer).input
    return np.asarray(load_keras().Model(net.input, tensor)(PICTURES, training=False))


def sizes(net: Any) -> tuple[int, int]:
    return net.count_params(), sum(math.prod(w.shape) for w in net.trainable_weights)


def test_size_is_what_the_facts_and_the_documents_say(net: Any) -> None:
    facts = FACTS[net.name]
    assert (*sizes(net), count_macs(net)) == (facts.parameters, facts.trainable, facts.macs)
    assert sizes(net) == DOCUMENTS.get(net.name, sizes(net))


def test_it_takes_a_grey_picture_and_sees_what_the_facts_say(net: Any) -> None:
    assert (net.input.shape, net.input.dtype) == ((None, 48, 48, 1), "float32")
    if FACTS[net.name].inner == "48×48×1":
        assert "rgb" not in [layer.name for layer in net.layers]
        return
    seen = at(net, "rgb")
    side = seen.shape[1]
    assert FACTS[net.name].inner == f"{side}×{side}×3"
    expected = np.stack([cv2.resize(p, (side, side), interpolation=cv2.INTER_LINEAR) for p in PICTURES])
    np.testing.assert_allclose(seen, np.repeat(expected[..., None], 3, axis=-1), atol=1e-5)


def test_pixels_are_on_the_scale_of_the_imagenet_weights(net: Any) -> None:
    if not FACTS[net.name].pretrained:
        assert "pixels" not in [layer.name for layer in net.layers]
        return
    pixels, grey = at(net, "pixels"), 255 * at(net, "rgb")
    if not net.name.startswith("efficientnet"):
        applications = load_keras().applications
        preprocess = (applications.resnet50 if net.name == "resnet50" else applications.vgg19).preprocess_input
        np.testing.assert_allclose(pixels, preprocess(np.array(grey)), atol=1e-3)
        return
    np.testing.assert_allclose(pixels, grey, atol=1e-3)  # and the rest inside
    if net.name == "efficientnetv2-l":
        np.testing.assert_allclose(at(net, "stem_conv"), grey / 128 - 1, atol=1e-5)
    else:
        np.testing.assert_allclose(
            at(net, "stem_conv_pad"), (grey / 255 - efficientnet.MEAN) / efficientnet.DEVIATION, atol=1e-4
        )


def test_a_step_trains_what_is_trainable_and_leaves_the_rest(net: Any) -> None:
    keras = load_keras()
    fixed = [w for layer in net.layers if not layer.trainable for w in layer.weights]
    moving = net.trainable_weights
    before = [np.asarray(w).copy() for w in fixed], [np.asarray(w).copy() for w in moving]
    net.compile(keras.optimizers.SGD(1e-2), keras.losses.CategoricalCrossentropy(from_logits=True), run_eagerly=True)
    # Soft targets: a frozen network of random weights may be wholly sure of a label, and then has no gradient for it.
    targets = np.full((2, 7), 0.1, np.float32)
    targets[:, 3] = 0.4
    loss = net.train_on_batch(PICTURES, targets)
    assert np.isfinite(loss)
    for w, old in zip(fixed, before[0], strict=True):
        np.testing.assert_array_equal(np.asarray(w), old, err_msg=w.path)
    # Not every one: a unit that ReLU silences has no gradient, and SGD then leaves it.
    changed = [not np.array_equal(np.asarray(w), old) for w, old in zip(moving, before[1], strict=True)]
    assert changed[-1], "the bias of the logits"
    assert sum(changed) > len(changed) / 2


@pytest.mark.parametrize("name", [n for n in FACTS if n != "efficientnetv2-l"])  # whose 7 classes are seen above
def test_it_gives_as_many_logits_as_there_are_classes(name: str) -> None:
    net = build(name, 5)
    assert net.name == name
    assert (net.output.shape, net.output.dtype) == ((None, 5), "float32")


def test_sizes_of_the_layers_of_mlp() -> None:
    found = [layer.count_params() for layer in build("mlp").layers if layer.count_params()]
    assert found == [1180160, 131328, 32896, 8256, 1040, 119]


def test_mlp_relu_ends_in_relu_divided_by_its_sum() -> None:
    keras = load_keras()
    net = build("mlp-relu")
    net.get_layer("logits").bias.assign(np.linspace(-0.5, 1, 7))
    z = np.asarray(keras.Model(net.input, net.get_layer("logits").output)(PICTURES), np.float64)
    assert (z < 0).any(axis=1).all()
    powers = np.exp(np.asarray(net(PICTURES), np.float64))
    expected = np.maximum(z, 0) / np.maximum(z, 0).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), expected, atol=1e-5)


def test_only_the_last_layers_train_and_no_batch_normalisation() -> None:
    keras = load_keras()
    last = keras.applications.ResNet50(include_top=False, weights=None).layers[-20:]
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in last)
    net = build("resnet50", unfreeze=20)
    training = [layer.name for layer in net.layers if layer.trainable_weights]
    assert training == [layer.name for layer in last if isinstance(layer, keras.layers.Conv2D)] + ["logits"]
    test_a_step_trains_what_is_trainable_and_leaves_the_rest(net)


@pytest.mark.parametrize("unfreeze", [-2, 10_000])
def test_unfreeze_out_of_range(unfreeze: int) -> None:
    with pytest.raises(TrainError, match=r"unfreeze = .* vgg19 has 23 layers"):
        build("vgg19-full", unfreeze=unfreeze)


def legacy(core: Any, path: Path) -> Path:
    """Write the weights in the format of the files that Keras publishes."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, core)
    return path


def same_weights(net: Any, core: Any) -> None:
    """Check that `net` starts with the weights of `core`; its head comes last."""
    for w, expected in zip(net.weights, core.weights, strict=False):
        np.testing.assert_array_equal(np.asarray(w), np.asarray(expected), err_msg=w.path)


@pytest.mark.parametrize("format", ["core.weights.h5", "core_notop.h5"])
def test_a_backbone_saved_by_keras_comes_back(format: str, tmp_path: Path) -> None:
    core = load_keras().applications.VGG19(include_top=False, weights=None)
    if format == "core_notop.h5":
        legacy(core, tmp_path / format)
    else:
        core.save_weights(tmp_path / format)
    same_weights(build("vgg19-full", weights=str(tmp_path / format)), core)


def test_the_published_efficientnet_comes_back_with_its_deviation_made_a_variance(tmp_path: Path) -> None:
    core = load_keras().applications.EfficientNetB2(include_top=False, weights=None)
    rng = np.random.default_rng(1)
    core.set_weights([rng.random(w.shape).astype(w.dtype) for w in core.weights])
    (normalise,) = (layer for layer in core.layers if type(layer).__name__ == "Normalization")
    mean, deviation = np.float32(efficientnet.MEAN), np.float32(efficientnet.DEVIATION)
    normalise.set_weights([mean, deviation, np.int32(0)])
    net = build("efficientnet-b2", weights=str(legacy(core, tmp_path / "efficientnetb2_notop.h5")))
    normalise.set_weights([mean, deviation**2, np.int32(0)])
    same_weights(net, core)
    np.testing.assert_allclose(at(net, "stem_conv_pad"), (at(net, "rgb") - mean) / deviation, atol=1e-4)


def test_a_trained_network_is_built_again_without_its_first_weights(tmp_path: Path) -> None:
    net = build("efficientnet-b2", unfreeze=0)
    layer = next(layer for layer in net.layers if type(layer).__name__ == "Normalization")
    layer.set_weights([np.float32([0.1, 0.2, 0.3]), np.float32([0.5, 0.6, 0.7]), np.int32(0)])
    layer.finalize_state()
    net.save_weights(tmp_path / "net.weights.h5")
    again = build("efficientnet-b2")  # as an exporter does it
    again.load_weights(tmp_path / "net.weights.h5")
    assert len(again.weights) == len(net.weights)
    same_weights(again, net)
    np.testing.assert_array_equal(at(again, "stem_conv_pad"), at(net, "stem_conv_pad"))


def test_a_weights_file_that_is_not_right(tmp_path: Path) -> None:
    text, short, other = tmp_path / "text.h5", tmp_path / "short.h5", tmp_path / "other.weights.h5"
    text.write_text("no weights")
    core = load_keras().applications.MobileNet(include_top=False, weights=None, input_shape=(48, 48, 3))
    short.write_bytes(legacy(core, tmp_path / "mobilenet.h5").read_bytes()[:100_000])
    core.save_weights(other)
    wrong = "does not hold the weights of vgg19 without its classifier"
    for path, message in (
        (tmp_path / "none.h5", "there is no weights file"),
        (text, "is not a Keras weights file"),
        (tmp_path, "there is no weights file"),
        (short, wrong),
        (other, wrong),
        (tmp_path / "mobilenet.h5", wrong),
    ):
        with pytest.raises(TrainError, match=message) as error:
            build("vgg19-full", weights=str(path))
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)


def test_weights_for_a_network_without_a_pretrained_part() -> None:
    with pytest.raises(TrainError, match=f"has no pretrained part.*{PRETRAINED[0]}"):
        build("mlp", weights="imagenet")


def test_the_published_files_are_those_of_keras() -> None:
    from keras.src.applications import efficientnet as b
    from keras.src.applications import efficientnet_v2 as v2
    from keras.src.applications import resnet
    from keras.src.applications import vgg19 as vgg

    assert vgg19.WEIGHTS.url == vgg.WEIGHTS_PATH_NO_TOP
    assert f'file_hash="{vgg19.WEIGHTS.md5}"' in Path(str(vgg.__file__)).read_text()
    assert resnet50.WEIGHTS.url.startswith(resnet.BASE_WEIGHTS_PATH)
    assert resnet50.WEIGHTS.md5 == resnet.WEIGHTS_HASHES["resnet50"][1]
    large, b2 = efficientnet.WEIGHTS["efficientnetv2-l"], efficientnet.WEIGHTS["efficientnet-b2"]
    assert (large.url, large.md5) == (f"{v2.BASE_WEIGHTS_PATH}efficientnetv2-l_notop.h5", v2.WEIGHTS_HASHES["-l"][1])
    assert (b2.url, b2.md5) == (f"{b.BASE_WEIGHTS_PATH}efficientnetb2_notop.h5", b.WEIGHTS_HASHES["b2"][1])


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of its first use
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there: no network
    return tmp_path / "keras" / "models"


@pytest.mark.parametrize("name", PRETRAINED)
def test_imagenet_weights_without_a_network(name: str, keras_home: Path) -> None:
    family = vgg19 if name.startswith("vgg") else resnet50
    published = efficientnet.WEIGHTS.get(name, family.WEIGHTS)
    with pytest.raises(TrainError) as error:
        build(name, weights="imagenet")
    message = str(error.value)
    assert "\n" not in message
    for part in (published.path.name, str(keras_home), published.url, "--weights FILE", "--weights none"):
        assert part in message
    assert not keras_home.exists() or not list(keras_home.iterdir())


def test_imagenet_weights_cut_short_in_the_cache(keras_home: Path) -> None:
    keras_home.mkdir(parents=True)
    vgg19.WEIGHTS.path.write_bytes(b"\x89HDF\r\n\x1a\n cut short")
    with pytest.raises(TrainError, match=r"vgg19_weights.*_notop\.h5 is not what Keras publishes.*delete it"):
        build("vgg19-full", weights="imagenet")


CONTENT = bytes(range(256)) * 9000


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/missing.h5" else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 100_000 if self.path == "/short.h5" else None])

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def test_a_download_is_whole_or_nothing(keras_home: Path) -> None:
    server = http.server.ThreadingHTTPServer(("localhost", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url, md5 = f"http://localhost:{server.server_port}", hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    try:
        for name, digest, message in (
            ("short", md5, "cut short or changed"),
            ("missing", md5, "HTTP Error 404"),
            ("changed", "0" * 32, "cut short or changed"),
        ):
            with pytest.raises(TrainError, match=message):
                _imagenet.fetch(_imagenet.Published(f"{url}/{name}.h5", digest))
            assert not keras_home.exists() or not list(keras_home.iterdir()), name
        _imagenet.fetch(_imagenet.Published(f"{url}/whole.h5", md5))
        assert [f.name for f in keras_home.iterdir()] == ["whole.h5"]
        assert (keras_home / "whole.h5").read_bytes() == CONTENT
    finally:
        server.shutdown()
        server.server_close()


def test_macs_counted_by_hand() -> None:
    keras = load_keras()
    layers = keras.layers
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)])
    x = inputs = keras.Input((16, 16, 2))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(x)  # 8·8 · 3·3·2·4
    x = inner(x)  # 8·8 · 3·3·4·2
    x = layers.Conv2D(6, 3, groups=2)(x)  # 6·6 · 3·3·4·6
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(5, 3)(x)  # 4·4 · (3·3·6 + 6·5)
    x = layers.Dense(3)(x)  # 4·4 · 5·3
    x = layers.Dense(2)(layers.Flatten()(x))  # 48·2
    expected = 64 * 72 + 64 * 72 + 36 * 216 + 16 * (54 + 30) + 16 * 15 + 96
    assert count_macs(keras.Model(inputs, x)) == expected
