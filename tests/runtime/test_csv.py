import csv
import os
import resource
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from edgefer.errors import SinkError
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FaceResult, FrameResult
from edgefer.runtime.sinks.csv import CsvFile

SCORES = {label: 0.1 for label in FER2013_LABELS} | {"happy": 0.4}
FRAME = Frame(0, 0.0, np.zeros((2, 2, 3), np.uint8))


def result(index: int = 0, faces: int = 1, name: str | None = None) -> FrameResult:
    seen = tuple(
        FaceResult(Box(np.int32(-10), 20, 100, 110), n, "happy", 0.4, SCORES, certain=n == 0)  # type: ignore[arg-type]
        for n in range(faces)
    )
    return FrameResult(index, 0.04 * index, seen, {}, name)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def until_it_fails(sink: CsvFile) -> tuple[int, str]:
    """Return how many rows arrived, and what was said then."""
    for index in range(10_000):
        try:
            sink.write(FRAME, result(index))
        except SinkError as error:
            return index, str(error)
    raise AssertionError("the disk never filled")


def test_a_row_for_each_face_and_frame(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    sink = CsvFile(path, FER2013_LABELS)
    for index, faces in enumerate([2, 0, 1]):
        sink.write(FRAME, result(index, faces))
    found = rows(path)  # before close: each frame is written at once
    sink.close()
    sink.close()
    assert [(row["frame"], row["id"], row["certain"]) for row in found] == [
        ("0", "0", "1"),
        ("0", "1", "0"),
        ("2", "0", "1"),
    ]
    first = dict(found[0])
    age = datetime.now(timezone.utc) - datetime.fromisoformat(first.pop("utc"))
    assert timedelta(0) <= age < timedelta(minutes=1)
    assert first == {
        "name": "",
        "frame": "0",
        "time": "0.0000",
        "id": "0",
        "x": "-10",
        "y": "20",
        "width": "100",
        "height": "110",
        "label": "happy",
        "certain": "1",
        "confidence": "0.400000",
        **{label: f"{score:.6f}" for label, score in SCORES.items()},
    }
    assert list(found[0])[-7:] == list(FER2013_LABELS)


def test_a_restart_appends(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    for index in range(3):
        sink = CsvFile(path, FER2013_LABELS)
        sink.write(FRAME, result(index))
        sink.close()
    assert [row["frame"] for row in rows(path)] == ["0", "1", "2"]


@pytest.mark.parametrize("content", [b"my,own,data\n1,2,3\n", b"\n", b"utc,name,frame\n", b"\x00" * 100])
def test_a_file_of_somebody_else_is_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(SinkError, match=r"mine\.csv exists, and its first line is not"):
        CsvFile(path, FER2013_LABELS)
    assert path.read_bytes() == content


def test_other_labels_are_another_file(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    CsvFile(path, FER2013_LABELS).close()
    with pytest.raises(SinkError, match="its first line is not"):
        CsvFile(path, sorted(FER2013_LABELS))


@pytest.mark.parametrize("torn", [b"2026-11-21T10:00:00", b"\x00" * 300_000, b"1,2\xff"])
def test_a_torn_last_line_is_cut_off(torn: bytes, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    sink = CsvFile(path, FER2013_LABELS)
    sink.write(FRAME, result(0))
    sink.close()
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    sink = CsvFile(path, FER2013_LABELS)
    assert path.read_bytes() == whole
    sink.write(FRAME, result(1))
    sink.close()
    assert [row["frame"] for row in rows(path)] == ["0", "1"]


def test_any_cut_of_the_first_line_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    CsvFile(path, FER2013_LABELS).close()
    header = path.read_bytes()
    assert header.endswith(b"\n")
    for length in range(len(header) + 1):
        path.write_bytes(header[:length])
        CsvFile(path, FER2013_LABELS).close()
        assert path.read_bytes() == header


def test_no_cell_is_a_formula_or_breaks_the_line(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    labels = ["=HYPERLINK(A1)", "a,b\nc", '"q"']
    face = FaceResult(Box(1, 2, 3, 4), 0, labels[0], 0.5, {label: 0.3 for label in labels})
    sink = CsvFile(path, labels)
    for name in ("=1+1.jpg", "+x", "-x", "@x", "\t=x", " =x", "＝x", "a\r\nb\u2028c", "\udcff.jpg"):
        sink.write(FRAME, FrameResult(0, 0, (face,), {}, name))
    sink.close()
    found = rows(path)
    assert [row["name"] for row in found] == [
        "'=1+1.jpg",
        "'+x",
        "'-x",
        "'@x",
        "' =x",
        "' =x",
        "'＝x",
        "a  b c",
        "\\udcff.jpg",
    ]
    assert list(found[0])[-3:] == ["'=HYPERLINK(A1)", "a,b c", '"q"']
    assert found[0]["label"] == "'=HYPERLINK(A1)"
    assert len(path.read_bytes().splitlines()) == 10


def test_two_processes_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    first = CsvFile(path, FER2013_LABELS)
    with pytest.raises(SinkError, match="written to by another process"):
        CsvFile(path, FER2013_LABELS)
    first.close()
    CsvFile(path, FER2013_LABELS).close()


def test_the_file_may_be_emptied_under_it(tmp_path: Path) -> None:
    """As logrotate does with copytruncate."""
    path = tmp_path / "faces.csv"
    sink = CsvFile(path, FER2013_LABELS)
    sink.write(FRAME, result(0))
    rotated = path.read_bytes()
    os.truncate(path, 0)
    sink.write(FRAME, result(1, faces=2))
    sink.close()
    assert [row["frame"] for row in rows(path)] == ["1", "1"]
    assert rotated.count(b"\n") == 2
    CsvFile(path, FER2013_LABELS).close()  # and a restart takes it


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: writes are cut short and then refused just so."""
    path = tmp_path / "faces.csv"
    sink = CsvFile(path, FER2013_LABELS)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1][1]))
        written, words = until_it_fails(sink)
        assert "faces.csv cannot be written: File too large; make room" in words
        assert written > 1
        assert [row["frame"] for row in rows(path)] == [str(n) for n in range(written)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[1])
        signal.signal(signal.SIGXFSZ, before[0])
    sink.write(FRAME, result(500))  # room again
    sink.close()
    assert rows(path)[-1]["frame"] == "500"
    assert path.read_bytes().endswith(b"\n")


def test_a_really_full_disk(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        sink = CsvFile(small / "faces.csv", FER2013_LABELS)
        written, words = until_it_fails(sink)
        assert "small/faces.csv cannot be written: No space left on device" in words
        assert [row["frame"] for row in rows(small / "faces.csv")] == [str(n) for n in range(written)]
        sink.close()
    finally:
        subprocess.run(["umount", small], check=True)


def test_impossible_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    descriptors = len(os.listdir("/proc/self/fd"))
    for path, words in (
        (tmp_path, "directory"),
        (tmp_path / "no/a.csv", "No such file"),
        (tmp_path / "pipe", "regular"),
    ):
        with pytest.raises(SinkError, match=words):
            CsvFile(path, FER2013_LABELS)
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_kill_9_loses_no_row_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_csv import *
from pathlib import Path
sink = CsvFile(Path({str(path)!r}), FER2013_LABELS)
for index in range(10**9):
    sink.write(FRAME, result(index, faces=3))
    print(index, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = ""
        while said != "50\n":
            said = child.stdout.readline()
            assert said
        child.kill()
        said = child.stdout.read().strip().splitlines()[-1:]
    last = int(said[0]) if said else 50
    CsvFile(path, FER2013_LABELS).close()
    found = [int(row["frame"]) for row in rows(path)]
    assert found[: 3 * (last + 1)] == [n for n in range(last + 1) for _ in range(3)]
