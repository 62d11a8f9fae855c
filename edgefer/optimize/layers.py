"""Which layers lose most in int8: the float and the int8 model side by side, layer by layer.

A layer's noise is not weighed by how large its values are but by what the layers after it make of them. A network
computes the same when one channel is multiplied by 1000 and its readers' weights are divided by 1000; in int8 the
other channels are then gone, though nearly all of the layer's power is still there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.optimize.fakequant import PASSING
from edgefer.optimize.fold import fold
from edgefer.optimize.tflite_tensors import Matrix, Model
from edgefer.train.network import Network, Node

BEST = 50.0
"""dB that 8 bits have at best: a full-scale sine wave rounded to 256 steps. The picture counts as this good."""
WORST = 15.0
"""dB of its own below which a layer is named: about 3 % of what it should say is then noise."""
CLIPPED = 0.001
"""Share of clipped values that is worth a word."""
EXTREME = 30.0
"""Times that the largest channel's weights are those of the median one: more is extreme."""


@dataclass(frozen=True)
class LayerLoss:
    """What int8 makes of the output of one layer, or of several that are computed as one."""

    name: str
    """The first of `layers`: that with the weights, if one has any."""
    layers: tuple[str, ...]
    """The layers that the tensor stands for, such as a convolution and its ReLU."""
    noise: float
    """Signal to noise in dB, as the layers after it see it; higher is better, 0 is nothing left, 100 is the most."""
    own: float
    """dB less than its worst input has, anything above `BEST` counted as that; negative where noise averages out."""
    lost: float
    """Share of the signal that is lost here, whatever was lost before, 0-1."""
    clipped: float
    """Share of the float values that lie outside of what the int8 tensor can hold, 0-1."""
    range: tuple[float, float]
    """Lowest and highest float value."""
    step: float
    """Distance of two int8 values; 0 when the tensor is kept float."""
    readers: tuple[str, ...]
    """Layers that read it: it stays float where these are kept float too."""
    weights: float | None
    """Largest weight of the largest channel by that of the median one, over inputs or outputs; None without weights."""


def layer_losses(
    float_tflite: bytes, int8_tflite: bytes, pictures: npt.NDArray[np.uint8], network: Network
) -> tuple[LayerLoss, ...]:
    """Return what each layer of `network` loses between two TFLite models of it, in order.

    Both models must hold the same trained weights and take one picture, uint8 or float32 in [0, 1]. `pictures` are
    uint8 [n, s, s, 1], some dozens; `network` is the trained one with its weights, folded or not. Layers that one of
    the models computes only as part of another are not there. Raises ExportError when a model cannot be run on the
    pictures or no layer is found in both.
    """
    if len(pictures) < 2:
        raise ExportError(f"comparing layers needs two pictures or more, found {len(pictures)}")
    network = fold(network)
    models = (Model(float_tflite, "float"), Model(int8_tflite, "int8"))
    found = [model.outputs(network) for model in models]
    both = {
        node.name: (*(f[node.name] for f in found),) for node in network.nodes if all(node.name in f for f in found)
    }
    if not both:
        raise ExportError(f"no layer of {network.name} was found by name in both the float and the int8 model")
    sums = {name: _Sums(models[1].quantisation(pair[1].index)) for name, pair in both.items()}
    for picture in pictures:
        for model in models:
            model.run(picture)
        for name, (wide, narrow) in both.items():
            sums[name].add(models[0].values(wide.index), models[1].values(narrow.index))
    return _compared(network, {name: pair[1].layers for name, pair in both.items()}, sums)


def _compared(
    network: Network, layers: Mapping[str, tuple[str, ...]], sums: Mapping[str, _Sums]
) -> tuple[LayerLoss, ...]:
    """Return the losses; a layer that is not measured has the noise of its worst input."""
    readers = _readers(network)
    ratios: dict[str, float] = {}
    losses = []
    for node in network.nodes:
        before = ratios[node.name] = max((ratios[name] for name in node.inputs), default=0.0)
        if node.name not in sums:
            continue
        measured = sums[node.name]
        ratio, rounding = measured.ratios(readers[node.name])
        ratios[node.name] = ratio
        # What is noise already grows and shrinks on its way: only a layer that doubles it adds to it.
        added = ratio - before if ratio > 2 * before else 0.0
        group = layers[node.name]
        losses.append(
            LayerLoss(
                name=group[0],
                layers=group,
                noise=_decibels(ratio),
                own=min(BEST, _decibels(before)) - min(BEST, _decibels(ratio)),
                lost=added if node.kind in PASSING else max(added, rounding),
                clipped=measured.clipped / measured.count,
                range=(measured.low, measured.high),
                step=measured.scale,
                readers=_reading(network, group[-1]),
                weights=max((_spread(network[name]) for name in group if network[name].weights), default=None),
            )
        )
    return tuple(losses)


def worst(losses: Sequence[LayerLoss], n: int = 3) -> tuple[LayerLoss, ...]:
    """Return the `n` layers that lose most themselves, the worst first; of equally bad ones that which comes first."""
    return tuple(sorted(losses, key=lambda loss: round(_decibels(loss.lost)))[:n])


def advice(losses: Sequence[LayerLoss]) -> list[str]:
    """Return a line for each of the three worst layers, what it loses and what to do, and one that names others.

    There is none when no layer is to blame.
    """
    blamed = [loss for loss in worst(losses, len(losses)) if _decibels(loss.lost) < WORST]
    lines = [_line(loss) for loss in blamed[:3]]
    return lines + ([f"so do: {', '.join(loss.name for loss in blamed[3:])}"] if len(blamed) > 3 else [])


