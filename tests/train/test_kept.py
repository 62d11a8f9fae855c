"""Arrays that are kept in the user's cache, and what becomes of them when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgefer.train import kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path / "own"))
    return tmp_path / "own"


def test_what_was_kept_is_found_in_the_folder_of_edgefers_own_variable(cache: Path) -> None:
    assert kept.load("some") is None
    kept.store("some", one=np.arange(3), two=np.ones((2, 2), np.float32))
    arrays = kept.load("some")
    assert arrays is not None
    assert arrays.keys() == {"one", "two"}
    np.testing.assert_array_equal(arrays["one"], [0, 1, 2])
    assert arrays["two"].dtype == np.float32
    assert kept.load("other") is None
    assert [path.name for path in cache.iterdir()] == ["some.npz"]
    assert not cache.with_name("shared").exists()


@pytest.mark.parametrize("contents", [b"", b"PK\x03\x04 cut short", b"neither"])
def test_a_broken_file_is_as_none(cache: Path, contents: bytes) -> None:
    kept.store("some", one=np.arange(3))
    (cache / "some.npz").write_bytes(contents)
    assert kept.load("some") is None
    kept.store("some", one=np.arange(4))
    assert len((kept.load("some") or {})["one"]) == 4


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    kept.store("some", one=np.arange(3))
    assert kept.load("some") is None
