"""The bundle of a face detector: as strict as a classifier's, with files for several sizes of picture."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefer import bundle as bundles
from edgefer.bundle import (
    Artifact,
    Bundle,
    DetectorBundle,
    describe,
    open_bundle,
    open_detector_bundle,
    open_stored,
    shipped,
    write_bundle,
)
from edgefer.errors import BundleError, EdgeferError

SMALL, LARGE, XML, BIN, WEIGHTS = b"small" * 100, b"large" * 100, b"<xml/>", b"weights" * 10, b"h5" * 30
CONTENTS = {
    "d.160x120.int8.tflite": SMALL,
    "d.320x240.int8.tflite": LARGE,
    "d.320x240.int8.xml": XML,
    "d.320x240.int8.bin": BIN,
    "d.weights.h5": WEIGHTS,
    "MODEL_CARD.md": b"# card",
}


def sample(path: Path) -> DetectorBundle:
    return DetectorBundle(
        path=path,
        architecture="det-s",
        artifacts=(
            Artifact(describe("d.weights.h5", WEIGHTS), "keras", "fp32"),
            Artifact(describe("d.160x120.int8.tflite", SMALL), "tflite", "int8", size=(120, 160)),
            Artifact(describe("d.320x240.int8.tflite", LARGE), "tflite", "int8", size=(240, 320)),
            Artifact(
                describe("d.320x240.int8.xml", XML),
                "openvino",
                "int8",
                (describe("d.320x240.int8.bin", BIN),),
                size=(240, 320),
            ),
        ),
        threshold=0.45,
        metrics={"d.320x240.int8.tflite": {"average_precision": 0.5}},
        recipe={"epochs": 3},
        versions={"numpy": "2"},
        parent="0" * 64,
    )


@pytest.fixture
def written(tmp_path: Path) -> DetectorBundle:
    return write_bundle(sample(tmp_path / "d.edgefer"), CONTENTS)


def edit(path: Path, keys: list[Any], value: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_written_is_read(written: DetectorBundle) -> None:
    opened = open_detector_bundle(written.path)
    assert opened == sample(written.path) == open_stored(written.path)
    assert opened.verify().read(opened.sized("tflite", size=(240, 320)).file) == LARGE
    assert (opened.name, opened.labels) == ("d", ("face",))


def test_golden_manifest(written: DetectorBundle) -> None:
    golden = Path(__file__).parent / "golden" / "detector.manifest.json"
    assert (written.path / "manifest.json").read_text() == golden.read_text()


def test_artifacts_are_found_by_size(written: DetectorBundle) -> None:
    assert written.sized("tflite").size == (120, 160)
    assert written.sized("tflite", "int8", (240, 320)).path == "d.320x240.int8.tflite"
    assert written.sizes("tflite") == ((120, 160), (240, 320))
    assert written.sizes("openvino", "int8") == ((240, 320),)
    assert written.sizes("openvino", "fp32") == written.sizes("onnx") == written.sizes("keras") == ()
    with pytest.raises(BundleError, match="no openvino artifact for 160x120; it has: tflite int8 160x120, tflite"):
        written.sized("openvino", size=(120, 160))
    with pytest.raises(BundleError, match="no tflite artifact in fp32 for 320x240"):
        written.sized("tflite", "fp32", (240, 320))


def test_each_kind_is_refused_where_the_other_is_needed(written: DetectorBundle) -> None:
    with pytest.raises(BundleError, match=r"is a face detector \(det-s\), and a model that names expressions is"):
        open_bundle(written.path)
    with pytest.raises(BundleError, match=r"names expressions .* finds no faces; a detector is needed, such as det-s"):
        open_detector_bundle(shipped())
    assert isinstance(open_stored(shipped()), Bundle)


def test_a_shipped_detector_is_known_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bundles, "shipped", lambda name="edge-m": tmp_path / f"{name}.edgefer")
    monkeypatch.chdir(tmp_path)
    assert bundles.shipped_detector_names() == []
    write_bundle(sample(tmp_path / "detect" / "det-s.edgefer"), CONTENTS)
    assert bundles.shipped_detector_names() == ["det-s"]
    assert open_detector_bundle() == open_detector_bundle("det-s") == sample(bundles.shipped_detector())
    assert bundles.shipped_names() == []
    with pytest.raises(BundleError, match="is a face detector"):
        open_bundle("det-s")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["schema"], 2, "install a newer edgefer"),
        (["task"], "segment", "the task 'segment' is not known to this version"),
        (["task"], None, "the task None is not known"),
        (["task"], ..., "labels must be 2–1000"),
        (["labels"], ["happy", "sad"], r"a detector's labels must be \['face'\], found \['happy', 'sad'\]"),
        (["labels"], [], "labels must be"),
        (["labels"], "face", "labels must be"),
        (["threshold"], -0.01, "threshold must be a number from 0 to 1, found '-0.01'"),
        (["threshold"], 1.01, "threshold must be a number from 0 to 1"),
        (["threshold"], math.nan, "found 'nan'"),
        (["threshold"], math.inf, "from 0 to 1"),
        (["threshold"], True, "from 0 to 1"),
        (["threshold"], "0.5", "from 0 to 1"),
        (["threshold"], ..., "malformed"),
        (["input", "layout"], "NCHW", "input contract"),
        (["input", "shape"], [None, 240, 320, 1], "input contract"),
        (["output", "meaning"], "anchors-v1", "output is .*anchors-v1.* install a newer edgefer"),
        (["output", "shape"], [None, None, None, 5], "output is"),
        (["preprocess", "method"], "grey-stretch-v1", "preprocess is .*grey-stretch-v1.* install a newer edgefer"),
        (["preprocess"], {}, "preprocess is"),
        (["artifacts"], [], "1–256 entries"),
        (["artifacts", 0, "size"], [240, 320], "'d.weights.h5' is weights, which have no size"),
        (["artifacts", 1, "size"], ..., "'d.160x120.int8.tflite' needs a size"),
        (["artifacts", 1, "size"], None, "multiples of 8 from 8 to 4096, found 'None'"),
        (["artifacts", 1, "size"], [120], "multiples of 8"),
        (["artifacts", 1, "size"], [120, 160, 1], "multiples of 8"),
        (["artifacts", 1, "size"], "120x160", "multiples of 8"),
        (["artifacts", 1, "size"], [120.0, 160], "multiples of 8"),
        (["artifacts", 1, "size"], [True, 160], "multiples of 8"),
        (["artifacts", 1, "size"], [0, 160], "multiples of 8"),
        (["artifacts", 1, "size"], [-8, 160], "multiples of 8"),
        (["artifacts", 1, "size"], [121, 160], "multiples of 8"),
        (["artifacts", 1, "size"], [120, 4104], "multiples of 8"),
        (["artifacts", 1, "size"], [240, 320], "more than one artifact for tflite int8 320x240"),
        (["artifacts", 1, "path"], "../evil.tflite", "leaves the bundle"),
        (["artifacts", 1, "path"], "d.320x240.int8.bin", "listed twice"),
        (["artifacts", 1, "sha256"], "zz", "64 hexadecimal"),
        (["recipe"], ..., "malformed"),
    ],
)
def test_manifests_that_are_not_right(written: DetectorBundle, keys: list[Any], value: Any, message: str) -> None:
    edit(written.path, keys, value)
    with pytest.raises(BundleError, match=message):
        open_detector_bundle(written.path)


def test_a_classifier_has_no_sizes(written: DetectorBundle, tmp_path: Path) -> None:
    classifier = open_bundle()
    artifact = dataclasses.replace(classifier.artifacts[0], size=(48, 48))
    contents = {file.path: classifier.read(file) for file in classifier.files}
    sized = dataclasses.replace(classifier, path=tmp_path / "m", artifacts=(artifact, *classifier.artifacts[1:]))
    with pytest.raises(BundleError, match="has a size, which only a detector's file has"):
        write_bundle(sized, contents)
    assert not (tmp_path / "m").exists()


def test_what_would_be_refused_is_not_written(tmp_path: Path) -> None:
    good = sample(tmp_path / "d")
    no_size = dataclasses.replace(good.artifacts[1], size=None)
    for changes in ({"threshold": 2.0}, {"threshold": math.nan}, {"artifacts": (no_size,)}, {"artifacts": ()}):
        with pytest.raises(BundleError):
            write_bundle(dataclasses.replace(good, **changes), CONTENTS)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_replacing_gives_the_new_one(written: DetectorBundle) -> None:
    write_bundle(dataclasses.replace(written, threshold=1), CONTENTS, replace_existing=True)
    assert open_detector_bundle(written.path).threshold == 1.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
KEYS = ["schema", "task", "architecture", "labels", "input", "output", "threshold", "preprocess", "artifacts"]
KEYS += ["metrics", "recipe", "versions", "parent"]


def read_or_refuse(bundle: DetectorBundle, keys: list[Any], value: Any) -> DetectorBundle | None:
    before = (bundle.path / "manifest.json").read_text()
    edit(bundle.path, keys, value)
    try:
        return open_detector_bundle(bundle.path)
    except EdgeferError as refusal:
        lines = str(refusal).splitlines()
    finally:
        (bundle.path / "manifest.json").write_text(before)
    assert len(lines) == 1
    return None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), value=JSON)
def test_any_value_anywhere_is_read_or_refused_with_one_kind_of_error(
    written: DetectorBundle, key: str, value: Any
) -> None:
    read_or_refuse(written, [key], value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON | st.lists(st.integers(-8, 600).map(lambda n: n * 8) | st.integers(), min_size=2, max_size=2))
def test_only_sizes_in_range_are_read(written: DetectorBundle, value: Any) -> None:
    opened = read_or_refuse(written, ["artifacts", 3, "size"], value)
    fits = isinstance(value, list) and len(value) == 2
    fits = fits and all(type(side) is int and 8 <= side <= 4096 and side % 8 == 0 for side in value)
    assert (opened is not None) == fits
    if opened is not None:
        assert opened.artifacts[3].size == tuple(value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.floats() | st.integers(-1, 2) | st.floats(-0.1, 1.1))
def test_only_thresholds_in_range_are_read(written: DetectorBundle, value: float) -> None:
    opened = read_or_refuse(written, ["threshold"], value)
    assert (opened is not None) == (math.isfinite(value) and 0 <= value <= 1)
    if opened is not None:
        assert opened.threshold == value


SIDES = st.integers(1, 512).map(lambda n: 8 * n)
FORMS = st.tuples(st.sampled_from(["tflite", "onnx"]), st.sampled_from(["fp32", "fp16", "dynamic", "int8"]))


@settings(max_examples=25, deadline=None)
@given(kinds=st.lists(st.tuples(FORMS, st.tuples(SIDES, SIDES)), min_size=1, max_size=6, unique=True))
def test_any_set_of_artifacts_comes_back(kinds: list[tuple[tuple[str, str], tuple[int, int]]]) -> None:
    contents = {f"{i}.model": bytes([i]) for i in range(len(kinds))}
    artifacts = tuple(
        Artifact(describe(f"{i}.model", bytes([i])), *form, size=size) for i, (form, size) in enumerate(kinds)
    )
    with tempfile.TemporaryDirectory() as folder:
        bundle = dataclasses.replace(sample(Path(folder) / "d"), artifacts=artifacts)
        opened = write_bundle(bundle, contents)
        assert opened == bundle
        for artifact in artifacts:
            assert opened.sized(artifact.format, artifact.precision, artifact.size) == artifact
