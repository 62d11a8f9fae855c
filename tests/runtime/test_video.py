"""Recordings: who may read them, and what becomes of those that were never finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgefer.errors import SinkError
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks.video import VideoFile
from edgefer.runtime.sources import open_source

KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult
from edgefer.runtime.sinks.video import VideoFile
sink = VideoFile(Path(sys.argv[1]), 25)
sink.write(Frame(0, 0.0, np.zeros((48, 64, 3), np.uint8)), FrameResult(0, 0.0, (), {}))
os.kill(os.getpid(), signal.SIGKILL)
"""


def recorded(path: Path) -> VideoFile:
    """A recording of one frame that is still open."""
    sink = VideoFile(path, 25)
    sink.write(Frame(0, 0.0, np.zeros((48, 64, 3), np.uint8)), FrameResult(0, 0.0, (), {}))
    return sink


@pytest.fixture
def private() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_nobody_else_may_read_a_recording_when_the_umask_says_so(private: None, tmp_path: Path) -> None:
    sink = recorded(tmp_path / "clip.mp4")
    assert [oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == ["0o600"]
    sink.close()
    assert oct((tmp_path / "clip.mp4").stat().st_mode & 0o777) == "0o600"


def test_a_file_that_came_into_being_meanwhile_is_kept_and_so_is_the_recording(tmp_path: Path) -> None:
    sink = recorded(tmp_path / "clip.mp4")
    (tmp_path / "clip.mp4").write_text("another recording")
    (tmp_path / "clip-2.mp4").write_text("and another")
    with pytest.raises(SinkError, match=r"this recording is .*clip-3\.mp4"):
        sink.close()
    assert (tmp_path / "clip.mp4").read_text() == "another recording"
    with open_source(str(tmp_path / "clip-3.mp4")) as source:
        assert len(list(source)) == 1
    assert len(list(tmp_path.iterdir())) == 3


def test_what_a_killed_recording_left_is_removed_and_one_under_way_is_not(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed.mp4")], timeout=60)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / ".mine.tmp.mp4").write_text("of another program")
    first = recorded(tmp_path / "first.mp4")
    assert not left.exists()
    second = recorded(tmp_path / "second.mp4")
    first.close()
    second.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp.mp4", "first.mp4", "second.mp4"]