def _line(loss: LayerLoss) -> str:
    low, high = loss.range
    said = f"{loss.name} loses {loss.lost:.0%} of its signal"
    if loss.step:
        said += f" (values {low:.5g} to {high:.5g}, steps of {loss.step:.3g})"
    todo = []
    if loss.clipped > CLIPPED:
        todo.append(f"{loss.clipped:.1%} of its values are cut off: calibrate on more faces or by another method")
    if loss.weights is not None and loss.weights > EXTREME:
        todo.append(f"one channel's weights are {loss.weights:,.0f} times the median's: look at how it was trained")
    kept = " ".join(f"--keep-float {name}" for name in (*loss.layers, *loss.readers))
    todo.append(f"keep it float with {kept}, or train with --qat")
    return f"{said}: {'; '.join(todo)}"


def _reading(network: Network, name: str) -> tuple[str, ...]:
    """Return the layers that read the output of a layer, and the ReLU that is computed with each."""
    found: list[str] = []
    for reader in network.consumers(name):
        found.append(reader.name)
        found += [after.name for after in network.consumers(reader.name) if after.kind == "ReLU"]
    return tuple(dict.fromkeys(found))


class _Sums:
    """What is added up over the pictures, per channel, of one layer's float values and of its int8 ones."""

    def __init__(self, quantisation: tuple[float, int, int, int]) -> None:
        self.scale, zero, low, high = quantisation
        self._limits = (low - zero, high - zero)
        self.count = self.clipped = 0
        self.low, self.high = math.inf, -math.inf
        self._pictures = 0
        self._total: Any = 0.0
        self._power: Any = 0.0
        self._noise: Any = 0.0
        self._rounding: Any = 0.0

    def add(self, wide: Matrix, narrow: Matrix) -> None:
        """Take one picture's float values and int8 ones, both [1, ..., channels]."""
        self.count += wide.size
        self.low, self.high = min(self.low, float(wide.min())), max(self.high, float(wide.max()))
        if self.scale:
            steps = np.round(wide / self.scale)
            held = np.clip(steps, *self._limits)
            self.clipped += int((steps != held).sum())
            self._rounding = self._rounding + np.square(wide - held * self.scale)
        self._pictures += 1
        self._total = self._total + wide
        self._power = self._power + np.square(wide)
        self._noise = self._noise + np.square(wide - narrow)

    def ratios(self, readers: Matrix) -> tuple[float, float]:
        """Return noise by signal, 0-1, and what it is when nothing but this tensor is rounded.

        Both are means over what is computed from the tensor, `readers` float [channels, k]. Signal is what varies from
        picture to picture: a constant says nothing. More noise than signal is no worse than nothing left.
        """
        power = _by_channel(self._power) @ readers
        signal = _by_channel(self._power - np.square(self._total) / self._pictures) @ readers
        says = signal > 1e-9 * power
        if not says.any():
            return 0.0, 0.0
        found = []
        for noise in (self._noise, self._rounding):
            seen = _by_channel(noise + np.zeros_like(self._power)) @ readers
            found.append(float(np.minimum(1.0, seen[says] / signal[says]).mean()))
        return found[0], found[1]


def _by_channel(values: Matrix) -> Matrix:
    """Return the sum [channels] of [1, ..., channels]."""
    return np.asarray(values.reshape(-1, values.shape[-1]).sum(axis=0))


def _readers(network: Network) -> dict[str, Matrix]:
    """Return for each layer how much power [channels, k] each of its channels gives to what is computed from it.

    What is computed are the output channels of the convolutions and dense layers that come next; where there are
    none, or none that are known, each channel counts alone.
    """
    found: dict[str, Matrix] = {}
    for node in reversed(network.nodes):
        parts = [_taken(network, node, reader, found[reader.name]) for reader in network.consumers(node.name)]
        found[node.name] = np.concatenate(parts, axis=1) if parts else np.eye(node.shape[-1])
    return found


def _taken(network: Network, node: Node, reader: Node, onward: Matrix) -> Matrix:
    """Return what `reader` takes of `node`; `onward` is what is taken of `reader`."""
    channels = node.shape[-1]
    if reader.kind == "Dense" or (reader.kind == "Conv2D" and reader.settings.get("groups", 1) == 1):
        kernel = np.square(reader.weights[0].astype(np.float64))
        return np.asarray(kernel.reshape(-1, *kernel.shape[-2:]).sum(axis=0))
    if reader.kind == "Concatenate" and len(onward) == sum(network[name].shape[-1] for name in reader.inputs):
        start = sum(network[name].shape[-1] for name in reader.inputs[: reader.inputs.index(node.name)])
        return onward[start : start + channels]
    if reader.kind == "Flatten":
        return np.asarray(onward.reshape(-1, channels, onward.shape[1]).sum(axis=0))
    if reader.weights or len(onward) != channels:
        return np.eye(channels)
    return onward


def _spread(node: Node) -> float:
    """Return how many times the median channel's largest weight the largest one is, over inputs or outputs."""
    kernel = np.abs(node.weights[0].astype(np.float64))
    axes = range(max(0, kernel.ndim - 2), kernel.ndim)
    largest = [kernel.max(axis=tuple(a for a in range(kernel.ndim) if a != axis)) for axis in axes]
    return max((float(m.max() / max(np.median(m), 1e-12)) for m in largest if len(m) > 1), default=1.0)


def _decibels(ratio: float) -> float:
    """Return a ratio of noise to signal as dB of signal to noise, 100 at most."""
    return -10 * math.log10(max(ratio, 1e-10)) + 0.0
