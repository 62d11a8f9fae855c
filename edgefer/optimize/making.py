"""From a network to model files: one int8 form for all formats, or each format's own, calibrated by what works best."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefer.bundle import size_name
from edgefer.errors import ExportError
from edgefer.optimize import exporters, fakequant, worker
from edgefer.optimize.convert import OWN_METHODS, file_names
from edgefer.optimize.exporters import Source, tflite
from edgefer.optimize.fold import fold
from edgefer.optimize.ranges import ranges
from edgefer.optimize.stored import Pictures
from edgefer.train.network import Network, to_keras

Core = tuple[bytes, bytes]
"""A TFLite model that takes float32 in [0, 1], and the same that takes uint8."""
Judge = Callable[[str, str, Mapping[str, Sequence[bytes]]], str]
"""Called as `judge(format, engine, made)` with the files that each way to calibrate made; returns the best way."""
OutputRange = Callable[[Any, Pictures], "tuple[float, float] | None"]
"""Called as `output_range(net, pictures)` with the pictures for calibration; None leaves the range as it is."""


class Maker:
    """Makes the files of every format and precision, and remembers what several of them need."""

    def __init__(
        self,
        net: Any,
        network: Network | None,
        why: str,
        int8: Network | None,
        job: Mapping[str, Any],
        calibration: Pictures,
        judge: Judge,
        softmax: bool = True,
        output_range: OutputRange | None = None,
    ) -> None:
        self.net = net
        self.network = network
        """`net` as plain data; None for one that cannot be taken apart, and `why` says why."""
        self.why = why
        self.int8 = int8
        self.job = job
        self.calibration = calibration
        self.judge = judge
        self.softmax = softmax
        """Whether the files give probabilities; False: what the network gives, as it is."""
        self.output_range = output_range
        """Says where the output's range ends in each of our ways to calibrate; other quantisers have their own."""
        self._float: Core | None = None
        self._int8: Core | None = None
        self._rounding: Any = None
        """The keras.Model that rounds as int8 does, where int8 was trained."""

    def write(self, made: tuple[Any, ...], folder: Path) -> None:
        """Make the artifact that is known by `made` and write its files to `folder`/out."""
        format, precision, *sizes = made
        shown = "".join(f" for pictures of {size_name(size)}" for size in sizes)
        worker.tell(say=f"converting to {format} {precision}{shown}")
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            contents = self.make(format, precision, Path(scratch))
        for name, data in zip(file_names(self.job["name"], made), contents, strict=True):
            (folder / "out" / name).write_bytes(data)

    def make(self, format: str, precision: str, scratch: Path) -> tuple[bytes, ...]:
        """Return the contents of one artifact's files; `scratch` is an empty folder."""
        exporter = exporters.load(format)
        if not self.job["own"] or precision != "int8":
            return tuple(exporter.export(self._source(precision, scratch)))
        if format == "tflite":  # it knows one way
            return (self._converted()[1],)
        source = replace(self._source("fp32", scratch), precision="int8", own=True)
        made = {}
        for method in (m for m in OWN_METHODS[format] if m in self.job["methods"]):
            worker.tell(say=f"{format}'s own quantiser, calibrating by {method}")
            folder = scratch / method
            folder.mkdir()
            made[method] = tuple(exporter.export(replace(source, method=method, folder=folder)))
        return made[self.judge(format, exporter.ENGINE, made)]

    def int8_net(self) -> Any:
        """Return the keras.Model that int8 is made from; one that rounds where that was trained."""
        return self.net if self.int8 is None else self._trained_rounding()

    def float_core(self) -> bytes:
        """Return the float form of the network that int8 is made from, to compare layer by layer."""
        if self.int8 is None:
            return self._float_core()[0]
        import keras

        return tflite.floating(to_keras(keras, self.int8), False, self.softmax)

    def _source(self, precision: str, scratch: Path) -> Source:
        core, pixels = self._int8_core() if precision == "int8" else self._float_core()
        return Source(
            net=self.net,
            precision=precision,
            calibration=self.calibration,
            core=core,
            pixels=pixels,
            folder=scratch,
            opset=self.job["opset"],
            batch=self.job["batch"],
            softmax=self.softmax,
        )

    def _float_core(self) -> Core:
        if self._float is None:
            self._float = (
                tflite.floating(self.net, False, self.softmax),
                tflite.floating(self.net, True, self.softmax),
            )
        return self._float

    def _int8_core(self) -> Core:
        if self._int8 is None:
            if self.int8 is not None:
                self._int8 = self._core_of(self._trained_rounding())
            else:
                self._int8 = self._calibrated()
        return self._int8

    def _trained_rounding(self) -> Any:
        if self._rounding is None:
            import tf_keras

            assert self.int8 is not None
            ends = {name: (low, high) for name, (low, high) in self.job["ranges"].items()}
            self._rounding = fakequant.fake_quantised(tf_keras, self.int8, ends, self.job["keep_float"])
        return self._rounding

    def _calibrated(self) -> Core:
        """Return the int8 form by the method that answers most like float."""
        methods: Sequence[str] = self.job["methods"]
        folded = self._folded(methods)
        if folded is None:
            methods = ["converter"]
        makers: dict[str, Callable[[], Core]] = {}
        if "converter" in methods:
            makers["converter"] = self._converted
        ours = [method for method in methods if method != "converter"]
        if folded is not None and ours:
            ends = self._ranges(folded, ours)
            makers |= {method: self._rounded(folded, ends[method]) for method in ours}
        made = {}
        for method, make in makers.items():
            worker.tell(say=f"int8, calibrating by {method}")
            made[method] = make()
        if len(made) == 1:
            return next(iter(made.values()))
        return made[self.judge("tflite", "litert", {method: (core[1],) for method, core in made.items()})]

    def _converted(self) -> Core:
        return tflite.quantised_forms(self.net, self.calibration, self.job["keep_float"], self.softmax)

    def _core_of(self, rounding: Any) -> Core:
        return (
            fakequant.to_tflite(rounding, False, self.softmax),
            fakequant.to_tflite(rounding, True, self.softmax),
        )

    def _folded(self, methods: Sequence[str]) -> Network | None:
        """Return the network to calibrate ourselves, or None where only the converter's own way is left."""
        keep = self.job["keep_float"]
        if self.network is None:
            why = self.why
        else:
            folded = fold(self.network)
            fakequant.check_names(folded, keep)
            refused = fakequant.refusals(folded, keep)
            if not refused:
                return folded
            why = "; ".join(refused)
        if "converter" not in methods:
            raise ExportError(
                f"only TensorFlow Lite's own calibration (--calibrate converter) takes this network: {why}"
            )
        worker.tell(say=f"calibrating by the converter alone: {why}")
        return None

    def _ranges(self, folded: Network, methods: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
        import keras

        plain = to_keras(keras, folded)
        names = fakequant.rounded(folded, self.job["keep_float"])
        taps = keras.Model(plain.inputs[0], [plain.get_layer(name).output for name in names])
        found = ranges(taps, names, self.calibration.astype(np.float32) / np.float32(255), methods)
        ends = self.output_range(plain, self.calibration) if self.output_range else None
        last = folded.nodes[-1].name
        if ends is not None and last in names:
            found = {method: {**layers, last: ends} for method, layers in found.items()}
        return found

    def _rounded(self, folded: Network, ends: Mapping[str, tuple[float, float]]) -> Callable[[], Core]:
        def make() -> Core:
            import tf_keras

            return self._core_of(fakequant.fake_quantised(tf_keras, folded, ends, self.job["keep_float"]))

        return make
