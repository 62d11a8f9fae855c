"""The committed counts of emulated boards still hold: a gate for models and engines that no noise disturbs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefer.bench.counted import Emulation
from edgefer.bench.emulator.root import DISTRIBUTIONS
from edgefer.bench.emulator.run import Task, emulate
from edgefer.bench.subjects import drawn_faces
from edgefer.bundle import open_bundle
from edgefer.plugins import versions
from tests.bench.emulated import pieces

RECORDS = Path(__file__).parents[2] / "benchmarks" / "records"
BOARDS = ("rpi4", "rpi5")
TOLERANCE = 0.01
FACES = 14


def committed() -> list[tuple[str, str, Emulation]]:
    """Return board, digest of the bundle and row of all that is committed."""
    rows = []
    for board in BOARDS:
        path = RECORDS / f"{board}-emulated.json"
        if path.is_file():
            record = json.loads(path.read_text(encoding="utf-8"))
            found = [Emulation.from_dict(entry) for entry in record["emulations"]]
            rows += [(board, record["bundle"]["digest"], row) for row in found]
    return rows


ROWS = committed()


def test_there_are_committed_counts() -> None:
    if not RECORDS.is_dir():
        pytest.skip("a source distribution has no benchmarks/records")
    assert {(board, row.engine) for board, _, row in ROWS if row.precision == "int8"} >= {
        (board, engine) for board in BOARDS for engine in ("litert", "onnxruntime", "openvino")
    }


def test_the_committed_counts_are_those_of_the_bundle_that_ships() -> None:
    assert {digest for _, digest, _ in ROWS} <= {open_bundle().digest()}, "make the records again"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("board", "row"), [(b, r) for b, _, r in ROWS], ids=[f"{b}-{r.engine}-{r.precision}" for b, _, r in ROWS]
)
def test_an_inference_still_costs_what_is_committed(
    tmp_path_factory: pytest.TempPathFactory, board: str, row: Emulation
) -> None:
    bundle = open_bundle()
    package = DISTRIBUTIONS[row.engine]
    here = versions([package]).get(package)
    if here is None or here.split("-")[0] != row.engine_version:
        pytest.skip(f"the counts are those of {package} {row.engine_version}, here it is {here}: make the record again")
    folder = pieces(tmp_path_factory)
    faces = drawn_faces(bundle, FACES // len(bundle.labels))
    (found,) = emulate(bundle, board, [Task(row.engine, row.precision)], faces, repeats=1, folder=folder)
    assert found.provider == row.provider
    if row.same_label == 1.0:
        assert found.same_label == 1.0
    assert found.instructions.total == pytest.approx(row.instructions.total, rel=TOLERANCE)
    for name in ("integer", "simd", "dot", "load_store", "branch"):
        part, was = getattr(found.instructions, name), getattr(row.instructions, name)
        assert part == pytest.approx(was, abs=TOLERANCE * row.instructions.total), name
