"""Keras: taken apart into plain layers, with the preprocessing in front and logits behind, ready for `edgefer export`.

Nothing of the file is executed: its configuration is read first, and only Keras's own layers of known kinds pass.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgefer import plugins
from edgefer.errors import ExportError, TrainError
from edgefer.optimize.importers import Built, Choice, Found, Opened, Scaling, picture_shape, softmax
from edgefer.train import network, network_file

SUFFIXES = (".keras", ".h5", ".hdf5")
CONTAINERS = ("Functional", "Model", "Sequential")
INERT = (
    "ActivityRegularization",
    "AlphaDropout",
    "GaussianDropout",
    "Identity",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
)
"""They do something in training alone and are left out."""
HELPERS = ("initializers", "regularizers", "constraints", "optimizers", "losses", "metrics")
"""Modules of keras whose classes layers, and compiled models inside of the model, are set up with."""
FORMS = ("__tensor__", "__keras_tensor__", "__tuple__", "TensorShape", "DTypePolicy", "Policy")
"""Names that are written like classes for plain values."""
OLD_SETTINGS_OF = ("DepthwiseConv2D", "SeparableConv2D")
OLD_SETTINGS = ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint")
MAX_CONFIG_BYTES = 20_000_000
MAX_WEIGHTS_BYTES = 1_000_000_000
TOLERANCE = 1e-3


def open_model(path: Path) -> Opened:
    """Read the file; raises ExportError for what is no whole Keras model, or holds code or unknown layers."""
    for module in ("tensorflow", "h5py"):
        plugins.require(module, "train", "importing Keras models")
    keras = plugins.require("keras", "train", "importing Keras models")
    config = _config(path)
    _check(keras, config)
    try:
        _modernise(path, config)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # of every kind, for a file that is not as it should be
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ExportError(f"Keras {keras.__version__} does not load the model: {reason}") from error
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ExportError(
            f"the model must have one input and one output; found {len(model.inputs)} and {len(model.outputs)}"
        )
    layout, size, channels = picture_shape(list(model.input_shape))
    shape = model.output_shape
    if len(shape) != 2 or shape[1] is None:
        raise ExportError(f"the model must give one row of values for a picture; found the shape {list(shape)}")
    dtype = str(model.inputs[0].dtype)
    if dtype not in ("float32", "float16", "uint8") or layout != "NHWC":
        raise ExportError(f"the model must take float32 pictures with channels last; found {dtype}, {layout}")
    found = Found("keras", model.name, dtype, layout, size, channels, int(shape[1]))
    return Opened(found, lambda values: np.asarray(model(values, training=False)), model)


def build(opened: Opened, choice: Choice, folder: Path) -> Built:
    """Return the weights and the layers of a network, float32 [n, size, size, 1] in [0, 1] → logits.

    Raises ExportError when a layer cannot be taken over, or the network does not answer like the model.
    """
    import keras

    try:
        net = network.from_keras(_flat(keras, opened.held, opened.found, choice))
    except TrainError as error:
        raise ExportError(str(error)) from error
    net = _ending_in_logits(net, choice)
    model = network.to_keras(keras, net)
    weights = folder / "model.weights.h5"
    model.save_weights(weights)
    _compare(opened, model, choice)
    files = {
        f"{choice.name}.weights.h5": weights.read_bytes(),
        f"{choice.name}.network.json": network_file.as_json(net),
    }
    note = "it holds a network and nothing that runs yet"
    return Built({("keras", "fp32"): files}, (note,))


def _flat(keras: Any, model: Any, found: Found, choice: Choice) -> Any:
    """Return a model of fresh layers: models inside of the model dissolved, preprocessing in front."""
    names: set[str] = set()
    pairs: list[tuple[Any, Any]] = []

    def fresh(operation: Any) -> Any:
        if type(operation).__name__ in CONTAINERS:
            inner = keras.Model(operation.inputs, operation.outputs)
            return lambda values, **_: inner._run_through_graph(values, operation_fn=fresh)
        if type(operation).__name__ in INERT:
            return lambda values, **_: values
        if type(operation).__name__ not in network.SETTINGS:
            raise ExportError(_unknown(operation.name, type(operation).__name__))
        config = operation.get_config() | {"name": _free_name(operation.name, names), "dtype": "float32"}
        layer = type(operation).from_config(config)
        pairs.append((operation, layer))
        return layer

    pixels = keras.Input((found.size, found.size, 1), name=_free_name("pixels", names))
    values = _scaled(keras, pixels, choice.scaling or Scaling("raw", (0.0,), (1.0,)), found.channels)
    whole = keras.Model(model.inputs, model.outputs)
    outputs = whole._run_through_graph(values, operation_fn=fresh)
    flat = keras.Model(pixels, outputs[0] if isinstance(outputs, (list, tuple)) else outputs, name=choice.name)
    for old, new in pairs:
        new.set_weights(old.get_weights())
    return flat


def _scaled(keras: Any, pixels: Any, scaling: Scaling, channels: int) -> Any:
    """Return (255 · pixels - mean) / std, float32 [n, size, size, channels], made of layers."""
    rescaled = []
    for i, (mean, std) in enumerate(zip(scaling.mean, scaling.std, strict=True)):
        scale, offset = 255 / std, -mean / std
        plain = (scale, offset) == (1, 0)
        rescaled.append(pixels if plain else keras.layers.Rescaling(scale, offset, name=f"preprocess_{i}")(pixels))
    if channels == 1:
        return rescaled[0]
    return keras.layers.Concatenate(name="preprocess_channels")(rescaled if len(rescaled) > 1 else rescaled * channels)


def _free_name(name: str, taken: set[str]) -> str:
    """Return the name of a layer, with a number behind when another has it."""
    name = name.replace("/", "_")
    free = next(n for i in range(len(taken) + 1) if (n := f"{name}_{i}" if i else name) not in taken)
    taken.add(free)
    return free


def _ending_in_logits(net: network.Network, choice: Choice) -> network.Network:
    """Return the network without the softmax at its end; raises ExportError when another layer gives probabilities."""
    last = net.nodes[-1]
    if choice.output == "logits":
        return net
    if last.kind == "Softmax" or (last.kind == "Activation" and last.settings["activation"] == "softmax"):
        before = network.Network(net.name, net.nodes[:-1])
        nodes = sorted(before.nodes, key=lambda node: node.name == last.inputs[0])  # stable: what it took goes last
        return network.Network(net.name, tuple(nodes))
    if last.settings.get("activation") == "softmax":
        return network.replace_node(net, last.name, settings={**last.settings, "activation": "linear"})
    raise ExportError(
        f"the model gives probabilities, but its last layer {last.name!r} ({last.kind}) is no softmax, which could be"
        " cut off; end it in a Dense layer with softmax"
    )


def _compare(opened: Opened, model: Any, choice: Choice) -> None:
    """Raise ExportError when the network answers otherwise than the file's model."""
    size = opened.found.size
    pixels = np.random.default_rng(0).integers(0, 256, (4, size, size, 1), dtype=np.uint8)
    expected = opened.values(pixels, choice.scaling)
    expected = softmax(expected) if choice.output == "logits" else expected
    found = softmax(np.asarray(model(pixels.astype(np.float32) / np.float32(255), training=False)))
    half = "16" in str(opened.held.compute_dtype)
    difference = float(np.abs(found - expected).max())
    if not difference <= (20 * TOLERANCE if half else TOLERANCE):
        raise ExportError(f"the network made of the layers differs from the model by {difference:.3g}; not imported")


