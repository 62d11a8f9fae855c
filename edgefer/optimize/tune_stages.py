"""What differs between the stages of fine-tuning: how the network is wrapped, and how an epoch is judged."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.optimize import fakequant, worker
from edgefer.optimize.fold import fold, without_noise
from edgefer.optimize.narrow import narrow
from edgefer.optimize.ranges import ranges
from edgefer.optimize.tune import Faces, Tuned, Tuning
from edgefer.train import network as networks
from edgefer.train.network import Network, Node

KERNELS = ("Conv2D", "Dense")
"""Layers whose kernels are pruned and clustered; depthwise ones hold too few weights to lose any."""
LEAST_WEIGHTS = 1000
"""Smaller kernels are left alone."""
SPARSE = 0.1
"""A kernel with more zeros than this was pruned, and its zeros are kept."""
MOST_VALUES = 256
"""A kernel with at most so many different weights was clustered, and its weights stay together."""


@dataclass(frozen=True)
class Stage:
    """What differs between the stages."""

    model: Any
    """The tf_keras.Model that is trained."""
    result: Callable[[], Tuned]
    """Reads the network as it is now."""
    accuracy: Callable[[Tuned], float]
    """Of that network on validation, in the form that counts."""
    after: Callable[[], None]
    """Done after each step, inside the compiled function."""
    first_usable: int = 0
    """Number of epochs whose networks cannot be the result."""


def prepare(keras: Any, tuning: Tuning, start: Network, faces: Faces, keep_float: Sequence[str]) -> Stage:
    """Return the stage that `tuning` names, ready to be trained; `keras` is tf_keras."""
    if tuning.stage == "narrow":
        return _narrowing(keras, tuning, start, faces)
    network = fold(start)
    if tuning.stage == "prune":
        return _pruning(keras, tuning, network, faces)
    if tuning.stage == "cluster":
        return _clustering(keras, tuning, network, faces)
    return _quantising(keras, network, faces, keep_float)


def _narrowing(keras: Any, tuning: Tuning, start: Network, faces: Faces) -> Stage:
    worker.tell(say="measuring which channels matter")
    start = without_noise(start)  # a resumed run could not draw the same noise
    network = narrow(start, importances(keras, fold(start), faces), round(start.macs * (1 - tuning.amount)))
    worker.tell(say=f"MACs {start.macs:,} → {network.macs:,}, parameters {start.parameters:,} → {network.parameters:,}")
    model = networks.to_keras(keras, network)

    def result() -> Tuned:
        return Tuned(networks.with_weights(network, model), {}, ())

    return Stage(model, result, lambda tuned: _accuracy(model, faces), lambda: None)


def importances(keras: Any, network: Network, faces: Faces, batches: int = 64) -> dict[str, npt.NDArray[np.float64]]:
    """Return, for each convolution and dense layer of a folded network, how much the loss hangs on each channel.

    The squared change of the loss, to first order, if the channel were gone, as a mean over batches of training
    pictures (Molchanov et al., "Importance estimation for neural network pruning", 2019).
    """
    import tensorflow as tf

    model = networks.to_keras(keras, network)
    nodes = [node for node in network.nodes if node.kind in (*fakequant.KERNELS, "SeparableConv2D")]
    # A separable convolution makes its channels with its second kernel.
    variables = [model.get_layer(node.name).weights[node.kind == "SeparableConv2D" :] for node in nodes]
    totals = {node.name: np.zeros(node.shape[-1]) for node in nodes}

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def gradients(pictures: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(tf.cast(pictures, tf.float32) / 255.0, training=False)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        return tape.gradient(loss, variables)

    rows = np.random.default_rng(0).permutation(len(faces.images))
    for k in range(min(batches, -(-len(rows) // 64))):
        part = rows[k * 64 : (k + 1) * 64]
        for node, values, slopes in zip(
            nodes, variables, gradients(faces.images[part], faces.targets[part]), strict=True
        ):
            change = np.zeros(node.shape[-1])
            for value, slope in zip(values, slopes, strict=True):
                product = np.asarray(value, np.float64) * np.asarray(slope, np.float64)
                change += product.reshape(-1, node.shape[-1]).sum(axis=0)
            totals[node.name] += change**2
    return totals


def _pruning(keras: Any, tuning: Tuning, network: Network, faces: Faces) -> Stage:
    """Small weights become zero while training goes on (Zhu and Gupta, "To prune, or not to prune", 2017)."""
    import tensorflow_model_optimization as tfmot

    steps = steps_of(tuning, faces)
    # The sparsity rises over the first two thirds; the rest is for the weights that stay.
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, tuning.amount, 0, max(2, steps * tuning.epochs * 2 // 3), frequency=max(1, steps // 20)
    )

    def wrap(layer: Any, node: Node) -> Any:
        if not _compressible(network, node):
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)

    model = networks.to_keras(keras, network, wrap)
    found = {layer.name.removeprefix("prune_low_magnitude_"): layer for layer in model.layers}
    for node in network.nodes:
        layer = found[node.name]
        for variable, value in zip(layer.weights, node.weights, strict=False):
            variable.assign(value)
        if hasattr(layer, "pruning_step"):
            layer.pruning_step.assign(0)  # what the library's callback for `fit` does

    def result() -> Tuned:
        nodes = []
        for node in network.nodes:
            layer = found[node.name]
            weights = [np.array(v) for v in layer.weights[: len(node.weights)]]
            if hasattr(layer, "pruning_vars"):
                weights[0] *= np.array(layer.pruning_vars[0][1])  # the last step moved zeros once more
            nodes.append(dataclasses.replace(node, weights=tuple(weights)))
        return Tuned(dataclasses.replace(network, nodes=tuple(nodes)), {}, ())

    def accuracy(tuned: Tuned) -> float:
        return _accuracy(networks.to_keras(keras, tuned.network), faces)

    return Stage(model, result, accuracy, lambda: None, math.ceil(tuning.epochs * 2 / 3) - 1)


def _clustering(keras: Any, tuning: Tuning, network: Network, faces: Faces) -> Stage:
    """Weights of a layer share few values, which are trained further together."""
    import tensorflow_model_optimization as tfmot

    worker.tell(say=f"gathering the weights of each layer around {tuning.amount:g} values")
    plain = networks.to_keras(keras, network)

    def wrap(layer: Any) -> Any:
        if isinstance(layer, keras.layers.InputLayer) or not _compressible(network, network[layer.name]):
            return layer
        return tfmot.clustering.keras.cluster_weights(
            layer,
            number_of_clusters=int(tuning.amount),
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=_sparsity(network[layer.name]) > SPARSE,
        )

    wrapped = keras.models.clone_model(plain, clone_function=wrap)
    network = networks.with_weights(network, tfmot.clustering.keras.strip_clustering(wrapped))
    model = networks.to_keras(keras, network)

    def result() -> Tuned:
        return Tuned(networks.with_weights(network, model), {}, ())

    return Stage(model, result, lambda tuned: _accuracy(model, faces), _projection(network, model))


def _compressible(network: Network, node: Node) -> bool:
    """Return whether a kernel is pruned and clustered; the first and the last one are small, and decide much."""
    return node.kind in KERNELS and node is not network.nodes[-1] and node.weights[0].size >= LEAST_WEIGHTS


def _quantising(keras: Any, network: Network, faces: Faces, keep_float: Sequence[str]) -> Stage:
    fakequant.check(network, keep_float)
    plain = networks.to_keras(keras, network)
    names = fakequant.rounded(network, keep_float)
    taps = keras.Model(plain.input, [plain.get_layer(name).output for name in names])
    unit = faces.calibration.astype(np.float32) / np.float32(255)
    model = fakequant.fake_quantised(
        keras, network, ranges(taps, names, unit, ["percentile"])["percentile"], keep_float
    )

    def result() -> Tuned:
        weights = {node.name: fakequant.trained(model, node) for node in network.nodes}
        nodes = tuple(
            dataclasses.replace(node, weights=tuple(np.array(w) for w in weights[node.name])) for node in network.nodes
        )
        return Tuned(dataclasses.replace(network, nodes=nodes), fakequant.get_ranges(model, names), ())

    def accuracy(tuned: Tuned) -> float:
        from edgefer.runtime.engines.litert import Engine

        # Built anew as the exporter will build it: the kernels' ranges in `model` are those of the step before.
        built = fakequant.fake_quantised(keras, tuned.network, tuned.ranges, keep_float)
        engine = Engine([fakequant.to_tflite(built, takes_pixels=True)], threads=1)
        found = engine.run(faces.validation).argmax(axis=1)
        engine.close()
        return float((found == faces.labels).mean())

    return Stage(model, result, accuracy, _projection(network, model))


def _sparsity(node: Node) -> float:
    return float((node.weights[0] == 0).mean()) if node.weights else 0.0


def _projection(network: Network, model: Any) -> Callable[[], None]:
    """Return what keeps zeros zero, and weights that share a value equal, while a network is trained further."""
    import tensorflow as tf

    masks: list[tuple[Any, Any]] = []
    shared: list[tuple[Any, Any, Any]] = []
    for node in network.nodes:
        if node.kind not in KERNELS:
            continue
        kernel = node.weights[0]
        values, places = np.unique(kernel, return_inverse=True)
        variable = fakequant.trained(model, node)[0]
        if len(values) <= MOST_VALUES and kernel.size > 4 * len(values):
            alive = tf.constant((values != 0).astype(np.float32))
            shared.append((variable, tf.constant(places.reshape(-1)), alive))
        elif _sparsity(node) > SPARSE:
            masks.append((variable, tf.constant(kernel != 0, tf.float32)))

    def project() -> None:
        for variable, mask in masks:
            variable.assign(variable * mask)
        for variable, places, alive in shared:
            means = tf.math.unsorted_segment_mean(tf.reshape(variable, [-1]), places, alive.shape[0])
            variable.assign(tf.reshape(tf.gather(means * alive, places), variable.shape))

    return project


def steps_of(tuning: Tuning, faces: Faces) -> int:
    """Return the number of steps in an epoch."""
    return max(1, len(faces.images) // min(tuning.batch, len(faces.images)))


def _accuracy(model: Any, faces: Faces) -> float:
    """Return the accuracy of a float network on validation."""
    found = [
        np.asarray(model(faces.validation[i : i + 256].astype(np.float32) / np.float32(255), training=False))
        for i in range(0, len(faces.validation), 256)
    ]
    return float((np.concatenate(found).argmax(axis=1) == faces.labels).mean())
