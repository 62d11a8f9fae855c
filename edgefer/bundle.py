"""A bundle: a directory with `manifest.json` and model files, read strictly and written wholly or not at all.

The manifest says what the model is, what it takes and gives, which files belong to it with their size and SHA-256,
and what was measured on which data. A bundle is data: nothing in it is executed, no path leaves it, sizes are bounded.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

from edgefer import files
from edgefer.errors import BundleError
from edgefer.labels import is_label
from edgefer.preprocess import Preprocess

SCHEMA = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4_000_000
MAX_FILE_BYTES = 1_000_000_000
MAX_ARTIFACTS = 256
MAX_LABELS = 1000
MAX_TARGETS = 256
MAX_NAME = 64
INPUT_CONTRACT = {"dtype": "uint8", "layout": "NHWC", "range": [0, 255]}
FORMATS = ("keras", "tflite", "onnx", "openvino")
PRECISIONS = ("fp32", "fp16", "dynamic", "int8")
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


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

    @property
    def path(self) -> str:
        """Path inside the bundle."""
        return self.file.path

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return self.file.bytes + sum(f.bytes for f in self.companions)

    def as_dict(self) -> dict[str, Any]:
        """Return its manifest entry."""
        entry: dict[str, Any] = {"path": self.path, "format": self.format, "precision": self.precision}
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


@dataclass(frozen=True)
class Bundle:
    """An opened bundle. `read` gives an artifact's bytes, checked against the manifest."""

    path: Path
    architecture: str
    labels: tuple[str, ...]
    preprocess: Preprocess
    artifacts: tuple[Artifact, ...]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """Figures by artifact path; each names its split, count and how it was measured."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    """SHA-256 of the manifest that this bundle was made from."""
    temperature: float = 1.0
    """What the network's logits are divided by before the softmax, so that probabilities say how sure to be.

    The model files give softmax(logits); the engines apply this to what they give (Guo et al., 2017).
    """
    recommended: Mapping[str, Recommendation] = field(default_factory=dict)
    """By the name of a device profile."""

    @property
    def name(self) -> str:
        """The directory's name without `.edgefer`."""
        return self.path.name.removesuffix(SUFFIX)

    def artifact(self, format: str, precision: str | None = None) -> Artifact:
        """Return the artifact of that format; without `precision` int8 is preferred to fp16 to fp32.

        int8 weights alone (`dynamic`) come last. Raises BundleError that lists what the bundle has.
        """
        order = [precision] if precision else ["int8", "fp16", "fp32", "dynamic"]
        for wanted in order:
            for artifact in self.artifacts:
                if (artifact.format, artifact.precision) == (format, wanted):
                    return artifact
        runnable = [f"{a.format} {a.precision}" for a in self.artifacts if a.format != "keras"]
        advice = f"it has: {', '.join(runnable)}" if runnable else f"make it with: edgefer export {self.path} --int8"
        raise BundleError(f"{self.path} has no {format} artifact{f' in {precision}' if precision else ''}; {advice}")

    def read(self, file: File) -> bytes:
        """Return the bytes of a file of the bundle after checking size and SHA-256; what is checked is what is used.

        Raises BundleError when the file is missing or changed.
        """
        path = self.path / file.path
        try:
            with path.open("rb") as stream:
                data = stream.read(file.bytes + 1)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); get the bundle again") from error
        if len(data) != file.bytes:
            found = path.stat().st_size
            raise BundleError(
                f"{path}: the manifest says {file.bytes} bytes, found {found};"
                " it was changed or cut short: get the bundle again"
            )
        digest = hashlib.sha256(data).hexdigest()
        if digest != file.sha256:
            raise BundleError(
                f"{path}: SHA-256 is {digest[:12]}…, the manifest says {file.sha256[:12]}…;"
                " it was changed: get the bundle again"
            )
        return data

    def verify(self) -> Bundle:
        """Read every file once and return the bundle; raises BundleError for the first that is not as it must be."""
        for artifact in self.artifacts:
            for file in (artifact.file, *artifact.companions):
                self.read(file)
        return self

    def digest(self) -> str:
        """Return the SHA-256 of the manifest as it is on disk: the identity of the whole bundle."""
        return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()

    def manifest(self) -> dict[str, Any]:
        """Return the manifest as plain data; a recommendation of what the bundle no longer has is left out."""
        paths = {a.path for a in self.artifacts}
        recommended = {target: vars(r) for target, r in self.recommended.items() if r.artifact in paths}
        return {
            "schema": SCHEMA,
            "architecture": self.architecture,
            "labels": list(self.labels),
            "input": INPUT_CONTRACT | {"shape": [None, self.preprocess.size, self.preprocess.size, 1]},
            "output": {"dtype": "float32", "shape": [None, len(self.labels)], "meaning": "probabilities"},
            "temperature": self.temperature,
            "preprocess": self.preprocess.as_dict(),
            "artifacts": [a.as_dict() for a in self.artifacts],
            "metrics": dict(self.metrics),
            "recipe": dict(self.recipe),
            "versions": dict(self.versions),
            "parent": self.parent,
            **({"recommended": recommended} if recommended else {}),
        }


