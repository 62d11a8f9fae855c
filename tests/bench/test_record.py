"""BenchRecord: what is written is read again, and what is broken is refused with a reason."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgefer.bench import record as records
from edgefer.bench.counted import Emulation, Emulator, Estimate, Instructions
from edgefer.bench.latency import QUANTILES, Latency
from edgefer.bench.record import BenchRecord, read_record, write_record
from edgefer.bench.rows import BundleIdentity, Measurement, Round, Score, Step, Sustained
from edgefer.bench.trace import Trace
from edgefer.errors import RecordError

number = st.floats(0, 1e12, allow_nan=False)
whole = st.integers(0, 2**63 - 1)
text = st.text(st.characters(codec="utf-8"), max_size=20)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
latencies = st.builds(Latency, whole, *[number] * 9, quantiles=st.tuples(*[number] * len(QUANTILES)))
rounds = st.builds(Round, whole, *[number] * 4, st.none() | number, st.none() | number)
stages = st.dictionaries(text, st.fixed_dictionaries({"p50": number, "p99": number}), max_size=3)
measurements = st.builds(
    Measurement,
    scope=st.sampled_from(["model", "pipeline"]),
    engine=text,
    engine_version=text,
    provider=text,
    provider_wanted=st.none() | text,
    artifact=text,
    precision=text,
    bytes=whole,
    threads=whole,
    latency=latencies,
    rounds=st.lists(rounds, min_size=1, max_size=3).map(tuple),
    watts=st.none() | number,
    joules=st.none() | number,
    faces=st.none() | whole,
    faces_found=st.none() | number,
    detector=st.none() | text,
    stages_ms=st.none() | stages,
)
steps = st.lists(st.builds(Step, number, whole, number, number), max_size=3).map(tuple)
above = st.floats(1e-6, 1e12)
sustained = st.builds(Sustained, text, text, text, whole, number, whole, number, above, number, steps)


@st.composite
def scores(draw: st.DrawFn) -> Score:
    low, accuracy, high = sorted(draw(st.tuples(*[st.floats(0, 1)] * 3)))
    texts = [draw(text) for _ in range(5)]
    return Score(*texts, n=draw(whole), accuracy=accuracy, ci95=(low, high))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    points = sorted(draw(st.lists(number, max_size=4)))
    source = draw(st.none() | text)

    def readings(values: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(st.none() | values) for _ in points)

    return Trace(
        seconds=tuple(points),
        temperature_c=readings(st.floats(-273, 1000)),
        mhz=readings(st.integers(0, 10_000)),
        watts=readings(st.floats(0, 1000) if source is not None else st.none()),
        throttled=tuple(sorted(draw(st.sets(text, max_size=2)))),
        power_source=source,
    )


@st.composite
def emulations(draw: st.DrawFn) -> Emulation:
    parts = draw(st.tuples(*[st.integers(0, 2**60)] * 5))
    return Emulation(
        *[draw(text) for _ in range(5)],
        bytes=draw(whole),
        faces=draw(whole),
        bit_identical=draw(st.booleans()),
        same_label=draw(st.floats(0, 1)),
        max_difference=draw(st.floats(0, 1)),
        instructions=Instructions(sum(parts), *parts),
        repeats=tuple(draw(st.lists(st.integers(1, 2**63 - 1), min_size=1, max_size=3))),
    )


CONTENTS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "measured": {
        "measurements": st.lists(measurements, max_size=2).map(tuple),
        "sustained": st.none() | sustained,
        "scores": st.lists(scores(), max_size=2).map(tuple),
        "trace": st.none() | traces(),
        "idle_watts": st.none() | number,
    },
    "emulated": {
        "emulator": st.builds(Emulator, text, text, text),
        "emulations": st.lists(emulations(), min_size=1, max_size=2).map(tuple),
    },
    "estimated": {
        "emulator": st.builds(Emulator, text, text, text),
        "estimates": st.lists(st.builds(Estimate, text, text, text, whole, number, number), max_size=2).map(tuple),
    },
}


@st.composite
def any_record(draw: st.DrawFn, kind: str) -> BenchRecord:
    few = st.lists(text, max_size=2).map(tuple)
    return BenchRecord(
        command=draw(text),
        created=draw(st.datetimes()).isoformat(),
        device=draw(text),
        environment={k: draw(st.dictionaries(text, plain, max_size=3)) for k in ("before", "after")},
        bundle=BundleIdentity(
            *[draw(text) for _ in range(3)], draw(few), draw(st.dictionaries(text, st.integers() | text, max_size=2))
        ),
        kind=kind,
        quick=draw(st.booleans()),
        invalid_reasons=draw(few),
        noisy_reasons=draw(few),
        notes=draw(few),
        **{name: draw(values) for name, values in CONTENTS[kind].items()},
    )


LATENCY = Latency(1024, 60.0, 1.0, 0.1, 0.9, 1.0, 1.1, 1.2, 1.3, 2.0, tuple(0.9 + 0.02 * i for i in range(21)))
MODEL = Measurement(
    scope="model",
    engine="litert",
    engine_version="2.3.0",
    provider="XNNPACK",
    provider_wanted=None,
    artifact="m.int8.tflite",
    precision="int8",
    bytes=83040,
    threads=1,
    latency=LATENCY,
    rounds=(Round(512, 1.0, 1.01, 16.0, 0.3, 27.5, 61.0), Round(512, 1.0, 1.02, 15.0, 0.4, None, None)),
    joules=0.004,
    watts=4.0,
)


def example(kind: str = "measured") -> BenchRecord:
    contents: dict[str, dict[str, Any]] = {
        "measured": {
            "measurements": (MODEL,),
            "sustained": Sustained(
                "litert", "m.int8.tflite", "int8", 1, 9.0, 9000, 3.0, 1.0, 1.1, (Step(1.0, 9000, 1.0, 1.3),)
            ),
            "scores": (Score("litert", "m.int8.tflite", "int8", "test", "d" * 64, 100, 0.5, (0.4, 0.6)),),
            "trace": Trace((0.0, 1.0), (48.5, None), (1500, 1500), (None, 4.0), ("throttled",), "ina3221 VDD_IN"),
            "idle_watts": 2.5,
        },
        "emulated": {
            "emulator": Emulator("cortex-a76", "qemu-aarch64 7.2.22", "Debian bookworm arm64"),
            "emulations": (
                Emulation(
                    "litert",
                    "2.3.0",
                    "XNNPACK",
                    "m.int8.tflite",
                    "int8",
                    83040,
                    210,
                    True,
                    1.0,
                    0.0,
                    Instructions(150, 50, 40, 30, 20, 10),
                    (150, 151),
                ),
            ),
        },
        "estimated": {
            "emulator": Emulator("cortex-a76", "qemu-aarch64 7.2.22", "Debian bookworm arm64"),
            "estimates": (Estimate("litert", "m.int8.tflite", "int8", 150, 1.5, 0.2),),
        },
    }
    return BenchRecord(
        command="edgefer bench",
        created="2025-11-21T05:00:00+00:00",
        device="rpi5",
        environment={"before": {"cpu": "Cortex-A76"}, "after": {}},
        bundle=BundleIdentity("m", "edge-s", "0" * 64, ("happy", "sad"), {"size": 48}),
        kind=kind,
        notes=("a note",),
        **contents[kind],
    )


@pytest.mark.parametrize("kind", records.KINDS)
@given(st.data())
@settings(max_examples=30)
def test_plain_data_gives_the_record_back(kind: str, data: st.DataObject) -> None:
    record = data.draw(any_record(kind))
    found = json.loads(json.dumps(record.as_dict(), allow_nan=False))
    assert BenchRecord.from_dict(found) == record
    assert BenchRecord.from_dict(found).as_dict() == record.as_dict()


@pytest.mark.parametrize("kind", records.KINDS)
def test_a_file_gives_the_record_back(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "folder" / "record.json"
    write_record(example(kind), path)
    assert read_record(path) == example(kind)
    data = json.loads(path.read_text())
    assert (data["schema"], data["kind"], data["valid"], data["quick"]) == (2, kind, True, False)
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


def test_each_kind_has_what_programs_rely_on_and_nothing_of_another() -> None:
    own = {kind: set(example(kind).as_dict()) for kind in records.KINDS}
    common = set.intersection(*own.values())
    assert own["measured"] - common == {"measurements", "sustained", "scores", "trace", "idle_watts"}
    assert own["emulated"] - common == {"emulator", "bit_identical", "instructions_per_inference", "emulations"}
    assert own["estimated"] - common == {"emulator", "estimates"}
    measured, emulated = example().as_dict(), example("emulated").as_dict()
    assert measured["measurements"][0]["latency_ms"]["p50"] == 1.0
    assert measured["measurements"][0]["runs"] == 1024
    assert (emulated["bit_identical"], emulated["instructions_per_inference"]) == (True, 150)


@pytest.mark.parametrize("kind", records.KINDS)
def test_a_record_cut_short_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "record.json"
    whole_text = json.dumps(example(kind).as_dict(), ensure_ascii=False).encode()
    for length in range(len(whole_text)):
        path.write_bytes(whole_text[:length])
        with pytest.raises(RecordError, match=r"record\.json"):
            read_record(path)
    path.write_bytes(whole_text)
    assert read_record(path) == example(kind)


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


MEASURED = [
    (changed("schema", value=1), "schema is 1, this version reads 2; measure again"),
    (changed("schema", value=3), "schema is 3, this version reads 2; install a newer edgefer"),
    (changed("schema", value=0), "measure again"),
    (changed("schema", value="2"), "'schema' must be int"),
    (changed("schema", value=True), "'schema' must be int"),
    (changed("schema", value=DELETE), "'schema' is missing"),
    (changed("kind", value="guessed"), "known: measured, emulated, estimated"),
    (changed("kind", value="emulated"), "'emulator' is missing"),
    (changed("kind", value="estimated"), "'emulator' is missing"),
    (changed("valid", value=False), "contradict"),
    (changed("valid", value=1), "'valid' must be bool"),
    (changed("invalid_reasons", value=["hot"]), "contradict"),
    (changed("invalid_reasons", value=[1]), "must hold texts"),
    (changed("noisy_reasons", value=[None]), "must hold texts"),
    (changed("notes", value="none"), "'notes' must be list"),
    (changed("quick", value=0), "'quick' must be bool"),
    (changed("created", value="yesterday"), "date and time"),
    (changed("device", value=DELETE), "'device' is missing"),
    (changed("extra", value=1), "unknown field 'extra'"),
    (changed("emulations", value=[]), "unknown field 'emulations'"),
    (changed("environment", value={"before": {}}), "two snapshots"),
    (changed("environment", "after", value=[]), "two snapshots"),
    (changed("bundle", "labels", value="happy"), "'labels' must be list"),
    (changed("bundle", "digest", value=DELETE), "bundle: 'digest' is missing"),
    (changed("bundle", "preprocess", value=[]), "'preprocess' must be dict"),
    (changed("measurements", value={}), "'measurements' must be list"),
    (changed("measurements", 0, value=3), "measurement must be an object"),
    (changed("measurements", 0, "scope", value="world"), "known: model, pipeline"),
    (changed("measurements", 0, "bytes", value=-1), "out of range"),
    (changed("measurements", 0, "bytes", value=10**30), "out of range"),
    (changed("measurements", 0, "threads", value=1.5), "'threads' must be int"),
    (changed("measurements", 0, "provider_wanted", value=1), "'provider_wanted' must be str"),
    (changed("measurements", 0, "joules", value=-1.0), "no measurement gives"),
    (changed("measurements", 0, "latency_ms", "p50", value=DELETE), "latency_ms: 'p50' is missing"),
    (changed("measurements", 0, "latency_ms", "p50", value=-0.5), "no measurement gives"),
    (changed("measurements", 0, "latency_ms", "p50", value=10**400), "out of range"),
    (changed("measurements", 0, "latency_ms", "p75", value=1.0), "unknown field 'p75'"),
    (changed("measurements", 0, "latency_ms", "quantiles", value=[1.0]), "quantiles must be 21, found 1"),
    (changed("measurements", 0, "latency_ms", "quantiles", value=[None] * 21), "must hold numbers"),
    (changed("measurements", 0, "stages_ms", value={"detect": {"p50": 1.0}}), "'p99' is missing"),
    (changed("measurements", 0, "rounds", value=[]), "no rounds"),
    (changed("measurements", 0, "rounds", value=DELETE), "'rounds' is missing"),
    (changed("measurements", 0, "rounds", 0, "load_ms", value="fast"), "'load_ms' must be float"),
    (changed("measurements", 0, "rounds", 0, "load_ms", value=None), "'load_ms' must be float"),
    (changed("sustained", "first_p50", value=0.0), "'first_p50' is 0"),
    (changed("sustained", "steps", 0, "runs", value=-1), "out of range"),
    (changed("scores", 0, "accuracy", value=0.7), "does not lie in its interval"),
    (changed("scores", 0, "ci95", value=[0.4, 1.2]), "does not lie in its interval"),
    (changed("scores", 0, "ci95", value=[0.4]), "does not lie in its interval"),
    (changed("trace", "mhz", value=[1500]), "lists differ in length"),
    (changed("trace", "seconds", value=[1.0, 0.0]), "trace: 'seconds'"),
    (changed("trace", "power_source", value=None), "watts without 'power_source'"),
    (changed("idle_watts", value="much"), "'idle_watts' must be float"),
]
EMULATED = [
    (changed("schema", value=1), "schema is 1, this version reads 2; measure again"),
    (changed("emulations", value=[]), "no emulations"),
    (changed("emulations", value=DELETE), "'emulations' is missing"),
    (changed("emulator", value=None), "'emulator' must be dict"),
    (changed("emulator", "cpu", value=DELETE), "'cpu' is missing"),
    (changed("bit_identical", value=False), "is not that of the first emulation"),
    (changed("bit_identical", value=DELETE), "'bit_identical' is missing"),
    (changed("instructions_per_inference", value=149), "is not that of the first emulation"),
    (changed("emulations", 0, "instructions", "total", value=151), "add up to 150, not 151"),
    (changed("emulations", 0, "instructions", "simd", value=41), "add up to 151, not 150"),
    (changed("emulations", 0, "instructions", "simd", value=-40), "out of range"),
    (changed("emulations", 0, "instructions", "other", value=0), "unknown field 'other'"),
    (changed("emulations", 0, "bit_identical", value=1), "'bit_identical' must be bool"),
    (changed("emulations", 0, "repeats", value=[]), "must be counts of instructions"),
    (changed("emulations", 0, "repeats", value=[150, 0]), "must be counts of instructions"),
    (changed("emulations", 0, "repeats", value=[150.0]), "must be counts of instructions"),
    (changed("measurements", value=[]), "unknown field 'measurements'"),
]
ESTIMATED = [
    (changed("estimates", value={}), "'estimates' must be list"),
    (changed("estimates", 0, "error", value=DELETE), "'error' is missing"),
    (changed("estimates", 0, "ms", value=-1.0), "no measurement gives"),
    (changed("instructions_per_inference", value=150), "unknown field 'instructions_per_inference'"),
]
BROKEN = [
    (kind, change, message)
    for kind, changes in (("measured", MEASURED), ("emulated", EMULATED), ("estimated", ESTIMATED))
    for change, message in changes
]


@pytest.mark.parametrize(("kind", "change", "message"), BROKEN)
def test_a_changed_record_is_refused(tmp_path: Path, kind: str, change: Callable[[Any], None], message: str) -> None:
    data = copy.deepcopy(example(kind).as_dict())
    change(data)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def spoilt(data: Any, value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield copies of plain data, each with another one of its numbers replaced, and the name of the number's field."""
    if isinstance(data, dict):
        for key, child in data.items():
            yield from ((n, data | {key: bad}) for n, bad in spoilt(child, value, key))
    elif isinstance(data, list):
        for i, child in enumerate(data):
            yield from ((n, [*data[:i], bad, *data[i + 1 :]]) for n, bad in spoilt(child, value, name))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield name, value


NULLABLE = ["base_mib", "idle_watts", "joules", "mhz", "mhz", "peak_mib", "temperature_c", "watts", "watts"]


@pytest.mark.parametrize("kind", records.KINDS)
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 10**400, "1", None, [], {}, True], ids="{!r:.9}".format
)
def test_whatever_is_no_number_is_refused_in_one_way(kind: str, value: Any) -> None:
    data = example(kind).as_dict()
    data["bundle"]["preprocess"] = {}  # as free as the environment
    accepted = []
    for name, bad in spoilt(data, value):
        with contextlib.suppress(RecordError):
            BenchRecord.from_dict(bad)
            accepted.append(name)
    repeats = ["repeats", "repeats"] if kind == "emulated" and value == 10**400 else []  # counts have no end
    assert sorted(accepted) == (NULLABLE if kind == "measured" and value is None else repeats)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("where", ['"p50": 1.0', '"cpu": "Cortex-A76"', '"size": 48'])
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
