"""The lines of `edgefer run --json` against their published schema."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box
from edgefer.runtime import results
from edgefer.runtime.results import FaceResult, FrameResult

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((Path(results.__file__).parent / "frame.schema.json").read_text())
GOLDEN = ROOT / "tests" / "golden" / "frame.json"
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def golden() -> dict[str, Any]:
    """Return the line that must never change its meaning while the schema's version stays."""
    return dict(json.loads(GOLDEN.read_text()))


def test_the_schema_is_one_and_has_the_version_of_the_results() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == results.SCHEMA


def test_every_field_is_described_and_stands_in_the_docs() -> None:
    docs = (ROOT / "docs" / "json.md").read_text()
    for fields in (SCHEMA["properties"], SCHEMA["$defs"]["face"]["properties"]):
        for name, field in fields.items():
            assert field["description"].endswith("."), name
            assert f"`{name}`" in docs, name


def test_the_golden_line_is_what_a_result_becomes() -> None:
    scores = dict(zip(FER2013_LABELS, (0.05, 0.0, 0.1, 0.6, 0.1, 0.05, 0.1), strict=True))
    faces = (
        FaceResult(Box(-3, 20, 100, 110), 0, "happy", 0.6, scores),
        FaceResult(Box(200, 30, 48, 48), 7, "happy", 0.6, scores, certain=False, detected=False),
    )
    result = FrameResult(42, 1.68, faces, {"detect": 6.125, "infer": 0.5}, name="a.jpg")
    assert result.to_json() == golden()
    VALIDATOR.validate(golden())


def test_fields_may_be_added() -> None:
    line = golden()
    line["mood"] = line["faces"][0]["age"] = 1
    VALIDATOR.validate(line)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line.pop("schema"),
        lambda line: line.update(schema=2),
        lambda line: line.update(frame=-1),
        lambda line: line.update(frame="1"),
        lambda line: line.update(time=None),
        lambda line: line.update(faces=None),
        lambda line: line.update(name=3),
        lambda line: line["stages_ms"].update(infer=-1),
        lambda line: line["faces"][0].pop("detected"),
        lambda line: line["faces"][0].update(box=[1, 2, 3]),
        lambda line: line["faces"][0].update(box=[1, 2, 3, 4, 5]),
        lambda line: line["faces"][0].update(box=[1, 2, 0, 4]),
        lambda line: line["faces"][0].update(box=[1.5, 2, 3, 4]),
        lambda line: line["faces"][0].update(confidence=1.01),
        lambda line: line["faces"][0].update(certain="yes"),
        lambda line: line["faces"][0].update(label=""),
        lambda line: line["faces"][0].update(scores={"happy": 1}),
        lambda line: line["faces"][0]["scores"].update(happy=-0.1),
    ],
)
def test_other_lines_are_refused(spoil: Callable[[dict[str, Any]], object]) -> None:
    line = copy.deepcopy(golden())
    spoil(line)
    assert not VALIDATOR.is_valid(line)


def test_what_a_run_writes_keeps_to_the_schema(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgefer", "run", "--source", "demo:10", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 10
    for line in lines:
        VALIDATOR.validate(line)
    assert [line["frame"] for line in lines] == list(range(10))
    faces = [face for line in lines for face in line["faces"]]
    assert faces
    for face in faces:
        assert sum(face["scores"].values()) == pytest.approx(1, abs=0.02)  # an int8 model has steps of 1/256
        assert face["confidence"] == face["scores"][face["label"]]
