"""The committed records about the detector are of the one that ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgefer.bundle import open_bundle, open_detector_bundle

RECORDS = Path(__file__).parents[2] / "benchmarks" / "records"
NAMES = (
    "detectors-x86", "detector-instructions", "in-video", "alignment", "det-s-rpi4-emulated", "det-s-rpi5-emulated"
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_of_the_detector_that_ships(name: str) -> None:
    if not RECORDS.is_dir():
        pytest.skip("a source distribution has no benchmarks/records")
    record = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))
    detector = record.get("detector") or record["bundle"]
    assert detector["digest"] == open_detector_bundle().digest(), "make the record again"
    if "detector" in record:
        assert record["bundle"]["digest"] == open_bundle().digest(), "make the record again"
