"""The bundle: written wholly or not at all, read strictly."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgefer import bundle as bundles
from edgefer.bundle import Artifact, Bundle, Recommendation, describe, open_bundle, write_bundle
from edgefer.errors import BundleError, EdgeferError
from edgefer.preprocess import Preprocess

MODEL, XML, BIN = b"a model" * 100, b"<xml/>", b"weights" * 10
ADVICE = {"artifact": "m.int8.tflite", "engine": "litert"}
CONTENTS = {"m.int8.tflite": MODEL, "m.fp32.xml": XML, "m.fp32.bin": BIN, "MODEL_CARD.md": b"# card"}


def sample(path: Path) -> Bundle:
    return Bundle(
        path=path,
        architecture="edge-s",
        labels=("happy", "sad"),
        preprocess=Preprocess(),
        artifacts=(
            Artifact(describe("m.int8.tflite", MODEL), "tflite", "int8"),
            Artifact(describe("m.fp32.xml", XML), "openvino", "fp32", (describe("m.fp32.bin", BIN),)),
        ),
        metrics={"m.int8.tflite": {"accuracy": 0.5}},
        recipe={"epochs": 3},
        versions={"numpy": "2"},
        parent="0" * 64,
        temperature=1.3,
    )


@pytest.fixture
def written(tmp_path: Path) -> Bundle:
    return write_bundle(sample(tmp_path / "m.edgefer"), CONTENTS)


def test_what_is_written_is_read(written: Bundle) -> None:
    opened = open_bundle(written.path)
    assert opened == sample(written.path)
    assert opened.verify().read(opened.artifact("tflite").file) == MODEL
    assert opened.artifact("openvino").bytes == len(XML) + len(BIN)
    assert opened.name == "m"
    assert sorted(p.name for p in written.path.iterdir()) == sorted([*CONTENTS, "manifest.json"])
    assert sorted(p.name for p in written.path.parent.iterdir()) == ["m.edgefer"]


def test_golden_manifest(written: Bundle) -> None:
    golden = Path(__file__).parent / "golden" / "manifest.json"
    assert (written.path / "manifest.json").read_text() == golden.read_text()


def test_a_recommendation_is_read_as_written(tmp_path: Path) -> None:
    advice = {"rpi5": Recommendation("m.int8.tflite", "litert"), "x86": Recommendation("m.fp32.xml", "openvino")}
    bundle = dataclasses.replace(sample(tmp_path / "m.edgefer"), recommended=advice)
    assert write_bundle(bundle, CONTENTS) == bundle
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["recommended"]["rpi5"] == ADVICE


def test_a_recommendation_of_what_is_gone_is_not_written(tmp_path: Path) -> None:
    advice = {"rpi5": Recommendation("m.int8.tflite", "litert"), "x86": Recommendation("gone.onnx", "onnxruntime")}
    bundle = dataclasses.replace(sample(tmp_path / "m.edgefer"), recommended=advice)
    assert write_bundle(bundle, CONTENTS).recommended == {"rpi5": advice["rpi5"]}


def test_missing_artifact_names_what_there_is(written: Bundle) -> None:
    with pytest.raises(BundleError, match="tflite int8, openvino fp32"):
        written.artifact("onnx")
    with pytest.raises(BundleError, match="no tflite artifact in fp32"):
        written.artifact("tflite", "fp32")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda p: (p / "m.int8.tflite").write_bytes(b"b" + MODEL[1:]), "SHA-256"),
        (lambda p: (p / "m.int8.tflite").write_bytes(MODEL[:-1]), "cut short"),
        (lambda p: (p / "m.int8.tflite").write_bytes(MODEL + b"x"), "changed or cut short"),
        (lambda p: (p / "m.fp32.bin").unlink(), "missing"),
        (lambda p: (p / "manifest.json").unlink(), "not a bundle"),
        (lambda p: (p / "manifest.json").write_bytes(b"\xff{"), "not JSON"),
        (lambda p: (p / "manifest.json").write_text("[" * 100_000), "not JSON"),
        (lambda p: (p / "manifest.json").write_text("[]"), "must hold an object"),
    ],
)
def test_harmed_bundles_are_refused(written: Bundle, harm: Callable[[Path], object], message: str) -> None:
    harm(written.path)
    with pytest.raises(BundleError, match=message):
        open_bundle(written.path).verify()


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


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["schema"], 2, "install a newer edgefer"),
        (["schema"], "1", "schema is '1'"),
        (["schema"], ..., "schema is None"),
        (["labels"], ["happy"], "2–1000 different names"),
        (["labels"], ["happy", "happy"], "different names"),
        (["labels"], ["happy", "sad\x1b[2J"], "different names"),
        (["labels"], ["happy", "sad" * 100], "different names"),
        (["labels"], ["happy", "sad", "angry"], "2 probabilities but there are 3 labels"),
        (["artifacts"], [], "1–256 entries"),
        (["artifacts", 0, "path"], "../evil.tflite", "leaves the bundle"),
        (["artifacts", 0, "path"], "/etc/passwd", "leaves the bundle"),
        (["artifacts", 0, "path"], "a/../../evil", "leaves the bundle"),
        (["artifacts", 0, "path"], "..\\evil", "leaves the bundle"),
        (["artifacts", 0, "path"], "manifest.json", "not a model file"),
        (["artifacts", 0, "path"], "m.fp32.bin", "listed twice"),
        (["artifacts", 0, "format"], "pickle", "known: keras, tflite"),
        (["artifacts", 0, "precision"], "int1", "known"),
        (["artifacts", 0, "bytes"], -1, "bytes must be"),
        (["artifacts", 0, "bytes"], True, "bytes must be"),
        (["artifacts", 0, "sha256"], "zz", "64 hexadecimal"),
        (["preprocess", "method"], "mystery-v9", "not known to this version"),
        (["preprocess", "size"], 100_000, "out of range"),
        (["input", "layout"], "NCHW", "input contract"),
        (["temperature"], 0.0, "temperature must be a number from 0.05 to 20, found '0.0'"),
        (["temperature"], 0.0499, "0.05 to 20"),
        (["temperature"], 20.1, "0.05 to 20"),
        (["temperature"], -1, "0.05 to 20"),
        (["temperature"], float("nan"), "found 'nan'"),
        (["temperature"], float("inf"), "0.05 to 20"),
        (["temperature"], 10**400, "0.05 to 20"),
        (["temperature"], "1", "0.05 to 20"),
        (["temperature"], True, "0.05 to 20"),
        (["temperature"], None, "0.05 to 20"),
        (["recommended"], [], "an object of up to 256 targets"),
        (["recommended"], None, "an object of up to 256 targets"),
        (["recommended"], {f"t{i}": ADVICE for i in range(257)}, "an object of up to 256 targets"),
        (["recommended"], {"rpi5": "litert"}, "must name an artifact and an engine"),
        (["recommended"], {"rpi5": {"artifact": "m.int8.tflite"}}, "must name an artifact and an engine"),
        (["recommended"], {"rpi5": {**ADVICE, "code": "x"}}, "must name an artifact and an engine"),
        (["recommended"], {"rpi5": {**ADVICE, "artifact": "MODEL_CARD.md"}}, "not among the artifacts"),
        (["recommended"], {"rpi5": {**ADVICE, "artifact": "m.fp32.bin"}}, "not among the artifacts"),
        (["recommended"], {"rpi5": {**ADVICE, "artifact": 3}}, "malformed"),
        (["recommended"], {"rpi5": {**ADVICE, "engine": None}}, "malformed"),
        (["recommended"], {"rpi5": {**ADVICE, "engine": ""}}, "1–64 printable"),
        (["recommended"], {"rpi5": {**ADVICE, "engine": "x" * 65}}, "1–64 printable"),
        (["recommended"], {"rpi5\n": ADVICE}, "1–64 printable"),
        (["recommended"], {"": ADVICE}, "1–64 printable"),
        (["recipe"], ..., "malformed"),
        (["versions"], 3, "malformed"),
        (["artifacts"], [3], "malformed"),
    ],
)
def test_manifests_that_are_not_right(written: Bundle, keys: list[Any], value: Any, message: str) -> None:
    edit(written.path, keys, value)
    with pytest.raises(BundleError, match=message):
        open_bundle(written.path)


def test_a_manifest_without_temperature_means_1(written: Bundle) -> None:
    assert open_bundle(written.path).temperature == 1.3
    edit(written.path, ["temperature"], ...)
    assert open_bundle(written.path).temperature == 1.0


@pytest.mark.parametrize("value", [0.05, 20, 1])
def test_temperatures_in_range_are_read(written: Bundle, value: float) -> None:
    edit(written.path, ["temperature"], value)
    assert open_bundle(written.path).temperature == value


@pytest.mark.parametrize("value", [float("nan"), 0.0, 21.0])
def test_a_temperature_out_of_range_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(BundleError, match=r"0\.05 to 20"):
        write_bundle(dataclasses.replace(sample(tmp_path / "m"), temperature=value), CONTENTS)
    assert not list(tmp_path.iterdir())


def test_a_link_that_leaves_the_bundle_is_refused(written: Bundle, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(MODEL)
    (written.path / "m.int8.tflite").unlink()
    (written.path / "m.int8.tflite").symlink_to(tmp_path / "outside")
    with pytest.raises(BundleError, match="leaves the bundle"):
        open_bundle(written.path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)
KEYS = ["schema", "architecture", "labels", "input", "output", "preprocess", "artifacts", "metrics", "recipe", "parent"]
KEYS += ["temperature", "recommended"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), value=JSON)
def test_any_value_anywhere_is_read_or_refused_with_one_kind_of_error(written: Bundle, key: str, value: Any) -> None:
    before = (written.path / "manifest.json").read_text()
    edit(written.path, [key], value)
    try:
        open_bundle(written.path)
    except EdgeferError as refusal:
        one_line = "\n" not in str(refusal)
    else:
        one_line = True
    finally:
        (written.path / "manifest.json").write_text(before)
    assert one_line


def test_nothing_is_overwritten_unasked(written: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists and is a bundle"):
        write_bundle(sample(written.path), CONTENTS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(BundleError, match="not a bundle"):
        write_bundle(sample(tmp_path / "mine"), CONTENTS, replace_existing=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize("can_exchange", [True, False])
def test_replacing_gives_the_new_one_and_leaves_nothing(
    written: Bundle, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(bundles, "_exchange", lambda one, other: False)
    write_bundle(dataclasses.replace(sample(written.path), architecture="new"), CONTENTS, replace_existing=True)
    assert open_bundle(written.path).architecture == "new"
    assert [p.name for p in written.path.parent.iterdir()] == ["m.edgefer"]


def test_a_full_disk_leaves_the_old_bundle(written: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="No space left on device; nothing was changed"):
        write_bundle(dataclasses.replace(sample(written.path), architecture="new"), CONTENTS, replace_existing=True)
    monkeypatch.undo()
    assert open_bundle(written.path).verify().architecture == "edge-s"
    assert [p.name for p in written.path.parent.iterdir()] == ["m.edgefer"]


KILLED_WRITER = """
import dataclasses, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_bundle import CONTENTS, sample
from edgefer.bundle import write_bundle
calls = 0
def dying(name):
    real = getattr(os, name)
    def call(*a, **k):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        return real(*a, **k)
    setattr(os, name, call)
for name in ("fsync", "replace", "rename", "open"):
    dying(name)
new = dataclasses.replace(sample(Path(sys.argv[1])), architecture="new")
write_bundle(new, CONTENTS, replace_existing=True)
print("done", calls)
"""


def test_killed_at_any_point_it_is_the_old_or_the_new_bundle(written: Bundle) -> None:
    seen = set()
    for point in range(1, 100):
        arguments = [sys.executable, "-c", KILLED_WRITER, str(written.path), str(point), str(Path(__file__).parent)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        seen.add(open_bundle(written.path).verify().architecture)
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
    else:
        pytest.fail("the writer was killed every time")
    assert point > 10
    assert seen == {"edge-s", "new"}


def test_contents_that_do_not_match_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not match"):
        write_bundle(sample(tmp_path / "m"), {**CONTENTS, "m.fp32.bin": b"other"})
    not_a_number = dataclasses.replace(sample(tmp_path / "m"), metrics={"x": [{"accuracy": float("nan")}]})
    with pytest.raises(BundleError, match="as evidence"):
        write_bundle(not_a_number, CONTENTS)