def _config(path: Path) -> Any:
    """Return the configuration in the file; raises ExportError when there is none."""
    data = path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            if "config.json" not in sizes or "model.weights.h5" not in sizes:
                raise ExportError(
                    "the file is a zip archive, but not a Keras model: config.json or weights are missing"
                )
            if sizes["config.json"] > MAX_CONFIG_BYTES or sum(sizes.values()) > MAX_WEIGHTS_BYTES:
                raise ExportError(f"the file holds {sum(sizes.values()):,} bytes, which is too much")
            try:
                text = archive.read("config.json")
                _refuse_links(archive.read("model.weights.h5"))
            except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
                raise ExportError(f"the file is a broken Keras model: {error}") from error
    else:
        text = _refuse_links(data)
        if not text:
            raise ExportError(
                "the file holds weights only, not the layers that they belong to; save the whole model:"
                " model.save('model.keras')"
            )
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ExportError(f"the file is a broken Keras model: its configuration is not JSON ({error})") from error


def _refuse_links(data: bytes) -> bytes:
    """Return `model_config` of an HDF5 file, empty without; raises ExportError when it refers to other files."""
    import h5py

    def check(group: Any) -> None:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ExportError(f"the weights {name!r} lie in another place or file, which is refused")
            item = group[name]
            if isinstance(item, h5py.Group):
                check(item)
            elif item.external or item.is_virtual or item.nbytes > MAX_WEIGHTS_BYTES:
                raise ExportError(f"the weights {name!r} lie in another file, or are too large; refused")

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            check(file)
            config = file.attrs.get("model_config", b"")
            return config.encode() if isinstance(config, str) else bytes(config)
    except (OSError, KeyError, RuntimeError, RecursionError) as error:
        raise ExportError(f"the file is neither a .keras archive nor HDF5, or it was cut short: {error}") from error


def _modernise(path: Path, config: Any) -> None:
    """Take settings out of an old HDF5 file that Keras 2 wrote and Keras 3 refuses, though they mean nothing."""
    import h5py

    changed = False
    for entry in _entries(config):
        inner = entry.get("config")
        if entry["class_name"] in OLD_SETTINGS_OF and isinstance(inner, dict) and inner.get("groups", 1) == 1:
            changed |= any([inner.pop(key, None) is not None for key in OLD_SETTINGS])
    if changed and h5py.is_hdf5(path):
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)


def _check(keras: Any, config: Any) -> None:
    """Raise ExportError that names the first layer that holds code or is not one of Keras's known ones."""
    if isinstance(config, dict):
        config = {**config, "compile_config": None}  # nothing is compiled, so a loss of one's own does no harm
    for entry in _entries(config):
        kind, module = str(entry["class_name"]), str(entry.get("module") or "keras")
        inner = entry.get("config")
        name = str(inner.get("name", kind) if isinstance(inner, dict) else kind)[:80]
        own = module.partition(".")[0] == "keras" and ">" not in str(entry.get("registered_name") or "")
        helper = any(isinstance(getattr(getattr(keras, place), kind, None), type) for place in HELPERS)
        if not own or not (helper or kind in (*network.SETTINGS, *CONTAINERS, *INERT, *FORMS)):
            raise ExportError(_unknown(name, kind))


def _entries(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Give every object in the configuration that names a class."""
    if depth > 100:
        raise ExportError("the model's configuration is nested too deep")
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _entries(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner, depth + 1)


def _unknown(name: str, kind: str) -> str:
    if kind == "Lambda":
        return f"the layer {name!r} is a Lambda: it holds code, which is refused; write it with layers and save again"
    return (
        f"the layer {name!r} is a {kind}, which cannot be taken over; known are"
        f" {', '.join(sorted({*network.SETTINGS, *CONTAINERS}))}"
    )
