"""An exported bundle is the old one with artifacts replaced, of both kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgefer.bundle import Artifact, Bundle, DetectorBundle, describe, write_bundle
from edgefer.errors import BundleError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize import rewrite
from edgefer.optimize.convert import Choice, Settings
from edgefer.preprocess import Preprocess

SMALL, LARGE = (120, 160), (240, 320)


def classifier(path: Path) -> Bundle:
    """One with weights, a model of each of two formats, and a card that the manifest does not list."""
    contents = {"w.weights.h5": b"w", "m.tflite": b"t", "m.xml": b"x", "m.bin": b"b", "docs/CARD.md": b"card"}
    weights, tflite, xml, companion = (describe(name, contents[name]) for name in list(contents)[:4])
    artifacts = (
        Artifact(weights, "keras", "fp32"),
        Artifact(tflite, "tflite", "int8"),
        Artifact(xml, "openvino", "int8", (companion,)),
    )
    metrics = {artifact.path: {"accuracy": 0.5} for artifact in artifacts}
    bundle = Bundle(path, "net", FER2013_LABELS, Preprocess(), artifacts, metrics, versions={"keras": "3"})
    return write_bundle(bundle, contents)


def detector(path: Path) -> DetectorBundle:
    contents = {"w.weights.h5": b"w", "small.tflite": b"s", "large.tflite": b"l"}
    weights, small, large = (describe(name, data) for name, data in contents.items())
    artifacts = (
        Artifact(weights, "keras", "fp32"),
        Artifact(small, "tflite", "int8", (), SMALL),
        Artifact(large, "tflite", "int8", (), LARGE),
    )
    return write_bundle(DetectorBundle(path, "det", artifacts, 0.5), contents)


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    wanted = [("tflite", "fp32"), ("tflite", "int8"), ("openvino", "int8")]
    bundle = classifier(tmp_path / "b.edgefer")
    assert rewrite.divided(bundle, wanted, None, False) == ((wanted[0],), ("m.tflite", "m.xml"))
    for out, force in ((None, True), (tmp_path / "new.edgefer", False)):
        assert rewrite.divided(bundle, wanted, out, force) == (tuple(wanted), ())
    with pytest.raises(BundleError, match="exists; choose another name"):
        rewrite.divided(bundle, wanted, bundle.path, True)
    sized = [("tflite", "int8", LARGE), ("tflite", "int8", (480, 640))]
    found = rewrite.divided(detector(tmp_path / "d.edgefer"), sized, None, False)
    assert found == ((sized[1],), ("large.tflite",))


def test_in_place_the_rest_stays(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "b.edgefer")
    made = {("openvino", "int8"): {"new.xml": b"1", "new.bin": b"2"}}
    written = rewrite.write(bundle, bundle.path, made, {"new.xml": {"accuracy": 0.6}}).verify()
    assert [a.path for a in written.artifacts] == ["w.weights.h5", "m.tflite", "new.xml"]
    assert {path: entry["accuracy"] for path, entry in written.metrics.items()} == {
        "w.weights.h5": 0.5,
        "m.tflite": 0.5,
        "new.xml": 0.6,
    }
    assert (written.path / "docs" / "CARD.md").read_bytes() == b"card"
    assert not (written.path / "m.bin").exists()
    assert written.parent is None
    assert written.versions["keras"] == "3"
    assert "edgefer" in written.versions


def test_a_new_bundle_may_keep_files_that_are_not_listed_alone(tmp_path: Path) -> None:
    bundle = classifier(tmp_path / "b.edgefer")
    written = rewrite.write(bundle, tmp_path / "new.edgefer", {("onnx", "fp32"): {"m.onnx": b"o"}}, {}, keep=False)
    assert [a.path for a in written.artifacts] == ["m.onnx"]
    assert not written.metrics
    assert sorted(p.name for p in written.path.rglob("*") if p.is_file()) == ["CARD.md", "m.onnx", "manifest.json"]
    assert written.parent == bundle.digest()


def test_a_detectors_other_sizes_stay(tmp_path: Path) -> None:
    bundle = detector(tmp_path / "d.edgefer")
    written = rewrite.write(bundle, bundle.path, {("tflite", "int8", SMALL): {"new.tflite": b"n"}}, {}).verify()
    assert {a.path: a.size for a in written.artifacts} == {
        "w.weights.h5": None,
        "large.tflite": LARGE,
        "new.tflite": SMALL,
    }


CHOICES = [Choice("tflite", "entropy", 0.1, 99.0, True), Choice("onnx", "percentile", 0.1, 99.0, True)]


@pytest.mark.parametrize(
    ("settings", "choices", "method", "quantiser"),
    [
        ({}, CHOICES, "entropy", "shared"),
        ({"methods": ("minmax",)}, [], "minmax", "shared"),
        ({"own": True}, CHOICES, "percentile", "onnx's own"),
        ({"own": True, "methods": ("converter", "entropy")}, [], "entropy", "onnx's own"),
    ],
)
def test_how_int8_came_to_be(settings: dict[str, Any], choices: list[Choice], method: str, quantiser: str) -> None:
    found = rewrite.quantisation("onnx", choices, Settings(**settings), {"calibration_faces": 512})
    assert found == {"method": method, "quantiser": quantiser, "calibration_faces": 512}


def test_float_layers_are_named() -> None:
    found = rewrite.quantisation("tflite", CHOICES, Settings(keep_float=("stem",)), {"calibration_scenes": 64})
    assert found == {
        "method": "entropy",
        "quantiser": "shared",
        "calibration_scenes": 64,
        "keep_float": ["stem"],
    }
