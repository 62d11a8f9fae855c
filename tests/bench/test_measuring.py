"""Measuring for real, briefly: every installed engine, the pipeline, and accuracy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bench import model, pipeline
from edgefer.bench.accuracy import evaluate
from edgefer.bench.environment import snapshot
from edgefer.bench.latency import Plan
from edgefer.bench.record import new_record, read_record, write_record
from edgefer.bundle import Bundle
from edgefer.devices.profile import detect
from edgefer.errors import DataError, EngineError
from edgefer.labels import FER2013_LABELS
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.engines import load, open_engine
from edgefer.runtime.pipeline import Pipeline
from edgefer.runtime.tracker import Tracker
from edgefer.train.data import Dataset

PLAN = Plan(warmup_runs=2, warmup_seconds=0.0, min_runs=20, min_seconds=0.0)


def test_a_model_is_measured_and_kept(tiny_bundle: Bundle, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    before = snapshot(detect())
    results = model.bench_model(
        tiny_bundle,
        ["litert"],
        None,
        [1, 2],
        model.default_faces(tiny_bundle, 1),
        PLAN,
        lambda done, total: seen.append((done, total)),
    )
    precisions = [a.precision for a in tiny_bundle.artifacts if a.format == "tflite"]
    assert sorted((m.precision, m.threads) for m in results) == sorted((p, n) for p in precisions for n in (1, 2))
    for m in results:
        assert (m.scope, m.engine, m.provider, m.latency.runs) == ("model", "litert", "XNNPACK", 20)
        assert m.bytes == tiny_bundle.artifact("tflite", m.precision).bytes
        assert m.load_ms is not None
        assert m.first_ms is not None
        assert 0 < m.first_ms < 10_000
        assert 0 < m.load_ms < 60_000
    assert seen[-1] == (100 * len(results), 100 * len(results))
    record = new_record("edgefer bench", PLAN.quick, detect().name, before, snapshot(detect()), tiny_bundle, results)
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert record.quick
    assert record.bundle.labels == tiny_bundle.labels


def test_a_cold_start_finds_nothing_in_the_current_directory(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    bundle = replace(tiny_bundle, path=tiny_bundle.path.resolve())
    monkeypatch.chdir(tmp_path)
    face = model.default_faces(bundle, 1)[:1]
    precision = bundle.artifact("tflite").precision
    assert model.cold_start(bundle, "litert", precision, 1, face).load_ms > 0


def test_a_cold_start_that_fails_says_so(tiny_bundle: Bundle) -> None:
    face = model.default_faces(tiny_bundle, 1)[:1]
    with pytest.raises(EngineError, match=r"a cold start ended with 1: .*no tflite artifact in fp16") as caught:
        model.cold_start(tiny_bundle, "litert", "fp16", 1, face)
    assert "\n" not in str(caught.value)


def test_nothing_to_measure_is_an_error(tiny_bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="nothing to measure for litert in fp16"):
        model.combinations(tiny_bundle, ["litert"], ["fp16"], [1])
    with pytest.raises(EngineError, match="no engine called 'abacus'"):
        model.combinations(tiny_bundle, ["abacus"], None, [1])
    assert load("litert").FORMAT == "tflite"


def test_the_pipeline_is_measured_with_its_stages(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "FRAMES", 4)
    loaded = open_engine(tiny_bundle, "litert")

    def make() -> Pipeline:
        return Pipeline(loaded.engine, tiny_bundle.labels, tiny_bundle.preprocess, open_detector("haar"), Tracker())

    results = pipeline.bench_pipeline(loaded, make, "haar", 1, replace(PLAN, min_runs=5))
    loaded.engine.close()
    assert [m.faces for m in results] == [0, 1, 3]
    for m in results:
        assert m.stages_ms is not None
        assert list(m.stages_ms) == ["detect", "track", "preprocess", "infer", "smooth", "emit"]
        assert m.faces_found == pytest.approx(m.faces, abs=0.5)
        assert m.detector == "haar"
        assert m.load_ms is None
        assert 0.5 * m.latency.p50 < sum(s["p50"] for s in m.stages_ms.values()) < 1.5 * m.latency.p50


@pytest.mark.parametrize("faces", pipeline.FACES)
def test_frames_are_drawn(faces: int) -> None:
    frames = pipeline.draw(2, faces, 0)
    assert [f.shape for f in frames] == [(360, 640, 3)] * 2
    assert frames[0].dtype == np.uint8
    assert not np.array_equal(frames[0], frames[1])


def test_accuracy_does_not_depend_on_the_order_of_the_labels(tiny_bundle: Bundle) -> None:
    images, labels = cartoon.dataset(12, 3)
    names = tuple(sorted(FER2013_LABELS))
    moved = np.array([names.index(n) for n in FER2013_LABELS])[labels]
    seen: list[tuple[int, int]] = []
    loaded = open_engine(tiny_bundle, "litert")
    one = evaluate(tiny_bundle, Dataset(images, labels, FER2013_LABELS, skipped=1), loaded, "test")
    other = evaluate(tiny_bundle, Dataset(images, moved, names), loaded, progress=lambda *at: seen.append(at))
    loaded.engine.close()
    assert one.accuracy == other.accuracy
    assert seen == [(64, 84), (84, 84)]
    assert (one.split, other.split, one.skipped) == ("test", "all", 1)
    data = json.loads(json.dumps(one.as_dict(), allow_nan=False))
    assert data["n"] == 84
    assert data["labels"] == list(tiny_bundle.labels)
    assert np.sum(data["confusion"]) == 84
    assert data["engine"] == "litert"


def test_a_temperature_changes_how_sure_and_nothing_else(tiny_bundle: Bundle) -> None:
    data = Dataset(*cartoon.dataset(12, 3), FER2013_LABELS)
    found = []
    for temperature in (1.0, 10.0):
        bundle = replace(tiny_bundle, temperature=temperature)
        loaded = open_engine(bundle, "litert", "fp32")
        found.append(evaluate(bundle, data, loaded).accuracy)
        loaded.engine.close()
    assert found[0].ece != found[1].ece
    assert replace(found[0], ece=0.0) == replace(found[1], ece=0.0)


def test_labels_that_the_bundle_lacks_are_refused(tiny_bundle: Bundle) -> None:
    images, labels = cartoon.dataset(1, 0)
    data = Dataset(images, labels, ("bored", *FER2013_LABELS[1:]))
    loaded = open_engine(tiny_bundle, "litert")
    with pytest.raises(DataError, match="bored"):
        evaluate(tiny_bundle, data, loaded)
    loaded.engine.close()
