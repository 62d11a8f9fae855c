"""Architectures, one file a family.

A family file defines `build(keras, name, classes)` and `VARIANTS`, the names that it serves. `keras` is passed in,
so that the same definition can be built with Keras 3 and with tf_keras (which quantization-aware training needs).

Every network takes float32 [n, 48, 48, 1] in [0, 1] and returns float32 logits [n, classes]; softmax and the
division by 255 are added by the exporters, so the trained network has one meaning everywhere.
"""

from __future__ import annotations

from typing import Any

from edgefer import plugins
from edgefer.errors import TrainError

INPUT_SHAPE = (48, 48, 1)


def architecture_names() -> list[str]:
    """Return every architecture name, sorted."""
    return sorted(name for family in plugins.names(__name__) for name in _family(family).VARIANTS)


def build(keras: Any, name: str, classes: int) -> Any:
    """Return a new `keras.Model` of architecture `name` with `classes` logits.

    Raises TrainError when no family serves the name.
    """
    for family in plugins.names(__name__):
        module = _family(family)
        if name in module.VARIANTS:
            return module.build(keras, name, classes)
    raise TrainError(f"there is no architecture called {name!r}; choose one of: {', '.join(architecture_names())}")


def _family(name: str) -> Any:
    return plugins.load(__name__, name, TrainError, "architecture family")
