"""What a bundle's manifest is made of: files, artifacts, and the checks that each value passes before it is believed.

A manifest may come from a stranger: no path leaves the bundle, every size is bounded, and what is not as it must be
is a BundleError of one line that says what was found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from edgefer.errors import BundleError

SCHEMA = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4_000_000
MAX_FILE_BYTES = 1_000_000_000
MAX_ARTIFACTS = 256
MAX_TARGETS = 256
MAX_NAME = 64
FORMATS = ("keras", "tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
SIDE_STEP = 8
"""Sides of a detector's pictures are multiples of this."""
MIN_SIDE, MAX_SIDE = 8, 4096

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class File:
    """One file of a bundle, by its path inside, with what it must be."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Artifact:
    """One form of the model: a file (and, for OpenVINO, its weights beside it), a format and a precision."""

    file: File
    format: str
    """`keras` (weights only, for training), `tflite`, `onnx`, `openvino`."""
    precision: str
    companions: tuple[File, ...] = ()
    size: Size | None = None
    """Height and width of the pictures that a detector's file takes; None for a classifier's and for weights."""

    @property
    def path(self) -> str:
        """Path inside the bundle."""
        return self.file.path

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return self.file.bytes + sum(f.bytes for f in self.companions)

    def __str__(self) -> str:
        return f"{self.format} {self.precision}{f' {size_name(self.size)}' if self.size else ''}"

    def as_dict(self) -> dict[str, Any]:
        """Return its manifest entry."""
        entry: dict[str, Any] = {"path": self.path, "format": self.format, "precision": self.precision}
        if self.size is not None:
            entry["size"] = list(self.size)
        entry |= {"bytes": self.file.bytes, "sha256": self.file.sha256}
        if self.companions:
            entry["companions"] = [vars(f) for f in self.companions]
        return entry


@dataclass(frozen=True)
class Recommendation:
    """What a search (`edgefer optimize`) found best for a target device."""

    artifact: str
    """Its path in the bundle."""
    engine: str
    """Name of the engine to run it in."""


def describe(path: str, data: bytes) -> File:
    """Return the manifest's description of a file with these contents."""
    return File(path, len(data), hashlib.sha256(data).hexdigest())


