"""`edgefer train` as a user and as a program meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgefer import cartoon, plugins
from edgefer.bundle import open_bundle
from edgefer.commands.train import command
from edgefer.errors import EdgeferError
from edgefer.train.architectures import facts

needs_keras = pytest.mark.skipif(not plugins.installed("keras"), reason="needs edgefer[train]")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for name, per_class, seed in (("train", 8, 1), ("validation", 3, 2)):
        images, labels = cartoon.dataset(per_class, seed)
        np.savez(folder / f"{name}.npz", images=images, labels=labels, rows=np.arange(len(images)) + 1000 * seed)
    return folder


def test_the_list_is_complete_and_quick_to_get() -> None:
    code = "import sys; from edgefer import cli; sys.argv[0] = 'edgefer'\ntry:\n    cli.main()\n"
    code += "finally:\n    print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "--list", "--json"], capture_output=True, text=True, check=True
    )
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found.keys() == facts().keys()
    for name, parameters, trainable in (
        ("mlp", 1_353_799, 1_353_799),
        ("custom-cnn", 353_287, 353_031),
        ("vgg19-transfer", 20_024_384 + 499_943, 499_943),
        ("vgg19-full", 20_027_975, 20_027_975),
        ("resnet50", 23_602_055, 23_548_935),
        ("efficientnetv2-l", 117_755_815, 8_967),
        ("deep-cnn", 4_181_895, 4_178_439),
    ):
        assert (found[name]["parameters"], found[name]["trainable_parameters"]) == (parameters, trainable)
    assert found["vgg19-full"]["document_score"] == 0.664
    assert 0.6 < found["edge-s"]["our_score"] < 0.7
    assert {"macs", "input"} <= found["mlp"].keys()
    assert "'tensorflow'" not in done.stderr
    assert "'keras'" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "--data is needed"),
        (["--data", "."], "--out is needed"),
        (["--compare"], "--compare needs bundles"),
        (["stray.edgefer"], "unexpected argument"),
        (["--data", ".", "--out", "x", "--arch", "edge-l"], "is not one of"),
        (["--data", ".", "--out", "x", "--unfreeze", "some"], "neither a number nor 'all'"),
        (["--data", ".", "--out", "x", "--seeds", "1"], "--seeds"),
    ],
)
def test_called_wrongly(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "mixup"], "NAME=VALUE"),
        (["--set", "augmentation.mixupp=1"], "did you mean 'augmentation.mixup'"),
        (["--set", "epochs=many"], "must be of type int"),
        (["--merge", "sad"], "joined by +"),
        (["--merge", "sad+neutrall"], "did you mean 'neutral'"),
        (["--votes", "no-such.csv"], "no-such.csv"),
        (["--set", "data.votes=soft"], "--votes"),
        (["--drop-rows", "no-such.csv"], "no-such.csv"),
        (["--teacher", "no-such.edgefer"], "no-such.edgefer"),
        (["--arch", "edge-xs", "--weights", "imagenet"], "no pretrained part"),
        (["--arch", "resnet50", "--weights", "no-such.h5"], "no-such.h5"),
    ],
)
@needs_keras
def test_bad_input_is_one_clear_line(arguments: list[str], message: str, faces: Path, tmp_path: Path) -> None:
    call = ["--data", str(faces), "--out", str(tmp_path / "x.edgefer"), "--no-page", *arguments]
    done = CliRunner().invoke(command, call)
    assert isinstance(done.exception, EdgeferError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "x.edgefer").exists()


@needs_keras
@pytest.mark.slow
def test_seeds_with_all_that_there_is_to_look_at(faces: Path, tmp_path: Path) -> None:
    for package in ("matplotlib", "tensorboard"):
        pytest.importorskip(package, reason="needs edgefer[train]")
    (tmp_path / "drop.csv").write_text("row\n1000\n1001\n")
    call = [sys.executable, "-m", "edgefer", "train", "--data", str(faces), "--arch", "edge-xs", "--epochs", "1"]
    call += ["--batch", "18", "--merge", "sad+neutral=low", "--drop-rows", str(tmp_path / "drop.csv"), "--seeds", "2"]
    call += ["--seed", "1"]
    call += ["--out", str(tmp_path / "x.edgefer"), "--tensorboard", str(tmp_path / "logs"), "--json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["seed"] for row in found["runs"]] in ([1, 2], [2, 1])
    assert found["seeds"][0]["seeds"] == [1, 2]
    assert "dropped 2 training pictures" in done.stderr
    for seed in (1, 2):
        bundle = open_bundle(tmp_path / f"x-seed{seed}.edgefer")
        assert bundle.labels == ("angry", "disgust", "fear", "happy", "low", "surprise")
        assert bundle.recipe["seed"] == seed
        assert 0.05 <= bundle.temperature <= 20
        assert (tmp_path / f"x-seed{seed}.run" / "index.html").is_file()
        assert list((tmp_path / "logs" / f"seed{seed}").iterdir())
    again = subprocess.run([*call, "--resume"], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("is there already") == 2


LOSE_ONE = """
import signal, sys
from edgefer.commands._epochs import Epochs, interruptible

class Cleaned:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

epochs = Epochs(3)
with interruptible(epochs):
    epochs.step(1, 1, 10, 1.0, 0.5)
    Cleaned()
    print("lost", flush=True)
    try:
        epochs.step(1, 2, 10, 1.0, 0.5)
    except KeyboardInterrupt:
        print("ended", flush=True)
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def test_an_interrupt_that_python_lost_ends_the_run_at_the_next_step() -> None:
    # In a process of its own: what a signal meets in one that holds TensorFlow is not Python's alone.
    done = subprocess.run([sys.executable, "-c", LOSE_ONE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lost", "ended"]
    assert "Exception ignored" in done.stderr
