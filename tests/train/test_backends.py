"""The same training code on every Keras backend that is installed, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgefer import cartoon, plugins
from edgefer.bundle import open_bundle
from edgefer.train.backend import BACKENDS


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_training_on(backend: str, tmp_path: Path) -> None:
    if not (plugins.installed("keras") and plugins.installed(backend)):
        pytest.skip(f"keras with {backend} is not installed")
    images, labels = cartoon.dataset(60, seed=0)
    np.savez(tmp_path / "faces.npz", images=images, labels=labels)
    out = tmp_path / "x.edgefer"
    command = [sys.executable, "-m", "edgefer", "train", "--data", str(tmp_path / "faces.npz"), "--arch", "edge-xs"]
    command += ["--epochs", "6", "--batch", "21", "--learning-rate", "0.004", "--out", str(out)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    figures = open_bundle(out).metrics["edge-xs.weights.h5"]
    assert figures["engine"] == f"keras on {backend}"
    assert figures["accuracy"] > 0.3  # chance is 0.14; a broken backend stays there


def loss_curve(backend: str) -> list[float]:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    script = Path(__file__).with_name("loss_curve.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


@pytest.mark.slow
def test_backends_give_the_same_loss_curve() -> None:
    found = [b for b in BACKENDS if plugins.installed("keras") and plugins.installed(b)]
    if len(found) < 2:
        pytest.skip(f"one backend alone is installed: {', '.join(found) or 'none'}")
    first, *others = (loss_curve(b) for b in found)
    assert first[-1] < first[0]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=2e-3)
