"""The table of systems in docs/systems.md says what `edgefer train --list` says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgefer.train.architectures import architecture_names
from edgefer.train.listing import listing
from edgefer.train.recipe import load_recipe

PAGE = Path(__file__).parent.parent / "docs" / "systems.md"
ROWS = dict(re.findall(r"^\| `([a-z0-9-]+)` (\|.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_system_has_a_row() -> None:
    assert sorted(ROWS) == architecture_names()


@pytest.mark.parametrize("entry", listing(), ids=lambda e: e.name)
def test_a_row_has_the_figures_of_the_list(entry) -> None:
    row = ROWS[entry.name]
    if entry.facts.parameters:
        assert f" {entry.facts.parameters:,} " in row
    if entry.score is None:
        assert "not trained here" in row
        return
    assert f"| {entry.score.accuracy:.3f} (".replace("0.", ".") in row
    assert entry.score.low <= entry.score.accuracy <= entry.score.high
    assert re.search(rf"--(arch|recipe) {entry.name} ", entry.score.command)
    given = re.search(r"--epochs (\d+)", entry.score.command)
    allowed = int(given.group(1)) if given else load_recipe(entry.name).epochs
    assert 0 <= entry.score.epochs <= allowed