def size_name(size: Size) -> str:
    """Return a size as people and file names say it, width first: 320x240."""
    return f"{size[1]}x{size[0]}"


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Return the manifest in the directory `bundle` as plain data of a schema that this version reads.

    Raises BundleError when it cannot be read, is too large, or is no object of this schema.
    """
    try:
        with (bundle / MANIFEST).open("rb") as stream:
            text = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{bundle} is not a bundle: {MANIFEST} cannot be read ({error.strerror})") from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{bundle / MANIFEST} is larger than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{bundle / MANIFEST} is not JSON: {error}; get the bundle again") from error
    if not isinstance(data, dict):
        raise BundleError(f"{bundle / MANIFEST} must hold an object, found a {type(data).__name__}")
    schema = data.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        advice = "install a newer edgefer" if newer else "get the bundle again"
        raise BundleError(f"{bundle}: schema is {schema!r}, this version reads {SCHEMA}; {advice}")
    return data


def artifacts(bundle: Path, entries: Any) -> tuple[Artifact, ...]:
    """Return the artifacts that a manifest lists; raises BundleError, KeyError or TypeError for what is not right."""
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ARTIFACTS:
        raise BundleError(f"{bundle}: artifacts must be a list of 1–{MAX_ARTIFACTS} entries")
    found = tuple(_artifact(bundle, entry) for entry in entries)
    paths = [f.path for a in found for f in (a.file, *a.companions)]
    if len(set(paths)) != len(paths):
        raise BundleError(f"{bundle}: a file is listed twice")
    return found


def _artifact(bundle: Path, entry: Mapping[str, Any]) -> Artifact:
    if entry["format"] not in FORMATS or entry["precision"] not in PRECISIONS:
        raise BundleError(
            f"{bundle}: {str(entry['path'])[:80]!r} is {str(entry['format'])[:20]!r}"
            f" in {str(entry['precision'])[:20]!r}; known: {', '.join(FORMATS)}; {', '.join(PRECISIONS)}"
        )
    companions = tuple(_file(bundle, c) for c in entry.get("companions", []))
    size = _size(bundle, entry["size"]) if "size" in entry else None
    return Artifact(_file(bundle, entry), entry["format"], entry["precision"], companions, size)


def _size(bundle: Path, value: Any) -> Size:
    sides: list[Any] = value if isinstance(value, list) and len(value) == 2 else [None, None]
    if not all(type(side) is int and MIN_SIDE <= side <= MAX_SIDE and side % SIDE_STEP == 0 for side in sides):
        raise BundleError(
            f"{bundle}: an artifact's size must be height and width, multiples of {SIDE_STEP} from {MIN_SIDE} to"
            f" {MAX_SIDE}, found {str(value)[:40]!r}"
        )
    return sides[0], sides[1]


def _file(bundle: Path, entry: Mapping[str, Any]) -> File:
    name, size, digest = text(entry["path"]), entry["bytes"], text(entry["sha256"])
    parts = PurePosixPath(name).parts
    if not name or "\\" in name or "\0" in name or name.startswith("/") or ".." in parts or parts == (MANIFEST,):
        raise BundleError(f"{bundle}: the path {name[:80]!r} leaves the bundle or is not a model file: do not trust it")
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise BundleError(f"{bundle}: {name!r}: bytes must be 0–{MAX_FILE_BYTES:,}, found {str(size)[:20]}")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise BundleError(f"{bundle}: {name!r}: sha256 must be 64 hexadecimal digits")
    return File(name, size, digest)


def check_present(bundle: Path, file: File) -> None:
    """Raise BundleError when a file that the manifest lists is missing, or a link that leaves the bundle."""
    path = bundle / file.path
    if not path.resolve().is_relative_to(bundle.resolve()):
        raise BundleError(f"{bundle}: {file.path!r} is a link that leaves the bundle: do not trust it")
    if not path.is_file():
        raise BundleError(f"{bundle}: the file {file.path!r} is missing; get the bundle again")


def recommended(bundle: Path, entries: Any, among: Sequence[Artifact]) -> dict[str, Recommendation]:
    """Return what is recommended for each target; raises BundleError or TypeError for what is not right."""
    if not isinstance(entries, dict) or len(entries) > MAX_TARGETS:
        raise BundleError(f"{bundle}: recommended must be an object of up to {MAX_TARGETS} targets")
    paths = {a.path for a in among}
    found: dict[str, Recommendation] = {}
    for target, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"artifact", "engine"}:
            raise BundleError(
                f"{bundle}: recommended[{target[:40]!r}] must name an artifact and an engine, found {str(entry)[:80]!r}"
            )
        for name in (target, text(entry["engine"])):
            if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
                raise BundleError(
                    f"{bundle}: recommended: names must be 1–{MAX_NAME} printable characters, found {name[:80]!r}"
                )
        if text(entry["artifact"]) not in paths:
            raise BundleError(f"{bundle}: recommended: {entry['artifact'][:80]!r} is not among the artifacts")
        found[target] = Recommendation(entry["artifact"], entry["engine"])
    return found


def number(bundle: Path, name: str, value: Any, low: float, high: float) -> float:
    """Return a number from `low` to `high`; raises BundleError for anything else."""
    # A boolean is an int in Python, and NaN and infinity are numbers in its JSON; no comparison lets NaN through.
    if type(value) not in (int, float) or not low <= value <= high:
        raise BundleError(f"{bundle}: {name} must be a number from {low:g} to {high:g}, found {str(value)[:40]!r}")
    return float(value)


def text(value: Any) -> str:
    """Return a text; raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value
