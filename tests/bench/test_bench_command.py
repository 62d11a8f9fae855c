"""`edgefer bench` as people call it: what is refused before minutes go into it, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from edgefer.bench import record as records
from edgefer.bench.emulator import programs
from edgefer.commands import _shared
from edgefer.commands import bench as benchmark
from edgefer.commands._measure import ended_in_order
from edgefer.commands._shared import called
from edgefer.errors import EmulatorError, RecordError
from tests.bench.records import x86

COMMAND = [sys.executable, "-m", "edgefer", "bench"]


def test_a_record_that_cannot_be_written_is_refused_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "measure_record", lambda **_: pytest.fail("it measured"))
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"cannot write .*record\.json: Not a directory; choose another place"):
        CliRunner().invoke(benchmark.command, ["--json", str(tmp_path / "file/record.json")], catch_exceptions=False)


def test_a_record_goes_into_a_folder_that_is_made_for_it(tmp_path: Path) -> None:
    records.refuse_unwritable(tmp_path / "new/folder/record.json")
    assert not list(tmp_path.iterdir())


def test_figures_are_shown_even_if_the_disk_is_full_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(benchmark, "measure_record", lambda **_: x86())
    monkeypatch.setattr("edgefer.files.write_text", full)
    done = CliRunner().invoke(benchmark.command, ["--json", str(tmp_path / "record.json")])
    assert isinstance(done.exception, RecordError)
    assert "p50 ms" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "--split is of --data"),
        (["--emulate", "rpi4", "--split", "test"], "--split is of --data"),
        (["--scope", "pipeline", "--threads", "1", "--threads", "2"], "one --engine and one --threads"),
        (["--sustained", "nan"], "not a valid integer"),
        (["--faces", "3"], "--faces goes with --emulate"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(benchmark.command, arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_what_is_given_twice_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def measure(**options: object) -> None:
        seen.update(options)
        raise click.Abort

    monkeypatch.setattr(benchmark, "measure_record", measure)
    arguments = ["--engine", "litert", "--engine", "litert", "--threads", "2", "--threads", "1", "--threads", "2"]
    CliRunner().invoke(benchmark.command, arguments)
    assert (seen["engines"], seen["threads"]) == (("litert",), (2, 1))


def test_the_command_can_be_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shared, "sys", SimpleNamespace(argv=["x", "bench", "my bundle", "--json", "b\udcff.json"]))
    assert shlex.split(called())[:3] == ["edgefer", "bench", "my bundle"]
    json.dumps(called(), ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_process_and_no_pictures(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["--quick", "--scope", "model", "--precision", "int8", "--engine", "litert", "--sustained", "600"]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while not any(tmp_path.glob("edgefer-bench-*/faces.npy")):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(number)
            assert process.wait(20) == 128 + number
        finally:
            process.kill()
    assert not list(tmp_path.iterdir())


def test_a_board_that_cannot_be_emulated_names_those_that_can() -> None:
    for board in ("", "rpi3", "jetson"):
        done = CliRunner().invoke(benchmark.command, ["--emulate", board])
        assert isinstance(done.exception, EmulatorError)
        assert str(done.exception).endswith("cannot be emulated; choose one of: rpi4, rpi5")


@pytest.mark.skipif(not programs.KEYRING.is_file(), reason="Debian's archive keyring is not installed")
def test_a_signal_ends_the_emulator_too(tmp_path: Path) -> None:
    """With programs of its names that never end: the emulator's are in a group of their own."""
    said = tmp_path / "pid"
    for name in programs.PACKAGES:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho $$ > {said}.new; mv {said}.new {said}\nsleep 60\n")
        program.chmod(0o755)
    with subprocess.Popen(
        [*COMMAND, "--emulate", "rpi4", "--engine", "litert"],
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin", "EDGEFER_CACHE_DIR": str(tmp_path / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while not said.exists():
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            process.terminate()
            assert process.wait(20) == 128 + signal.SIGTERM
        finally:
            process.kill()
    deadline = time.monotonic() + 10
    while living(int(said.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def living(group: int) -> list[str]:
    """Return the processes of the group that still run; who has ended stays in it until its parent, or init, asks."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(of_group) == group and state not in "ZX":
            found.append(stat.parent.name)
    return found


def test_an_ignored_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_in_order():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
