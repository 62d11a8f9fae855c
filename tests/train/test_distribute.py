"""Several workers: they give what one gives, and one that dies ends the run so that it can go on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer import plugins
from edgefer.errors import TrainError
from edgefer.train import distribute

needs_tensorflow = pytest.mark.skipif(not plugins.installed("tensorflow"), reason="needs edgefer[train]")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(workers: int, state: Path, *arguments: str) -> list[subprocess.Popen[str]]:
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(workers)]}
    processes = []
    for index in range(workers):
        environment = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
        if workers > 1:
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), str(state), *arguments]
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    return processes


def finish(processes: list[subprocess.Popen[str]], timeout: float = 150) -> list[tuple[int, str, str]]:
    deadline = time.monotonic() + timeout
    found = []
    try:
        for process in processes:
            out, error = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
            found.append((process.returncode, out, error))
    finally:
        for process in processes:
            process.kill()
    return found


def train(workers: int, state: Path, *arguments: str) -> list[Any]:
    results = []
    for code, out, error in finish(start(workers, state, *arguments)):
        assert code == 0, error
        results.append(json.loads(out))
    return results


@needs_tensorflow
@pytest.mark.slow
def test_two_workers_give_what_one_gives_and_go_on_after_one_was_killed(tmp_path: Path) -> None:
    (alone,) = train(1, tmp_path / "alone.npz", "epochs=3")
    chief, other = train(2, tmp_path / "two.npz", "epochs=3")
    assert (alone["replicas"], chief["replicas"]) == (1, 2)
    assert chief["history"] == other["history"]
    np.testing.assert_allclose(chief["history"], alone["history"], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(chief["weights"], alone["weights"], rtol=1e-2, atol=1e-3)

    broken = tmp_path / "broken.npz"
    chief_dies = finish(start(2, broken, "epochs=3", "die=1:2:2"))
    assert chief_dies[1][0] == -9
    code, _, error = chief_dies[0]
    assert code == 1, error
    (last,) = error.strip().splitlines()[-1:]
    assert "lost another worker" in last
    assert "--resume" in last
    resumed, _ = train(2, broken, "epochs=3", "resume=1")
    np.testing.assert_allclose(resumed["history"], chief["history"], rtol=1e-5)
    np.testing.assert_allclose(resumed["weights"], chief["weights"], rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_configuration_that_is_not_right(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(TrainError, match="TF_CONFIG must be like"):
        distribute.task()


def test_who_is_the_chief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert distribute.task().chief
    cluster = {"chief": ["a:1"], "worker": ["b:2", "c:3"]}
    for role, index, place in (("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": role, "index": index}}))
        found = distribute.task()
        assert (found.index, found.chief) == (place, place == 0)
        assert found.addresses == ("a:1", "b:2", "c:3")
