"""tflite-runtime 2.14, the last one: for Python ≤ 3.11 with NumPy 1. Its int8 does not use XNNPACK and is slow.

It does not verify a model before it reads it: a file that was cut short ends the process. So each model is loaded in a
process of its own first, which makes the start slower.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata

import numpy as np

from edgefer.errors import EngineError
from edgefer.runtime.engines import quiet_at_first
from edgefer.runtime.engines._tflite import TFLiteEngine

FORMAT = "tflite"
MODULE = "tflite_runtime.interpreter"
EXTRA = "tflite"

TRIAL = (
    "import sys; from tflite_runtime.interpreter import Interpreter;"
    "Interpreter(model_content=sys.stdin.buffer.read()).allocate_tensors()"
)
TRIAL_TIMEOUT_S = 60.0


class Engine(TFLiteEngine):
    """A TFLite model in tflite-runtime."""

    def __init__(self, contents: Sequence[bytes], threads: int, providers: Sequence[str] = ()) -> None:
        if int(np.__version__.split(".", maxsplit=1)[0]) >= 2:
            # It imports with NumPy 2 and then ends the whole process: better to say so.
            raise EngineError(
                f"tflite-runtime needs numpy < 2, found {np.__version__}; use the engine litert,"
                " or: pip install 'edgefer[tflite]'"
            )
        from tflite_runtime.interpreter import Interpreter

        _try_to_load(contents[0])
        with quiet_at_first("tflite-runtime"):
            interpreter = Interpreter(model_content=contents[0], num_threads=threads)
            super().__init__(interpreter, "tflite-runtime", metadata.version("tflite-runtime"))


def _try_to_load(model: bytes) -> None:
    """Raise ValueError when a process that loads the model does not survive it."""
    trial = subprocess.run(
        [sys.executable, "-c", TRIAL], input=model, capture_output=True, timeout=TRIAL_TIMEOUT_S, check=False
    )
    if trial.returncode:
        how = f"signal {-trial.returncode}" if trial.returncode < 0 else f"exit {trial.returncode}"
        raise ValueError(f"the file is broken: loading it ended a trial process ({how})")
