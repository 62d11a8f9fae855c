"""tflite-runtime 2.14, the last one: for Python ≤ 3.11 with NumPy 1. Its int8 does not use XNNPACK and is slow."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import numpy as np

from edgefer.errors import EngineError
from edgefer.runtime.engines._tflite import TFLiteEngine

FORMAT = "tflite"
MODULE = "tflite_runtime.interpreter"
EXTRA = "tflite"


class Engine(TFLiteEngine):
    """A TFLite model in tflite-runtime."""

    def __init__(self, contents: Sequence[bytes], threads: int) -> None:
        if int(np.__version__.split(".", maxsplit=1)[0]) >= 2:
            # It imports with NumPy 2 and then ends the whole process: better to say so.
            raise EngineError(
                f"tflite-runtime needs numpy < 2, found {np.__version__};"
                " use the engine litert, or: pip install 'edgefer[tflite]'"
            )
        from tflite_runtime.interpreter import Interpreter

        from edgefer.quiet import native_chatter_silenced

        with native_chatter_silenced():
            interpreter = Interpreter(model_content=contents[0], num_threads=threads)
            super().__init__(interpreter, metadata.version("tflite-runtime"))
