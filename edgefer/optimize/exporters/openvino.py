"""OpenVINO IR: translated from TFLite, int8 with its scales, or made small or int8 by nncf.

From TFLite and not from the ONNX model: the CPU plugin of OpenVINO 2026.4 refuses to compile the int8 ONNX file
("No suitable implementations"), while the same model read from TFLite runs its convolutions in int8.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from edgefer.errors import ExportError
from edgefer.optimize.exporters import Source
from edgefer.quiet import native_chatter_silenced

SUFFIXES = (".xml", ".bin")
NEEDS = ("tensorflow", "keras", "openvino")
OWN_NEEDS = ("nncf",)
ENGINE = "openvino"
METHODS = {"minmax": "MIN MAX", "percentile": "QUANTILE QUANTILE"}
"""What is taken of each picture at both ends, in nncf's words; the widest range of all pictures counts."""
OUTLIERS = 1e-4
"""Share of a layer's values in a picture that `percentile` leaves out at each end."""


def export(source: Source) -> tuple[bytes, ...]:
    """Return the model's .xml and .bin, uint8 [n, 48, 48, 1] → float32 probabilities [n, classes].

    n is free or `source.batch`. Of fp16 and dynamic the weights alone are small, in half precision or int8 per
    channel; the CPU computes in float32. Raises ExportError for a method of calibration that nncf lacks.
    """
    import openvino
    from openvino.preprocess import PrePostProcessor

    core = source.folder / "core.tflite"
    core.write_bytes(source.core)
    model = openvino.convert_model(core)
    model.reshape([source.batch or -1, *list(model.input().shape)[1:]])
    if source.precision == "int8" and source.own:
        model = _quantised(model, source.calibration, source.method)
    elif source.precision == "dynamic":
        model = _small_weights(model)
    front = PrePostProcessor(model)
    front.input().tensor().set_element_type(openvino.Type.u8)
    front.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    xml = source.folder / "model.xml"
    openvino.save_model(front.build(), xml, compress_to_fp16=source.precision == "fp16")
    return _renamed(xml.read_bytes()), xml.with_suffix(".bin").read_bytes()


def _quantised(model: Any, calibration: Any, method: str) -> Any:
    """Return the float32 model in int8 by nncf, weights per channel.

    The preset is MIXED: activations that can be negative get a zero point.
    """
    if method not in METHODS:
        raise ExportError(
            f"nncf cannot calibrate by {method!r}; choose one of: {', '.join(METHODS)}, or the shared quantiser"
        )
    with native_chatter_silenced():
        import nncf
        from nncf.quantization.range_estimator import (
            AggregatorType,
            RangeEstimatorParameters,
            StatisticsCollectorParameters,
            StatisticsType,
        )

        low, high = (
            StatisticsCollectorParameters(StatisticsType[taken], AggregatorType[widest], quantile_outlier_prob=OUTLIERS)
            for taken, widest in zip(METHODS[method].split(), ("MIN", "MAX"), strict=True)
        )
        return nncf.quantize(
            model,
            nncf.Dataset([face[None].astype(np.float32) / np.float32(255) for face in calibration]),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(calibration),
            fast_bias_correction=False,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParameters(low, high)
            ),
        )


def _small_weights(model: Any) -> Any:
    with native_chatter_silenced():
        import nncf

        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)


def _renamed(xml: bytes) -> bytes:
    """Name each layer after its type and place: OpenVINO numbers them by how many the process has made so far."""
    return re.sub(
        rb'<layer id="(\d+)" name="[^"]*" type="(?!Parameter)(\w+)"',
        rb'<layer id="\1" name="\2_\1" type="\2"',
        xml,
    )
