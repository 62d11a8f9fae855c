"""From a network to model files: one int8 form for all formats, or each format's own, calibrated by what works best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefer.errors import ExportError
from edgefer.optimize import exporters, fakequant, worker
from edgefer.optimize.convert import METHODS, OWN_METHODS, Choice
from edgefer.optimize.exporters import Source, tflite
from edgefer.optimize.fold import fold
from edgefer.optimize.ranges import ranges
from edgefer.optimize.stored import Pictures, Probabilities, probabilities
from edgefer.train.network import Network, to_keras

Core = tuple[bytes, bytes]
"""A TFLite model that takes float32 in [0, 1], and the same that takes uint8."""


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
        choosing: Pictures,
    ) -> None:
        self.net = net
        self.network = network
        """`net` as plain data; None for one that cannot be taken apart, and `why` says why."""
        self.why = why
        self.int8 = int8
        self.job = job
        self.calibration = calibration
        self.choosing = choosing
        self.choices: list[Choice] = []
        self._float: Core | None = None
        self._int8: Core | None = None
        self._rounding: Any = None
        """The keras.Model that rounds as int8 does, where int8 was trained."""

    def make(self, format: str, precision: str, scratch: Path) -> tuple[bytes, ...]:
        """Return the contents of one artifact's files; `scratch` is an empty folder."""
        exporter = exporters.load(format)
        if not self.job["own"] or precision != "int8":
            return tuple(exporter.export(self._source(precision, scratch)))
        if format == "tflite":  # it knows one way
            return (self._converted(takes_pixels=True),)
        source = replace(self._source("fp32", scratch), precision="int8", own=True)
        made = {}
        for method in (m for m in OWN_METHODS[format] if m in self.job["methods"]):
            worker.tell(say=f"{format}'s own quantiser, calibrating by {method}")
            folder = scratch / method
            folder.mkdir()
            made[method] = tuple(exporter.export(replace(source, method=method, folder=folder)))
        return made[self._choose(format, exporter.ENGINE, made)]

    def int8_reference(self, pictures: Pictures) -> Probabilities:
        """Return what the network that int8 is made from says of faces uint8 [n, s, s, 1]."""
        if self.int8 is None:
            return probabilities(self.net, pictures)
        return probabilities(self._trained_rounding(), pictures)

    def float_core(self) -> bytes:
        """Return the float form of the network that int8 is made from, to compare layer by layer."""
        if self.int8 is None:
            return self._float_core()[0]
        import keras

        return tflite.floating(to_keras(keras, self.int8), takes_pixels=False)

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
        )

    def _float_core(self) -> Core:
        if self._float is None:
            self._float = tflite.floating(self.net, False), tflite.floating(self.net, True)
        return self._float

    def _int8_core(self) -> Core:
        if self._int8 is None:
            if self.int8 is not None:
                model = self._trained_rounding()
                self._int8 = fakequant.to_tflite(model, False), fakequant.to_tflite(model, True)
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
            makers["converter"] = lambda: (self._converted(False), self._converted(True))
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
        return made[self._choose("tflite", "litert", {method: (core[1],) for method, core in made.items()})]

    def _converted(self, takes_pixels: bool) -> bytes:
        return tflite.quantised(self.net, self.calibration, takes_pixels, self.job["keep_float"])

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
        return ranges(taps, names, self.calibration.astype(np.float32) / np.float32(255), methods)

    def _rounded(self, folded: Network, ends: Mapping[str, tuple[float, float]]) -> Callable[[], Core]:
        def make() -> Core:
            import tf_keras

            model = fakequant.fake_quantised(tf_keras, folded, ends, self.job["keep_float"])
            return fakequant.to_tflite(model, False), fakequant.to_tflite(model, True)

        return make

    def _choose(self, format: str, engine: str, made: Mapping[str, Sequence[bytes]]) -> str:
        """Return the method whose file, in its engine, answers most like float."""
        wanted = probabilities(self.net, self.choosing)
        scores = {}
        for method, contents in made.items():
            found = _run(engine, contents, self.choosing)
            agreement = 100 * float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())
            scores[method] = (_divergence(wanted, found), agreement)
        best = min(scores, key=lambda method: (scores[method][0], METHODS.index(method)))
        for method, (divergence, agreement) in scores.items():
            self.choices.append(Choice(format, method, divergence, agreement, method == best))
            mark = ", chosen" if method == best else ""
            worker.tell(say=f"  {format} {method}: divergence {divergence:.5f}, same label {agreement:.2f} %{mark}")
        return best


def _run(engine: str, contents: Sequence[bytes], pictures: Pictures) -> Probabilities:
    from edgefer.runtime import engines

    opened = engines.load(engine).Engine(contents, 1)
    try:
        return np.asarray(opened.run(pictures), np.float32)
    finally:
        opened.close()


def _divergence(wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """Return the mean Kullback-Leibler divergence of probabilities [n, classes] from the wanted ones."""
    floor = 1e-6
    away = np.log(np.maximum(wanted, floor)) - np.log(np.maximum(found, floor))
    return float((wanted * away).sum(axis=1).mean())
