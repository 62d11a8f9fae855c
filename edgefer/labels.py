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


def canonical(name: str) -> str:
    """Return the usual spelling of an emotion: lower case, `happiness` → `happy`."""
    name = name.strip().lower()
    return ALIASES.get(name, name)
