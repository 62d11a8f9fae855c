"""OpenVINO IR: translated from TFLite, int8 with its scales.

From TFLite and not from the ONNX model: the CPU plugin of OpenVINO 2026.4 refuses to compile the int8 ONNX file
("No suitable implementations"), while the same model read from TFLite runs its convolutions in int8.
"""

from __future__ import annotations

from edgefer.optimize.exporters import Source

SUFFIXES = (".xml", ".bin")
NEEDS = ("tensorflow", "keras", "openvino")
ENGINE = "openvino"


def export(source: Source) -> tuple[bytes, ...]:
    """Return the model's .xml and .bin, uint8 [n, 48, 48, 1] → float32 probabilities [n, classes]; n is free."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    core = source.folder / "core.tflite"
    core.write_bytes(source.core)
    model = openvino.convert_model(core)
    model.reshape([-1, *list(model.input().shape)[1:]])
    front = PrePostProcessor(model)
    front.input().tensor().set_element_type(openvino.Type.u8)
    front.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    xml = source.folder / "model.xml"
    openvino.save_model(front.build(), xml, compress_to_fp16=False)
    return xml.read_bytes(), xml.with_suffix(".bin").read_bytes()
