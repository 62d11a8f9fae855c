"""Where the state of a run stands, and when it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefer.errors import TrainError
from edgefer.train.unfinished import check_out, state_file, unfinished


def test_the_folder_is_there_during_the_run_and_gone_when_nothing_is_left_in_it(tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.edgefer"
    with unfinished(out, resume=False) as state:
        assert state == state_file(out)
        state.write_bytes(b"so far")
        state.unlink()
    assert not list(out.parent.iterdir())


def test_what_is_left_stays_to_go_on_from(tmp_path: Path) -> None:
    out = tmp_path / "x.edgefer"

    def run(state: Path) -> None:
        state.write_bytes(b"so far")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), unfinished(out, resume=False) as state:
        run(state)
    with unfinished(out, resume=True) as again:
        assert again.read_bytes() == b"so far"
        beside = again.with_name("mine.txt")
        beside.write_text("not of the run: it stays, and the run ends well")
        again.unlink()
    assert list(beside.parent.iterdir()) == [beside]


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nothing to resume"):
        check_out(tmp_path / "no.edgefer", resume=True)
    with pytest.raises(TrainError, match="cannot write"), unfinished(Path("/proc/no/x.edgefer"), resume=False):
        pass
    out = tmp_path / "there"
    out.mkdir()
    with pytest.raises(TrainError, match="not a bundle"):
        check_out(out, resume=False)
    (out / "manifest.json").write_text("{}")
    with pytest.raises(TrainError, match="exists and is a bundle"), unfinished(out, resume=False):
        pass
    assert list(tmp_path.iterdir()) == [out]
