"""Architectures, one file a family.

A family file defines `VARIANTS`, the names that it serves with their facts, and `build(keras, name, classes)`.
`keras` is passed in, so that the same definition can be built with Keras 3 and with tf_keras (which
quantization-aware training needs). A family with weights from outside takes `weights` and `unfreeze` besides.

Every network takes float32 [n, 48, 48, 1] in [0, 1] and returns float32 logits [n, classes]; softmax and the
division by 255 are added by the exporters, so the trained network has one meaning everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgefer import plugins
from edgefer.errors import TrainError

INPUT_SHAPE = (48, 48, 1)
CLASSES = 7
"""Number of classes that the facts below count with."""


@dataclass(frozen=True)
class Facts:
    """What is known of an architecture without building it; the tests build it and compare."""

    summary: str
    """Its layers in a few words."""
    parameters: int
    """All weights, with 7 classes."""
    trainable: int
    """Those that its own recipe trains."""
    macs: int
    """Multiplications with addition for one picture, in convolutions and dense layers."""
    document: str = "edgefer"
    """Where it comes from."""
    document_score: float | None = None
    """Accuracy that the document gives, 0–1, on its own split."""
    document_split: str = ""
    """What that was measured on."""
    inner: str = "48×48×1"
    """What its first convolution sees: the picture may be repeated in three channels or enlarged inside."""
    pretrained: bool = False
    """Whether it can start from ImageNet weights (`weights`, `unfreeze`)."""
    trainer: str = "keras"
    """`keras`, or `sklearn` for what is no network."""


def facts() -> dict[str, Facts]:
    """Return the facts of every architecture, by name, sorted."""
    found = {name: f for family in plugins.names(__name__) for name, f in _family(family).VARIANTS.items()}
    return dict(sorted(found.items()))


def architecture_names() -> list[str]:
    """Return every architecture name, sorted."""
    return list(facts())


def build(keras: Any, name: str, classes: int, *, weights: str = "none", unfreeze: int = -1) -> Any:
    """Return a new `keras.Model` of architecture `name` with `classes` logits.

    `weights` (`none`, `imagenet` or a weights file) and `unfreeze` (how many of the last layers of the pretrained
    part are trained; -1 = all) are for architectures with a pretrained part. Raises TrainError when no family serves
    the name, when it has no pretrained part and one was asked for, or when the weights cannot be had.
    """
    for family in plugins.names(__name__):
        module = _family(family)
        if name not in module.VARIANTS:
            continue
        if module.VARIANTS[name].trainer != "keras":
            raise TrainError(f"{name} is no network: it is trained by {module.VARIANTS[name].trainer}")
        if module.VARIANTS[name].pretrained:
            return module.build(keras, name, classes, weights=weights, unfreeze=unfreeze)
        if weights != "none" or unfreeze != -1:
            having = ", ".join(n for n, f in facts().items() if f.pretrained)
            raise TrainError(
                f"{name} has no pretrained part, so weights and unfreeze mean nothing; these have: {having}."
                " Training starts from a trained bundle where weights name one, as in mine.edgefer"
            )
        return module.build(keras, name, classes)
    raise TrainError(f"there is no architecture called {name!r}; choose one of: {', '.join(architecture_names())}")


def _family(name: str) -> Any:
    return plugins.load(__name__, name, TrainError, "architecture family")
