"""A process of its own: what it says arrives, what it refuses is an error, and it never outlives who started it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgefer.errors import ExportError
from edgefer.optimize import worker

PROGRAM = """#!{python}
import os, sys, time
sys.path.insert(0, {root!r})
from edgefer.errors import ExportError
from edgefer.optimize import worker
print("noise on standard output")
{body}
"""


def start(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str, listener: Any = None) -> None:
    """Run a program in the place of `python -m edgefer.optimize.NAME FOLDER`."""
    import sys

    root = str(Path(worker.__file__).parents[2])
    program = folder / "program"
    program.write_text(PROGRAM.format(python=sys.executable, root=root, body=body))
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    worker.run("tune_process", folder, listener)


def test_messages_arrive_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any) -> None:
    heard: list[Mapping[str, Any]] = []
    start(monkeypatch, tmp_path, "for k in range(3): worker.tell(step=k)", heard.append)
    assert heard == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert capfd.readouterr() == ("", "")


def test_a_refusal_is_the_error_that_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    body = "with worker.refusals_told(): raise ExportError('the layer x is odd')"
    with pytest.raises(ExportError, match=r"^the layer x is odd$"):
        start(monkeypatch, tmp_path, body)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('bad thing')", r"fine-tuning failed \(exit 1\): ValueError: bad thing"),
        (
            "sys.stderr.write('Aborted: x\\n'); sys.stderr.flush(); os.abort()",
            r"fine-tuning failed \(SIGABRT\): Aborted",
        ),
        ("os.kill(os.getpid(), 9)", r"fine-tuning failed \(SIGKILL\): noise|it said nothing"),
    ],
)
def test_a_crash_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, said: str
) -> None:
    with pytest.raises(ExportError, match=said) as error:
        start(monkeypatch, tmp_path, body)
    assert "\n" not in str(error.value)


def test_it_ends_when_the_listener_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(message: Mapping[str, Any]) -> None:
        (tmp_path / "pid").write_text(str(message["pid"]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(monkeypatch, tmp_path, "worker.tell(pid=os.getpid()); time.sleep(60)", interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_nothing_is_reported_to_anyone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    heard: list[Mapping[str, Any]] = []
    start(monkeypatch, tmp_path, "worker.tell(ci=os.environ.get('CI'))", heard.append)
    assert heard == [{"ci": "true"}]


def test_it_does_not_wait_for_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    began = time.monotonic()
    start(monkeypatch, tmp_path, "assert sys.stdin.read() == ''")
    assert time.monotonic() - began < 20
