"""The published JSON Schema of a record: what edgefer writes keeps to it, and what it refuses a reader refuses."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from edgefer.bench import counted, latency, record, rows, trace
from edgefer.bench.record import BenchRecord
from edgefer.errors import RecordError
from tests.bench import records

jsonschema = pytest.importorskip("jsonschema")

SCHEMA = json.loads((Path(record.__file__).parent / "record.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
OPTIONAL = {"size"}
"""Fields of a detector's rows alone."""
GOLDEN = Path(__file__).parent / "golden" / "report"


def examples() -> list[dict[str, Any]]:
    """Return a record of each kind as plain data, with a bit of everything and not too much of it."""
    x86 = records.x86()
    assert x86.sustained is not None
    short = replace(
        x86,
        measurements=(x86.measurements[0], x86.measurements[-1]),
        sustained=replace(x86.sustained, steps=x86.sustained.steps[:2]),
        scores=x86.scores[:1],
        trace=records.trace(3, 41, 58, 1800, 1000, 5.0),
    )
    every = [short, records.throttled(), records.emulated("rpi5"), records.estimated()]
    every += [records.detector(), records.emulated_detector()]
    return [json.loads(json.dumps(replace(r, trace=r.trace and short.trace).as_dict())) for r in every]


EXAMPLES = examples()


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each schema of an object with its own properties."""
    if isinstance(schema, dict):
        if "required" in schema and "properties" in schema and "if" not in schema:
            yield schema
        for name, value in schema.items():
            if name != "if":
                yield from objects(value)


def test_the_schema_is_one_and_has_the_version_of_the_records() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == record.SCHEMA
    assert SCHEMA["properties"]["kind"]["enum"] == list(record.KINDS)
    assert SCHEMA["$defs"]["measurement"]["properties"]["scope"]["enum"] == list(rows.SCOPES)
    quantiles = SCHEMA["$defs"]["latency"]["properties"]["quantiles"]
    assert quantiles["minItems"] == quantiles["maxItems"] == len(latency.QUANTILES)
    assert SCHEMA["$defs"]["trace"]["properties"]["seconds"]["maxItems"] == trace.MAX_POINTS


def test_every_field_but_the_size_is_required_and_described() -> None:
    found = list(objects(SCHEMA))
    assert len(found) > 15
    for one in found:
        assert one["description"].endswith("."), one
        assert set(one["required"]) == set(one["properties"]) - OPTIONAL
        for name, field in one["properties"].items():
            assert field["description"].endswith("."), name


@pytest.mark.parametrize(
    ("name", "noun"),
    [
        ("bundle", rows.BundleIdentity),
        ("round", rows.Round),
        ("sustained", rows.Sustained),
        ("step", rows.Step),
        ("score", rows.Score),
        ("trace", trace.Trace),
        ("emulator", counted.Emulator),
        ("instructions", counted.Instructions),
        ("emulation", counted.Emulation),
        ("estimate", counted.Estimate),
    ],
)
def test_the_schema_has_the_fields_of_the_nouns(name: str, noun: Any) -> None:
    assert set(SCHEMA["$defs"][name]["properties"]) == {field.name for field in fields(noun)}


@pytest.mark.parametrize("path", sorted(p for p in GOLDEN.glob("*.json") if p.name != "evaluations.json"))
def test_golden_records_keep_to_the_schema(path: Path) -> None:
    VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))


def test_there_are_goldens_of_every_kind() -> None:
    kinds = {json.loads(p.read_text())["kind"] for p in GOLDEN.glob("*.json") if p.name != "evaluations.json"}
    assert kinds == set(record.KINDS)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything in plain data, but for what lies in an environment, where anything may be."""
    yield path
    if path and path[0] == "environment" and len(path) == 2:
        return
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in children:
        yield from places(value, (*path, key))


PLACES = [list(places(example)) for example in EXAMPLES]
other_values = st.sampled_from(
    [None, True, False, 0, 1, -1, 2, 1.0, 0.5, -0.5, 1e300, 2**63, 10**30, "", "text", "measured", [], [1], ["a"], {}]
    + [{"p50": 1.0, "p99": 2.0}, [None], [0.5, 0.2], "x" * 200]
)


@st.composite
def changed_record(draw: st.DrawFn) -> Any:
    """Return one of the examples with one thing changed, added or taken away."""
    index = draw(st.integers(0, len(EXAMPLES) - 1))
    data: Any = copy.deepcopy(EXAMPLES[index])
    path = draw(st.sampled_from(PLACES[index]))
    if not path:
        return draw(other_values)
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    how = draw(st.sampled_from(["replace", "replace", "delete", "add"]))
    if how == "replace":
        parent[path[-1]] = draw(other_values)
    elif how == "delete":
        del parent[path[-1]]
    elif isinstance(parent, list):
        parent.append(draw(other_values))
    else:
        parent[draw(st.sampled_from(["extra", "schema", "measurements", "emulations"]))] = draw(other_values)
    return data


@given(changed_record())
@settings(max_examples=400)
def test_what_the_schema_refuses_a_reader_refuses(data: Any) -> None:
    refused = not VALIDATOR.is_valid(data)
    event(f"refused by the schema: {refused}")
    try:
        BenchRecord.from_dict(data)
    except RecordError:
        return
    assert not refused, next(VALIDATOR.iter_errors(data)).message


@given(st.integers(0, len(EXAMPLES) - 1), st.data())
@settings(max_examples=100)
def test_taking_away_or_adding_a_field_is_refused_by_both(index: int, draw: st.DataObject) -> None:
    data = copy.deepcopy(EXAMPLES[index])
    found = [p for p in PLACES[index] if p and isinstance(p[-1], str) and p[0] != "environment"]
    path = draw.draw(st.sampled_from([p for p in found if "stages_ms" not in p[:-1] and "preprocess" not in p[:-1]]))
    parent: Any = data
    for key in path[:-1]:
        parent = parent[key]
    if path[-1] not in OPTIONAL and draw.draw(st.booleans()):
        del parent[path[-1]]
    else:
        parent["unknown"] = 1
    assert not VALIDATOR.is_valid(data)
    with pytest.raises(RecordError):
        BenchRecord.from_dict(data)


@pytest.mark.parametrize(
    "size", [None, [], [240], [240, 320, 1], [0, 320], [True, 320], [240, -1], "320x240", [2**63, 1]]
)
def test_a_size_is_height_and_width(size: Any) -> None:
    for record_of, rows_of in ((records.detector, "measurements"), (records.emulated_detector, "emulations")):
        data = json.loads(json.dumps(record_of().as_dict()))
        assert data[rows_of][1]["size"] == [240, 320]
        assert BenchRecord.from_dict(data) == record_of()
        data[rows_of][1]["size"] = size
        assert not VALIDATOR.is_valid(data)
        with pytest.raises(RecordError, match=r"'size' must be (height and width|list), found"):
            BenchRecord.from_dict(data)


def test_records_of_classifiers_are_what_they_were() -> None:
    for example in EXAMPLES[:4]:
        rows_of = example.get("measurements", example.get("emulations", []))
        assert not [row for row in rows_of if "size" in row]
    assert record.SCHEMA == 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: str(e["kind"]))
def test_valid_and_its_reasons_belong_together(example: dict[str, Any]) -> None:
    VALIDATOR.validate(example)
    for valid, reasons in ((True, ["hot"]), (False, [])):
        changed = example | {"valid": valid, "invalid_reasons": reasons}
        assert not VALIDATOR.is_valid(changed)
