"""Emotion names and their order: the field's classic silent bug, kept in one place."""

from __future__ import annotations

FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The order of the numbers in fer2013.csv; the folder data sets are alphabetical instead."""

ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}


MAX_LENGTH = 100


def is_label(name: object) -> bool:
    """Return whether `name` can be a label: 1–100 printable characters, so that no terminal or log takes harm."""
    return isinstance(name, str) and 0 < len(name) <= MAX_LENGTH and name.isprintable()


def canonical(name: str) -> str:
    """Return the usual spelling of an emotion: lower case, `happiness` → `happy`."""
    name = name.strip().lower()
    return ALIASES.get(name, name)
