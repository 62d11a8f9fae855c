"""ai-edge-litert, TensorFlow Lite's successor: the engine of the base install. int8 runs in XNNPACK."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from edgefer.runtime.engines import quiet_at_first
from edgefer.runtime.engines._tflite import TFLiteEngine

FORMAT = "tflite"
MODULE = "ai_edge_litert.interpreter"
EXTRA = None


class Engine(TFLiteEngine):
    """A TFLite model in ai-edge-litert."""

    def __init__(self, contents: Sequence[bytes], threads: int, providers: Sequence[str] = ()) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with quiet_at_first("litert"):
            interpreter = Interpreter(model_content=contents[0], num_threads=threads)
            super().__init__(interpreter, "litert", metadata.version("ai-edge-litert"))
