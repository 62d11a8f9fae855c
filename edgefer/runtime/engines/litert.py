"""ai-edge-litert, TensorFlow Lite's successor: the engine of the base install. int8 runs in XNNPACK."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

from edgefer.runtime.engines._tflite import TFLiteEngine

FORMAT = "tflite"
MODULE = "ai_edge_litert.interpreter"
EXTRA = None


class Engine(TFLiteEngine):
    """A TFLite model in ai-edge-litert."""

    def __init__(self, contents: Sequence[bytes], threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        from edgefer.quiet import native_chatter_silenced

        with native_chatter_silenced():
            interpreter = Interpreter(model_content=contents[0], num_threads=threads)
            super().__init__(interpreter, metadata.version("ai-edge-litert"))
