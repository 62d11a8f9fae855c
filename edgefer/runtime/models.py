"""Models that edgefer can use and does not bring: what they are, and where they lie once fetched.

A file is only ever used when its bytes have the hash in the table.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edgefer import places
from edgefer.errors import DetectorError


@dataclass(frozen=True)
class KnownModel:
    """One model file, down to its last bit."""

    name: str
    file: str
    """Its name in the cache, and on a mirror."""
    urls: tuple[str, ...]
    """Where it is to be had; the second is asked when the first fails."""
    bytes: int
    sha256: str
    licence: str
    purpose: str


KNOWN = (
    KnownModel(
        name="yunet",
        file="face_detection_yunet_2023mar.onnx",
        urls=(
            "https://huggingface.co/opencv/face_detection_yunet/resolve/"
            "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310/face_detection_yunet_2023mar.onnx",
            "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
            "f12e12798e8314f7c074a6656816c048dcc95b7a/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        ),
        bytes=232_589,
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        licence="MIT",
        purpose="face detector, for --detector yunet",
    ),
)
"""Both addresses name a commit; the second repository is archived, and its keepers point to the first."""


def find(name: str) -> KnownModel:
    """Return the model called `name`; raises DetectorError with the names that exist."""
    for model in KNOWN:
        if model.name == name:
            return model
    raise DetectorError(f"there is no model called {name!r}; choose one of: {', '.join(m.name for m in KNOWN)}")


def folder() -> Path:
    """Return where models are kept: $EDGEFER_CACHE_DIR/models, or else edgefer/models in the user's cache.

    Raises DetectorError when the user has no home.
    """
    cache = places.cache()
    if cache is None:
        raise DetectorError("this user has no home to keep models in: set EDGEFER_CACHE_DIR to a folder")
    return cache / "models"


def path(model: KnownModel) -> Path:
    """Return where `model` lies once it is fetched."""
    return folder() / model.file


def read(model: KnownModel) -> bytes | None:
    """Return what the cache holds of `model`, None when it is not there.

    Raises DetectorError when it cannot be read or is not what the table says: such a file is never used.
    """
    where = path(model)
    try:
        with where.open("rb") as file:
            contents = file.read(model.bytes + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DetectorError(f"{where} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(contents).hexdigest() != model.sha256:
        raise DetectorError(
            f"{where} is not the {model.name} model (another SHA-256), so it is not used;"
            f" fetch it anew: edgefer models pull {model.name}"
        )
    return contents
