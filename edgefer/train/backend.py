"""Which Keras backend trains: the one that KERAS_BACKEND names, else the first one installed."""

from __future__ import annotations

import os
from typing import Any

from edgefer import plugins
from edgefer.errors import MissingDependencyError
from edgefer.quiet import native_chatter_silenced

BACKENDS = ("tensorflow", "jax", "torch")


def load_keras() -> Any:
    """Import and return Keras 3, quietly; raises MissingDependencyError naming the extra when it cannot be had."""
    if "KERAS_BACKEND" not in os.environ:
        found = [b for b in BACKENDS if plugins.installed(b)]
        if not found:
            raise MissingDependencyError(
                "training needs TensorFlow, which is not installed: pip install 'edgefer[train]'"
            )
        os.environ["KERAS_BACKEND"] = found[0]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with native_chatter_silenced():  # TensorFlow announces itself on file descriptor 2, whatever the log level
        keras = plugins.require("keras", "train", "training")
        backend = plugins.require(os.environ["KERAS_BACKEND"], "train", "training")
        if os.environ["KERAS_BACKEND"] == "tensorflow":
            backend.config.list_physical_devices("GPU")  # looks for CUDA and complains, once
    return keras