SUFFIX = ".edgefer"
DEFAULT = "edge-m"
"""The shipped bundle that is taken when none is named."""


def shipped(name: str = DEFAULT) -> Path:
    """Return the path of the bundle called `name` inside the package."""
    return Path(str(resources.files("edgefer") / "models" / f"{name}{SUFFIX}"))


def shipped_names() -> list[str]:
    """Return the names of the bundles inside the package, sorted."""
    folder = resources.files("edgefer") / "models"
    return sorted(f.name.removesuffix(SUFFIX) for f in folder.iterdir() if f.name.endswith(SUFFIX))


def open_bundle(path: Path | str | None = None) -> Bundle:
    """Read the manifest of the bundle at `path` and check all that it says.

    Without a path it is the one that ships, and a bare name of one that ships means that one, unless there is such a
    path.

    That every file is there with its size is checked here; contents are checked when they are read.
    Raises BundleError: what was wrong, what was found, what to do.
    """
    path = Path(path) if path is not None else shipped()
    if not path.exists() and str(path) in shipped_names():
        path = shipped(str(path))
    if not path.is_dir():
        raise BundleError(
            f"there is no bundle at {path}: a bundle is a directory with a {MANIFEST} in it;"
            f" {', '.join(shipped_names())} come with edgefer"
        )
    try:
        with (path / MANIFEST).open("rb") as stream:
            text = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path} is not a bundle: {MANIFEST} cannot be read ({error.strerror})") from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path / MANIFEST} is larger than {MAX_MANIFEST_BYTES:,} bytes")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path / MANIFEST} is not JSON: {error}; get the bundle again") from error
    if not isinstance(data, dict):
        raise BundleError(f"{path / MANIFEST} must hold an object, found a {type(data).__name__}")
    schema = data.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        advice = "install a newer edgefer" if newer else "get the bundle again"
        raise BundleError(f"{path}: schema is {schema!r}, this version reads {SCHEMA}; {advice}")
    try:
        bundle = _parse(path, data)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / MANIFEST} is malformed: {error!r}; get the bundle again") from error
    for artifact in bundle.artifacts:
        for file in (artifact.file, *artifact.companions):
            _check_present(path, file)
    return bundle


def _parse(path: Path, data: Mapping[str, Any]) -> Bundle:
    labels = data["labels"]
    if (
        not isinstance(labels, list)
        or not 2 <= len(labels) <= MAX_LABELS
        or not all(is_label(n) for n in labels)
        or len(set(labels)) != len(labels)
    ):
        raise BundleError(f"{path}: labels must be 2–{MAX_LABELS} different names, found {ascii(labels)[:80]}")
    classes = data["output"]["shape"][1]
    if classes != len(labels):
        raise BundleError(f"{path}: the model gives {classes} probabilities but there are {len(labels)} labels")
    preprocess = Preprocess.from_dict(data["preprocess"])
    shape = [None, preprocess.size, preprocess.size, 1]
    if data["input"] != INPUT_CONTRACT | {"shape": shape}:
        raise BundleError(f"{path}: the input contract must be uint8 NHWC {shape}, found {str(data['input'])[:120]}")
    entries = data["artifacts"]
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ARTIFACTS:
        raise BundleError(f"{path}: artifacts must be a list of 1–{MAX_ARTIFACTS} entries")
    artifacts = tuple(_artifact(path, entry) for entry in entries)
    paths = [f.path for a in artifacts for f in (a.file, *a.companions)]
    if len(set(paths)) != len(paths):
        raise BundleError(f"{path}: a file is listed twice")
    return Bundle(
        path=path,
        architecture=_text(data["architecture"]),
        labels=tuple(labels),
        preprocess=preprocess,
        artifacts=artifacts,
        metrics=dict(data["metrics"]),
        recipe=dict(data["recipe"]),
        versions={_text(k): _text(v) for k, v in dict(data["versions"]).items()},
        parent=None if data["parent"] is None else _text(data["parent"]),
        temperature=_temperature(path, data.get("temperature", 1.0)),
        recommended=_recommended(path, data.get("recommended", {}), artifacts),
    )


def _recommended(bundle: Path, entries: Any, artifacts: Sequence[Artifact]) -> dict[str, Recommendation]:
    if not isinstance(entries, dict) or len(entries) > MAX_TARGETS:
        raise BundleError(f"{bundle}: recommended must be an object of up to {MAX_TARGETS} targets")
    paths = {a.path for a in artifacts}
    found: dict[str, Recommendation] = {}
    for target, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"artifact", "engine"}:
            raise BundleError(
                f"{bundle}: recommended[{target[:40]!r}] must name an artifact and an engine, found {str(entry)[:80]!r}"
            )
        for name in (target, _text(entry["engine"])):
            if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
                raise BundleError(
                    f"{bundle}: recommended: names must be 1–{MAX_NAME} printable characters, found {name[:80]!r}"
                )
        if _text(entry["artifact"]) not in paths:
            raise BundleError(f"{bundle}: recommended: {entry['artifact'][:80]!r} is not among the artifacts")
        found[target] = Recommendation(entry["artifact"], entry["engine"])
    return found


