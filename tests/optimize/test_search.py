"""The search: its rules on rows made by hand, and once the whole command on a small network and drawn faces."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer import cartoon, cli
from edgefer.bundle import Artifact, Bundle, Recommendation, describe, open_bundle, write_bundle
from edgefer.commands._shared import open_preferred
from edgefer.devices import profile as profiles
from edgefer.devices.profile import load_profile
from edgefer.errors import ExportError
from edgefer.labels import FER2013_LABELS
from edgefer.optimize.search import Search, formats, variants
from edgefer.optimize.search_table import Row, pareto, recommend
from edgefer.optimize.tune import DEFAULTS
from edgefer.preprocess import Preprocess

SEARCH = importlib.import_module("edgefer.optimize.search")
VARIANTS = ("as-trained", "qat", "narrow-0.4", "narrow-0.4-qat")


def row(name: str = "a", **changes: Any) -> Row:
    fields: dict[str, Any] = {"variant": "v", "artifact": name, "format": "tflite", "precision": "int8"}
    fields |= {"engine": "litert", "engine_version": "1", "calibrated": "", "n": 1000, "accuracy": 0.7}
    fields |= {"drop_points": 0.0, "p_value": 1.0, "source_agreement": 100.0, "bytes": 1000, "gzip_bytes": 900}
    return Row(**(fields | {"macs": 1, "peak_bytes": None, "ms": 1.0} | changes))


ROWS = st.lists(
    st.builds(
        row,
        accuracy=st.sampled_from([0.5, 0.6, 0.7]),
        bytes=st.integers(1, 4),
        ms=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
    ),
    max_size=12,
)


def beaten(one: Row, by: Row) -> bool:
    at_least = by.accuracy >= one.accuracy and by.bytes <= one.bytes and by.ms <= one.ms
    return at_least and (by.accuracy > one.accuracy or by.bytes < one.bytes or by.ms < one.ms)


@given(ROWS)
def test_the_front_holds_what_nothing_beats_and_all_of_it(rows: list[Row]) -> None:
    front = pareto(rows)
    assert bool(front) == bool(rows)
    for one in rows:
        assert (one in front) == (not any(beaten(one, other) for other in rows))
        assert one in front or any(beaten(one, other) for other in front)


def test_the_front_on_three_rows() -> None:
    small, fast, worse = row("s", bytes=10, ms=2.0), row("f", bytes=20, ms=1.0), row("w", bytes=20, ms=2.0)
    assert pareto([small, worse, fast]) == [small, fast]
    assert pareto([small, small]) == [small, small]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("slow", ms=2.0), row("fast", ms=1.0)], "fast"),
        # Within 3 %: fewer bytes, then accuracy.
        ([row("fast", ms=1.0), row("small", ms=1.02, bytes=999)], "small"),
        ([row("fast", ms=1.0), row("small", ms=1.05, bytes=1)], "fast"),
        ([row("worse", ms=1.0), row("better", ms=1.02, accuracy=0.71)], "better"),
        # The first engine that has any, whatever others take.
        ([row("l", ms=9.0), row("o", engine="onnxruntime", ms=1.0)], "l"),
        ([row("l", drop_points=3.0), row("o", engine="onnxruntime", ms=5.0)], "o"),
        ([row("l", engine="else", ms=0.1), row("o", engine="onnxruntime")], "o"),
        # What loses too much is out, one picture is allowed.
        ([row("fast", ms=0.1, drop_points=0.51), row("slow", drop_points=0.5)], "slow"),
        ([row("coarse", n=50, drop_points=2.0)], "coarse"),
        ([row("coarse", n=50, drop_points=4.0)], None),
        # A float file must answer as its network does; int8 moves labels that were undecided.
        ([row("float", precision="fp32", source_agreement=98.0)], None),
        ([row("half", precision="fp16", source_agreement=99.6)], "half"),
        ([row("int8", source_agreement=96.0)], "int8"),
        ([], None),
    ],
)
def test_what_is_recommended(rows: list[Row], expected: str | None) -> None:
    found = recommend(rows, ("litert", "onnxruntime"), 0.5)
    assert (found.artifact if found else None) == expected


def test_variants() -> None:
    narrow = dataclasses.replace(DEFAULTS["narrow"], amount=0.4)
    both = Search(narrow=(narrow,), qat=DEFAULTS["qat"])
    assert tuple(v.name for v in variants(both)) == VARIANTS
    assert [t.stage for t in variants(both)[3].tunings] == ["narrow", "qat"]
    assert [v.name for v in variants(dataclasses.replace(both, precisions=("fp32",)))] == ["as-trained", "narrow-0.4"]
    assert [v.name for v in variants(Search())] == ["as-trained"]


def test_formats_are_those_of_the_targets_engines_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    rpi5 = load_profile("rpi5")
    assert formats(dataclasses.replace(rpi5, engines=("litert", "tflite-runtime"))) == ("tflite",)
    with pytest.raises(ExportError, match="nothing to measure for rpi5"):
        formats(dataclasses.replace(rpi5, engines=("tflite-runtime",)))
    monkeypatch.setattr(SEARCH.engines, "is_installed", lambda name: name == "onnxruntime")
    assert formats(rpi5) == ("onnx",)


def preferred(bundle: Bundle, **advice: str) -> tuple[str, str]:
    """Return which engine and artifact are opened on a Raspberry Pi 5."""
    asked = {name: advice.pop(name, None) for name in ("engine", "precision")}
    recommended = {"rpi5": Recommendation(advice["artifact"], advice["on"])}
    bundle = dataclasses.replace(bundle, recommended=recommended)
    loaded = open_preferred(bundle, load_profile("rpi5"), asked["engine"], asked["precision"], 1)
    loaded.engine.close()
    return loaded.name, f"{loaded.artifact.format} {loaded.artifact.precision}"


def test_what_the_bundle_recommends_is_opened(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    path = tiny_bundle.artifact("onnx", "fp32").path
    assert preferred(tiny_bundle, artifact=path, on="onnxruntime") == ("onnxruntime", "onnx fp32")
    assert capsys.readouterr().err == f"note: the bundle recommends {path} on onnxruntime for rpi5\n"
    # What is asked for comes first, and says nothing.
    assert preferred(tiny_bundle, artifact=path, on="onnxruntime", engine="litert") == ("litert", "tflite int8")
    assert preferred(tiny_bundle, artifact=path, on="onnxruntime", precision="fp32") == ("litert", "tflite fp32")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("on", "why"),
    [("tflite-runtime", "is not installed"), ("from-the-future", "does not know"), ("onnxruntime", "that format")],
)
def test_a_recommendation_that_cannot_be_followed_is_passed_over(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, on: str, why: str
) -> None:
    monkeypatch.setattr("edgefer.runtime.engines.installed_engines", lambda: ["litert", "onnxruntime"])
    path = tiny_bundle.artifact("tflite", "fp32").path
    assert preferred(tiny_bundle, artifact=path, on=on) == ("litert", "tflite int8")
    assert why in capsys.readouterr().err


class World(NamedTuple):
    folder: Path
    arguments: list[str]
    """Of the command, but for --out, --max-drop and --resume."""
    out: Path
    printed: dict[str, Any]


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def trained(folder: Path, images: Any, labels: Any) -> Path:
    import keras

    from edgefer.train import architectures

    keras.utils.set_random_seed(0)
    net = architectures.build(keras, "edge-xs", 7)
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.get_layer("dropout").rate = 0.0
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8
    net.fit(images[..., None].astype(np.float32) / 255, labels, batch_size=32, epochs=10, verbose=0)
    name = "edge-xs.weights.h5"
    net.save_weights(folder / name)
    weights = (folder / name).read_bytes()
    artifact = Artifact(describe(name, weights), "keras", "fp32")
    bundle = Bundle(folder / "small.edgefer", "edge-xs", FER2013_LABELS, Preprocess(), (artifact,))
    return write_bundle(bundle, {name: weights, "MODEL_CARD.md": b"# card\n"}).path


@pytest.fixture(scope="module")
def target() -> Iterator[None]:
    """A Raspberry Pi 5 that prefers onnxruntime and knows no OpenVINO: two engines are enough here."""
    rpi5 = dataclasses.replace(load_profile("rpi5"), engines=("onnxruntime", "litert"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(profiles, "load_profile", lambda name: rpi5)
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, target: None) -> World:
    for package in ("tensorflow", "tensorflow_model_optimization", "tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason="needs edgefer[optimize,onnxruntime]")
    folder = tmp_path_factory.mktemp("search")
    images, labels = cartoon.dataset(100, 1)
    np.savez(folder / "faces.npz", images=images, labels=labels)
    path = trained(folder, images, labels)
    arguments = ["optimize", str(path), "--target", "rpi5", "--data", str(folder / "faces.npz"), "--json"]
    arguments += ["--precision", "int8", "--precision", "fp32", "--narrow", "0.4"]
    arguments += ["--set", "narrow.epochs=1", "--set", "qat.epochs=1", "--keep"]
    code, printed, talk = run([*arguments, "--max-drop", "2"])
    assert code == 0, talk
    assert "variant 4 of 4: narrow-0.4-qat" in talk
    assert talk.count("measuring which channels matter") == 1, "what is narrowed is narrowed once"
    return World(folder, arguments, folder / "small-rpi5.edgefer", json.loads(printed))


@pytest.fixture
def ended(world: World, tmp_path: Path) -> Path:
    """The search folder of a search that has made all variants; returns the bundle that it is to be written to."""
    out = tmp_path / "again.edgefer"
    shutil.copytree(world.out.with_name(world.out.name + ".search"), tmp_path / "again.edgefer.search")
    return out


def again(world: World, out: Path, *more: str) -> tuple[int, str, str]:
    return run([*world.arguments, "--out", str(out), "--resume", *more])


slow = [pytest.mark.slow, pytest.mark.timeout(900)]


def slowly(test: Any) -> Any:
    for mark in slow:
        test = mark(test)
    return test


@slowly
def test_the_table_is_complete(world: World) -> None:
    rows = [Row(**{k: v for k, v in r.items() if k not in ("allowed", "front")}) for r in world.printed["rows"]]
    kinds = {(r.variant, r.precision, r.engine) for r in rows}
    floats = {(v, "fp32", e) for v in ("as-trained", "narrow-0.4") for e in ("litert", "onnxruntime")}
    assert kinds == floats | {(v, "int8", e) for v in VARIANTS for e in ("litert", "onnxruntime")}
    assert len(rows) == len(kinds) == 12
    by = {(r.variant, r.precision, r.engine): r for r in rows}
    for r in rows:
        assert (r.n, r.ms > 0, r.gzip_bytes > 0) == (world.printed["n"], True, True)
        assert r.calibrated == ("" if r.precision == "fp32" else "qat" if "qat" in r.variant else r.calibrated)
        assert r.peak_bytes == by[r.variant, r.precision, "litert"].peak_bytes > 10_000
        assert r.drop_points == pytest.approx(100 * (world.printed["accuracy"] - r.accuracy))
    assert by["as-trained", "int8", "litert"].calibrated in ("converter", "minmax", "percentile", "entropy")
    assert 2.5 * by["as-trained", "int8", "litert"].peak_bytes < by["as-trained", "fp32", "litert"].peak_bytes
    assert by["narrow-0.4", "int8", "litert"].macs < 0.61 * by["qat", "int8", "litert"].macs
    assert by["narrow-0.4", "int8", "litert"].bytes < by["as-trained", "int8", "litert"].bytes
    assert [r["front"] for r in world.printed["rows"]] == [r in pareto(rows) for r in rows]
    assert world.printed["refused"] == {}
    best = recommend(rows, ("onnxruntime", "litert"), 2)
    assert best is not None
    assert world.printed["recommended"] == dataclasses.asdict(best)
    assert best.engine == "onnxruntime"
    assert sum(c["chosen"] for c in world.printed["calibrations"]["as-trained"]) == 1


@slowly
def test_the_winner_becomes_the_bundle(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    best = world.printed["recommended"]
    bundle = open_bundle(world.out).verify()
    assert bundle.recommended == {"rpi5": Recommendation(best["artifact"], "onnxruntime")}
    assert world.printed["bundle"] == str(world.out)
    assert {(a.format, a.precision) for a in bundle.artifacts} >= {(f, "int8") for f in ("tflite", "onnx")}
    assert bundle.parent == open_bundle(world.folder / "small.edgefer").digest()
    assert (world.out / "MODEL_CARD.md").exists()
    found = json.loads((world.out / "search.json").read_text())
    assert found == {k: v for k, v in world.printed.items() if k != "bundle"}
    loaded = open_preferred(bundle, dataclasses.replace(load_profile("rpi5"), engines=("litert",)), None, None, 1)
    loaded.engine.close()
    assert (loaded.name, loaded.artifact.path) == ("onnxruntime", best["artifact"])
    assert "recommends" in capsys.readouterr().err


@slowly
def test_finished_variants_are_not_made_again(world: World, ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def refuse(*args: Any, **options: Any) -> None:
        calls.append((args[3].stages, args[3].precisions, options["resume"]))
        raise ExportError("too hot")

    monkeypatch.setattr(SEARCH, "export", refuse)
    folder = ended.with_name(ended.name + ".search")
    (folder / "narrow-0.4-qat.json").unlink()
    code, printed, talk = again(world, ended, "--max-drop", "2")
    assert code == 0, talk
    assert calls == [(("narrow", "qat"), ("fp32", "int8"), True)]
    assert talk.count("done already") == 3
    assert json.loads(printed)["refused"] == {"narrow-0.4-qat": "too hot"}
    assert "narrow-0.4-qat could not be made as planned: too hot" in talk
    assert len(json.loads(printed)["rows"]) == 10
    assert open_bundle(ended).verify().recommended["rpi5"].engine == "onnxruntime"


@slowly
def test_int8_that_is_refused_does_not_take_float_with_it(
    world: World, ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SEARCH.export

    def fussy(*args: Any, **options: Any) -> Any:
        if "int8" in args[3].precisions:
            raise ExportError("int8 answers otherwise")
        return real(*args, **options)

    monkeypatch.setattr(SEARCH, "export", fussy)
    (ended.with_name(ended.name + ".search") / "as-trained.json").unlink()
    code, printed, talk = again(world, ended, "--max-drop", "2")
    assert code == 0, talk
    found = json.loads(printed)
    assert found["refused"] == {"as-trained": "int8 answers otherwise"}
    kinds = [(r["precision"], r["engine"]) for r in found["rows"] if r["variant"] == "as-trained"]
    assert kinds == [("fp32", "litert"), ("fp32", "onnxruntime")]


@slowly
def test_nothing_good_enough_recommends_nothing_and_keeps_all(
    world: World, ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(SEARCH, "export")  # nothing is made
    folder = ended.with_name(ended.name + ".search")
    for name in VARIANTS:
        record = json.loads((folder / f"{name}.json").read_text())
        for entry in record["rows"]:
            entry["drop_points"] = 5.0
        (folder / f"{name}.json").write_text(json.dumps(record))
    code, printed, talk = again(world, ended, "--max-drop", "2")
    assert code == 1
    assert (json.loads(printed)["recommended"], json.loads(printed)["bundle"]) == (None, None)
    assert "none is within 2 points (the best loses 5.00)" in talk
    assert not ended.exists()
    assert all((folder / f"{name}.edgefer").is_dir() for name in VARIANTS)
    # Allowing more is enough then, and takes no training.
    code, printed, talk = again(world, ended, "--max-drop", "6")
    assert code == 0, talk
    assert json.loads(printed)["recommended"]["engine"] == "onnxruntime"
    assert ended.is_dir()


@slowly
def test_a_search_folder_of_something_else_is_refused(world: World, ended: Path, tmp_path: Path) -> None:
    code, _, talk = again(world, ended, "--set", "narrow.epochs=2")
    assert code == 1
    assert "other settings" in talk.splitlines()[-1]
    code, _, talk = run([*world.arguments, "--out", str(ended)])
    assert (code, "go on with --resume" in talk) == (1, True)
    code, _, talk = again(world, tmp_path / "new.edgefer")
    assert (code, "nothing to resume" in talk) == (1, True)
    (tmp_path / "mine.edgefer.search").mkdir()
    code, _, talk = run([*world.arguments, "--out", str(tmp_path / "mine.edgefer")])
    assert (code, "holds no search" in talk) == (1, True)
    code, _, talk = again(world, world.out)
    assert (code, "exists" in talk) == (1, True)


def test_quick_and_training_contradict_each_other() -> None:
    code, printed, talk = run(["optimize", "--target", "rpi5", "--data", "x", "--quick", "--narrow", "0.4"])
    assert (code, printed) == (2, "")
    assert "--quick trains nothing" in talk
