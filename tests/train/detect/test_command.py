"""`edgefer train --task detect` as a user and as a program meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgefer import plugins
from edgefer.bundle import open_detector_bundle
from edgefer.commands.train import command
from edgefer.errors import EdgeferError
from edgefer.train.detect.network import VARIANTS
from edgefer.train.unfinished import state_file

needs_keras = pytest.mark.skipif(not plugins.installed("keras"), reason="needs edgefer[train]")
SMALL = ("--arch", "det-xs", "--batch", "2", "--set", "views.width=64", "--set", "views.height=64")


@pytest.fixture(scope="module")
def heads(draw_scenes: Any) -> Path:
    folder: Path = draw_scenes(train=4, validation=2, empty=2)
    return folder


def call(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgefer", "train", "--task", "detect", *map(str, arguments)]


def test_the_list_is_complete_and_quick_to_get() -> None:
    code = "import sys; from edgefer import cli; sys.argv[0] = 'edgefer'\ntry:\n    cli.main()\n"
    code += "finally:\n    print(sorted(sys.modules), file=sys.stderr)"
    arguments = ["train", "--task", "detect", "--list", "--json"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        {"name": name, "parameters": facts.parameters, "macs": facts.macs} for name, facts in VARIANTS.items()
    ]
    assert "'tensorflow'" not in done.stderr
    assert "'keras'" not in done.stderr
    shown = CliRunner().invoke(command, ["--task", "detect", "--list"])
    assert shown.exit_code == 0
    for name, facts in VARIANTS.items():
        assert f"{facts.parameters:,}" in next(
            line for line in shown.output.splitlines() if line.startswith(name + " ")
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "--data is needed"),
        (["--data", "."], "--out is needed"),
        (["--arch", "edge-s"], "'edge-s' is not one of: det-xs, det-s"),
        (["--epochs", "3"], "--epochs is not for --task detect; leave it out"),
        (["--votes", "x.csv"], "--votes is not for"),
        (["--merge", "sad+neutral"], "--merge is not for"),
        (["--drop-rows", "x.csv"], "--drop-rows is not for"),
        (["--weights", "none"], "--weights is not for"),
        (["--unfreeze", "all"], "--unfreeze is not for"),
        (["--teacher", "x.edgefer"], "--teacher is not for"),
        (["--mixed-precision", "off"], "--mixed-precision is not for"),
        (["--seeds", "2"], "--seeds is not for"),
        (["--tensorboard", "logs"], "--tensorboard is not for"),
        (["--compare", "x.edgefer"], "--compare is not for"),
        (["stray.edgefer"], "unexpected argument 'stray.edgefer'"),
        (["--steps", "0"], "--steps"),
    ],
)
def test_called_wrongly(arguments: list[str], message: str) -> None:
    needed = [] if "is needed" in message else ["--data", ".", "--out", "x"]
    done = CliRunner().invoke(command, ["--task", "detect", *needed, *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_steps_are_not_for_classifiers() -> None:
    done = CliRunner().invoke(command, ["--data", ".", "--out", "x", "--steps", "3"])
    assert done.exit_code == 2
    assert "--steps is for --task detect; here it is --epochs" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "no-such"], "no detector recipe called 'no-such'"),
        (["--recipe", "no.toml"], "cannot read the recipe no.toml"),
        (["--set", "mosaic"], "NAME=VALUE"),
        (["--set", "mosaic=0.5"], "did you mean 'views.mosaic'"),
        (["--set", "views.mosaic=2"], "views.mosaic = 2.0 is out of range"),
        (["--learning-rate", "-1"], "learning_rate = -1.0 is out of range"),
        (["--data", "no-such"], "there is no data at no-such"),
        (["--resume"], "nothing to resume"),
    ],
)
@needs_keras
def test_bad_input_is_one_clear_line(arguments: list[str], message: str, heads: Path, tmp_path: Path) -> None:
    needed = ["--task", "detect", "--data", str(heads), "--out", str(tmp_path / "x.edgefer"), "--no-page"]
    done = CliRunner().invoke(command, [*needed, *arguments])
    assert isinstance(done.exception, EdgeferError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not list(tmp_path.iterdir())


@needs_keras
@pytest.mark.slow
def test_a_run_with_its_page(heads: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs edgefer[train]")
    out = tmp_path / "heads.edgefer"
    run = call("--data", heads, "--out", out, "--steps", 5, "--json", *SMALL, "--set", "check_every=2", "--seed", 3)
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bundle = open_detector_bundle(out)
    bundle.verify()
    found = json.loads(done.stdout)
    assert found.pop("bundle") == str(out)
    assert found == {**found, **next(iter(bundle.metrics.values())), "threshold": bundle.threshold}
    assert (bundle.architecture, bundle.recipe["seed"], bundle.recipe["views"]["width"]) == ("det-xs", 3, 64)
    looks = [line for line in done.stderr.splitlines() if line.startswith("step")]
    assert [line.split("/")[0].split()[-1] for line in looks] == ["2", "4", "5"]
    assert "4 pictures" not in done.stderr.splitlines()[0]
    assert "8 pictures" not in done.stdout
    assert "6 pictures with 6 faces to train on, 4 to choose by" in done.stderr
    names = {path.name for path in (tmp_path / "heads.run").iterdir()}
    assert {"index.html", "curves.png", "sizes.png"} <= names
    assert {path.name for path in tmp_path.iterdir()} == {"heads.edgefer", "heads.run"}
    again = subprocess.run(run, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stdout == ""
    assert "exists and is a bundle" in again.stderr


@needs_keras
@pytest.mark.slow
def test_ctrl_c_and_a_kill_then_resume(heads: Path, tmp_path: Path) -> None:
    out = tmp_path / "stopped.edgefer"
    run = call("--data", heads, "--out", out, "--steps", 5000, "--no-page", *SMALL, "--set", "check_every=2")
    state = state_file(out)
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not state.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    shown, said = process.communicate(timeout=100)
    assert process.returncode == 130, said
    assert said.strip().endswith("interrupted")
    assert (shown, state.exists(), out.exists()) == ("", True, False)
    again = subprocess.run(run, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "--resume" in again.stderr
    before = len([line for line in said.splitlines() if line.startswith("step")])
    assert before >= 1
    resumed = subprocess.Popen([*run, "--resume"], stderr=subprocess.PIPE, text=True)
    assert resumed.stderr is not None
    first = next(line for line in resumed.stderr if line.startswith("step"))
    assert int(first.split("/")[0].split()[-1]) in (2 * before + 2, 2 * before + 4)
    os.kill(resumed.pid, signal.SIGKILL)
    resumed.communicate()
    assert (state.exists(), out.exists()) == (True, False)
