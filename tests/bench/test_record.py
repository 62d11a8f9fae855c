"""BenchRecord: what is written is read again, and what is broken is refused with a reason."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.bench import record as records
from edgefer.bench.latency import Latency
from edgefer.bench.record import BenchRecord, BundleIdentity, Measurement, read_record, write_record
from edgefer.errors import RecordError

number = st.floats(0, 1e12, allow_nan=False)
whole = st.integers(0, 2**63 - 1)
text = st.text(st.characters(codec="utf-8"), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
latencies = st.builds(Latency, whole, *[number] * 9)
stages = st.dictionaries(text, st.fixed_dictionaries({"p50": number, "p99": number}), max_size=3)
measurements = st.builds(
    Measurement,
    scope=st.sampled_from(["model", "pipeline"]),
    engine=text,
    engine_version=text,
    provider=text,
    artifact=text,
    precision=text,
    bytes=whole,
    threads=whole,
    latency=latencies,
    load_ms=st.none() | number,
    first_ms=st.none() | number,
    faces=st.none() | whole,
    faces_found=st.none() | number,
    detector=st.none() | text,
    stages_ms=st.none() | stages,
)


@st.composite
def any_record(draw: st.DrawFn) -> BenchRecord:
    kind = draw(st.sampled_from(records.KINDS))
    emulated = kind == "emulated"
    return BenchRecord(
        command=draw(text),
        created=draw(st.datetimes()).isoformat(),
        device=draw(text),
        environment={k: draw(st.dictionaries(text, plain, max_size=3)) for k in ("before", "after")},
        bundle=BundleIdentity(draw(text), draw(text), draw(text), tuple(draw(st.lists(text, max_size=3)))),
        measurements=tuple(draw(st.lists(measurements, max_size=2))),
        kind=kind,
        quick=draw(st.booleans()),
        invalid_reasons=tuple(draw(st.lists(text, max_size=2))),
        bit_identical=draw(st.booleans()) if emulated else None,
        instructions_per_inference=draw(whole) if emulated else None,
    )


def example() -> BenchRecord:
    latency = Latency(1024, 60.0, 1.0, 0.1, 0.9, 1.0, 1.1, 1.2, 1.3, 2.0)
    model = Measurement("model", "litert", "2.3.0", "XNNPACK", "m.int8.tflite", "int8", 83040, 1, latency, 16.0, 0.3)
    return BenchRecord(
        command="edgefer bench",
        created="2025-11-21T05:00:00+00:00",
        device="rpi5",
        environment={"before": {"cpu": "Cortex-A76"}, "after": {}},
        bundle=BundleIdentity("m", "edge-s", "0" * 64, ("happy", "sad")),
        measurements=(model,),
    )


@given(any_record())
def test_plain_data_gives_the_record_back(record: BenchRecord) -> None:
    data = json.loads(json.dumps(record.as_dict(), allow_nan=False))
    assert BenchRecord.from_dict(data) == record
    assert BenchRecord.from_dict(data).as_dict() == record.as_dict()


def test_a_file_gives_the_record_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "record.json"
    write_record(example(), path)
    assert read_record(path) == example()
    data = json.loads(path.read_text())
    assert (data["schema"], data["kind"], data["valid"], data["quick"]) == (1, "measured", True, False)
    assert data["measurements"][0]["latency_ms"]["p50"] == 1.0
    assert data["measurements"][0]["runs"] == 1024
    assert "bit_identical" not in data
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


DELETE = object()


def changed(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        if value is DELETE:
            del data[keys[-1]]
        else:
            data[keys[-1]] = value

    return change


BROKEN = [
    (changed("schema", value=2), "schema is 2, this version reads 1; install a newer edgefer"),
    (changed("schema", value=0), "measure again"),
    (changed("schema", value="1"), "'schema' must be int"),
    (changed("schema", value=True), "'schema' must be int"),
    (changed("kind", value="guessed"), "known: measured, emulated, estimated"),
    (changed("kind", value="emulated"), "'bit_identical' is missing"),
    (changed("valid", value=False), "contradict"),
    (changed("invalid_reasons", value=["hot"]), "contradict"),
    (changed("invalid_reasons", value=[1]), "must hold texts"),
    (changed("created", value="yesterday"), "date and time"),
    (changed("device", value=DELETE), "'device' is missing"),
    (changed("extra", value=1), "unknown field 'extra'"),
    (changed("environment", value={"before": {}}), "two snapshots"),
    (changed("environment", "after", value=[]), "two snapshots"),
    (changed("bundle", "labels", value="happy"), "'labels' must be list"),
    (changed("bundle", "digest", value=DELETE), "bundle: 'digest' is missing"),
    (changed("measurements", value={}), "'measurements' must be list"),
    (changed("measurements", 0, value=3), "measurement must be an object"),
    (changed("measurements", 0, "scope", value="world"), "known: model, pipeline"),
    (changed("measurements", 0, "bytes", value=-1), "out of range"),
    (changed("measurements", 0, "bytes", value=10**30), "out of range"),
    (changed("measurements", 0, "threads", value=1.5), "'threads' must be int"),
    (changed("measurements", 0, "load_ms", value="fast"), "'load_ms' must be float"),
    (changed("measurements", 0, "latency_ms", "p50", value=DELETE), "latency_ms: 'p50' is missing"),
    (changed("measurements", 0, "latency_ms", "p50", value=-0.5), "no measurement gives"),
    (changed("measurements", 0, "latency_ms", "p50", value=10**400), "out of range"),
    (changed("measurements", 0, "latency_ms", "p75", value=1.0), "unknown field 'p75'"),
    (changed("measurements", 0, "stages_ms", value={"detect": {"p50": 1.0}}), "'p99' is missing"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_changed_record_is_refused(tmp_path: Path, change: Callable[[Any], None], message: str) -> None:
    data = copy.deepcopy(example().as_dict())
    change(data)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("where", ['"p50": 1.0', '"cpu": "Cortex-A76"'])
def test_numbers_that_are_none_are_refused(tmp_path: Path, literal: str, where: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(example().as_dict()).replace(where, f"{where.partition(':')[0]}: {literal}"))
    with pytest.raises(RecordError):
        read_record(path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", '"text"', "[" * 100_000, '{"a":' * 50_000, "9" * 5000, "\udcff{}"]
)
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    with pytest.raises(RecordError):
        read_record(path)


def test_a_deep_environment_is_refused_or_read(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    deep = "[" * 5000 + "]" * 5000
    path.write_text(json.dumps(example().as_dict()).replace('"Cortex-A76"', deep))
    with pytest.raises(RecordError):
        read_record(path)


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_any_bytes_are_refused_in_one_way(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    with pytest.raises(RecordError):
        read_record(path)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="edgefer bench --json"):
        read_record(tmp_path / "none.json")
    with pytest.raises(RecordError, match="cannot read the record"):
        read_record(tmp_path)


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 100)
    path = tmp_path / "record.json"
    write_record(example(), path)
    with pytest.raises(RecordError, match="larger than 100 bytes"):
        read_record(path)


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_record(example(), path)
    before = path.read_bytes()
    bad = BenchRecord(**{**vars(example()), "environment": {"before": {"x": float("nan")}, "after": {}}})
    with pytest.raises(RecordError, match="not written"):
        write_record(bad, path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write"):
        write_record(example(), tmp_path / "file" / "record.json")
