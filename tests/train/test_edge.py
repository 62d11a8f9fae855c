"""The edge family keeps what it promises: quantization-aware training takes it, XNNPACK runs it in one piece."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgefer import plugins
from edgefer.train.architectures import edge

MEGABYTES = {"edge-xs": 0.1, "edge-xs0": 0.1, "edge-s": 0.4, "edge-s0": 0.5, "edge-m": 1.0}


@pytest.fixture(scope="module")
def quantised() -> Any:
    missing = [m for m in ("tensorflow", "tf_keras", "tensorflow_model_optimization") if not plugins.installed(m)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    command = [sys.executable, str(Path(__file__).with_name("quantise_edge.py")), *edge.VARIANTS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", edge.VARIANTS)
def test_quantization_aware_training_takes_every_layer(name: str, quantised: Any) -> None:
    layers = quantised[name]["qat"]
    assert sum("conv" in layer for layer in layers) == sum(1 + residuals for _, _, residuals in edge.STAGES[name])
    bare = [layer for layer in layers if not layer.startswith(("quant_", "quantize_layer"))]
    assert bare == ["picture"]


@pytest.mark.slow
@pytest.mark.parametrize("name", edge.VARIANTS)
def test_xnnpack_runs_the_network_in_one_partition(name: str, quantised: Any) -> None:
    ops = quantised[name]["ops"]
    # The softmax is float32: XNNPACK has none in int8, and TensorFlow Lite's own one would make a second partition.
    assert [op for op, _ in ops[-5:]] == ["DEQUANTIZE", "SOFTMAX", "QUANTIZE", "DEQUANTIZE", "DELEGATE"]
    assert [outputs for op, outputs in ops if op == "DELEGATE"] == [ops[-2][1]]


@pytest.mark.slow
@pytest.mark.parametrize("name", edge.VARIANTS)
def test_size_as_int8(name: str, quantised: Any) -> None:
    assert quantised[name]["bytes"] <= MEGABYTES[name] * 1e6
