"""`edgefer evaluate` as a person or a program meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgefer import cartoon
from edgefer.bench.evaluation import evaluations_of
from edgefer.bundle import Bundle
from edgefer.runtime.engines import installed_engines, load
from edgefer.train.data.votes import CHOICES, HEADER


def evaluate(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgefer", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images, labels = cartoon.dataset(3, seed=1)
    path = tmp_path_factory.mktemp("faces") / "validation.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def votes(faces: Path) -> Path:
    """Everybody says neutral, of all 21 pictures."""
    path = faces.with_name("fer2013new.csv")
    lines = ["PublicTest,fer{:07d}.png," + ",".join("10" if c == "neutral" else "0" for c in CHOICES)] * 21
    path.write_text("\n".join([HEADER.decode(), *(line.format(28_709 + i) for i, line in enumerate(lines))]))
    return path


def test_json_is_an_evaluation_and_nothing_else(faces: Path, votes: Path, tiny_bundle: Bundle) -> None:
    done = evaluate(tiny_bundle.path, "--data", faces, "--votes", votes, "--robustness", "--faces", "5", "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    (found,) = evaluations_of(data)
    assert {"accuracy", "ci95", "n", "macro_f1", "weighted_f1", "per_class", "confusion", "engine"} <= set(data)
    assert (data["schema"], data["kind"], data["n"], data["split"]) == (1, "evaluation", 21, "validation")
    assert found.command.endswith(f"--votes {votes} --robustness --faces 5 --json")
    assert found.command.startswith(f"edgefer evaluate {tiny_bundle.path} ")
    assert found.bundle.digest == tiny_bundle.digest()
    assert found.votes is not None
    assert found.votes.relabelled == 18
    assert found.votes.accuracy.per_class["neutral"].support == 21
    assert found.robustness is not None
    assert (found.robustness.n, found.robustness.seed) == (5, 0)


def test_all_is_every_artifact_in_every_engine(faces: Path, tiny_bundle: Bundle) -> None:
    done = evaluate(tiny_bundle.path, "--data", faces, "--all", "--json")
    assert done.returncode == 0, done.stderr
    found = evaluations_of(json.loads(done.stdout))
    formats = {name: load(name).FORMAT for name in installed_engines()}
    assert {(e.engine, e.artifact) for e in found} == {
        (name, a.path) for name, form in formats.items() for a in tiny_bundle.artifacts if a.format == form
    }
    assert len({e.data for e in found}) == 1
    assert sum(e.against is None for e in found) == 1


def test_all_can_be_limited_and_is_a_row_each(faces: Path) -> None:
    done = evaluate("--data", faces, "--all", "--engine", "litert", "--robustness", "--faces", "2")
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines() if "tflite" in line][:2] == ["litert", "litert"]
    assert "vs float" in done.stdout
    assert any(line.split()[:2] == ["low", "resolution"] for line in done.stdout.splitlines())
    one = evaluate("--data", faces, "--all", "--engine", "litert", "--precision", "int8", "--json")
    assert [e["precision"] for e in json.loads(one.stdout)] == ["int8"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--faces", "3"], "add --robustness"),
        (["--seed", "3"], "add --robustness"),
        (["--all", "--png", "x.png"], "leave out --all"),
        (["--png", "x.jpg"], "must end in .png"),
        (["--robustness", "--faces", "0"], "--faces"),
        (["--robustness", "--seed", "-1"], "--seed"),
    ],
)
def test_options_that_would_do_nothing_are_refused(faces: Path, arguments: list[str], message: str) -> None:
    done = evaluate("--data", faces, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_figures_are_not_lost_with_a_picture_that_cannot_be_written(faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the report extra is not installed")
    (tmp_path / "file").touch()
    done = evaluate("--data", faces, "--engine", "litert", "--png", tmp_path / "file" / "x.png", "--json")
    assert done.returncode == 1
    assert f"cannot write {tmp_path / 'file' / 'x.png'}: " in done.stderr.splitlines()[-1]
    assert json.loads(done.stdout)["n"] == 21
    done = evaluate("--data", faces, "--engine", "litert", "--png", tmp_path / "new" / "x.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "x.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_done_is_one_line(faces: Path, votes: Path) -> None:
    done = evaluate("--data", faces, "--all", "--precision", "fp16")
    assert done.returncode == 1
    assert "has nothing for any installed engine in fp16; it has: " in done.stderr
    done = evaluate("--data", faces, "--votes", faces)
    assert done.returncode == 1
    assert "the first line must be Usage,Image name" in done.stderr
    assert "Traceback" not in done.stderr