def _temperature(bundle: Path, value: Any) -> float:
    # A boolean is an int in Python, and NaN and infinity are numbers in its JSON; no comparison lets NaN through.
    if type(value) not in (int, float) or not MIN_TEMPERATURE <= value <= MAX_TEMPERATURE:
        raise BundleError(
            f"{bundle}: temperature must be a number from {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g},"
            f" found {str(value)[:40]!r}"
        )
    return float(value)


def _artifact(bundle: Path, entry: Mapping[str, Any]) -> Artifact:
    if entry["format"] not in FORMATS or entry["precision"] not in PRECISIONS:
        raise BundleError(
            f"{bundle}: {str(entry['path'])[:80]!r} is {str(entry['format'])[:20]!r}"
            f" in {str(entry['precision'])[:20]!r}; known: {', '.join(FORMATS)}; {', '.join(PRECISIONS)}"
        )
    companions = tuple(_file(bundle, c) for c in entry.get("companions", []))
    return Artifact(_file(bundle, entry), entry["format"], entry["precision"], companions)


def _file(bundle: Path, entry: Mapping[str, Any]) -> File:
    name, size, digest = _text(entry["path"]), entry["bytes"], _text(entry["sha256"])
    parts = PurePosixPath(name).parts
    if not name or "\\" in name or "\0" in name or name.startswith("/") or ".." in parts or parts == (MANIFEST,):
        raise BundleError(f"{bundle}: the path {name[:80]!r} leaves the bundle or is not a model file: do not trust it")
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise BundleError(f"{bundle}: {name!r}: bytes must be 0–{MAX_FILE_BYTES:,}, found {str(size)[:20]}")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise BundleError(f"{bundle}: {name!r}: sha256 must be 64 hexadecimal digits")
    return File(name, size, digest)


def _check_present(bundle: Path, file: File) -> None:
    path = bundle / file.path
    if not path.resolve().is_relative_to(bundle.resolve()):
        raise BundleError(f"{bundle}: {file.path!r} is a link that leaves the bundle: do not trust it")
    if not path.is_file():
        raise BundleError(f"{bundle}: the file {file.path!r} is missing; get the bundle again")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value


def describe(path: str, data: bytes) -> File:
    """Return the manifest's description of a file with these contents."""
    return File(path, len(data), hashlib.sha256(data).hexdigest())


def write_bundle(bundle: Bundle, contents: Mapping[str, bytes], replace_existing: bool = False) -> Bundle:
    """Write `bundle` with the files of `contents` (path inside → bytes, model files and extras) at `bundle.path`.

    All goes to a directory beside it, is synced and renamed: `bundle.path` is the old bundle or the new one, never
    a mixture. Raises BundleError when something is there that may not be replaced, or the disk is full.
    """
    target = bundle.path
    if target.exists() and not (replace_existing and (target / MANIFEST).is_file()):
        what = "a bundle" if (target / MANIFEST).is_file() else "something that is not a bundle"
        raise BundleError(f"{target} exists and is {what}; choose another name or remove it")
    for artifact in bundle.artifacts:
        for file in (artifact.file, *artifact.companions):
            if describe(file.path, contents[file.path]) != file:
                raise ValueError(f"{file.path}: contents do not match the manifest")
    _refuse_not_finite(bundle.metrics)
    _temperature(target, bundle.temperature)
    manifest = json.dumps(bundle.manifest(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        for name, data in {**contents, MANIFEST: manifest.encode("utf-8")}.items():
            with files.atomic(temporary / name) as stream:
                stream.write(data)
        temporary.chmod(0o755)
        _move(temporary, target)
        files.sync_folder(target.parent)
    except OSError as error:
        reason = error.strerror or error
        raise BundleError(f"cannot write {target}: {reason}; nothing was changed there") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return replace(open_bundle(target))


def _move(temporary: Path, target: Path) -> None:
    """Put `temporary` in the place of `target`; what was there ends up in `temporary`."""
    if not target.exists():
        temporary.rename(target)
    elif not _exchange(temporary, target):
        # This file system cannot exchange two directories in one step: between these two renames the old bundle
        # lies complete beside its place.
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
        target.rename(old)
        temporary.rename(target)
        shutil.rmtree(old)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two directories atomically (renameat2 with RENAME_EXCHANGE); False where that is not supported."""
    at_cwd, exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code))


def _refuse_not_finite(value: Any) -> None:
    """Raise BundleError for a NaN or infinity anywhere in `value`: a figure that is none is not evidence."""
    if isinstance(value, float) and not math.isfinite(value):
        raise BundleError(f"a metric is {value}; refusing to write it as evidence")
    children: Sequence[Any] = ()
    if isinstance(value, Mapping):
        children = list(value.values())
    elif isinstance(value, (list, tuple)):
        children = value
    for child in children:
        _refuse_not_finite(child)
