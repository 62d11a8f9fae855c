"""A bundle: a directory with `manifest.json` and model files, read strictly and written wholly or not at all.

The manifest says what the model is, what it takes and gives, which files belong to it with their size and SHA-256,
and what was measured on which data. A bundle is data: nothing in it is executed, no path leaves it, sizes are bounded.
There are two kinds: a classifier of faces (`Bundle`) and a detector that finds them (`DetectorBundle`).
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from edgefer import files
from edgefer.errors import BundleError
from edgefer.manifest import (
    FORMATS,
    MANIFEST,
    MAX_ARTIFACTS,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_NAME,
    MAX_TARGETS,
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    PRECISIONS,
    SCHEMA,
    Artifact,
    File,
    Recommendation,
    Size,
    check_present,
    describe,
    read_manifest,
    size_name,
)
from edgefer.stored import INPUT_CONTRACT, MAX_LABELS, SUFFIX, Bundle, DetectorBundle, Stored, parse

__all__ = [
    "DEFAULT", "DEFAULT_DETECTOR", "FORMATS", "INPUT_CONTRACT", "MANIFEST", "MAX_ARTIFACTS", "MAX_FILE_BYTES",
    "MAX_LABELS", "MAX_MANIFEST_BYTES", "MAX_NAME", "MAX_TARGETS", "MAX_TEMPERATURE", "MIN_TEMPERATURE", "PRECISIONS",
    "SCHEMA", "SUFFIX", "Artifact", "Bundle", "DetectorBundle", "File", "Recommendation", "Size", "Stored", "describe",
    "open_bundle", "open_detector_bundle", "open_stored", "shipped", "shipped_detector", "shipped_detector_names",
    "shipped_names", "size_name", "write_bundle",
]  # fmt: skip

DEFAULT = "edge-m"
"""The shipped bundle that is taken when none is named."""
DEFAULT_DETECTOR = "det-s"
"""The shipped detector that is taken when none is named."""

Kind = TypeVar("Kind", Bundle, DetectorBundle)


def shipped(name: str = DEFAULT) -> Path:
    """Return the path of the bundle called `name` inside the package."""
    return Path(str(resources.files("edgefer") / "models" / f"{name}{SUFFIX}"))


def shipped_names() -> list[str]:
    """Return the names of the bundles inside the package, sorted."""
    return _names(shipped().parent)


def shipped_detector(name: str = DEFAULT_DETECTOR) -> Path:
    """Return the path of the detector called `name` inside the package."""
    return shipped().parent / "detect" / f"{name}{SUFFIX}"


def shipped_detector_names() -> list[str]:
    """Return the names of the detectors inside the package, sorted."""
    return _names(shipped_detector().parent)


def _names(folder: Path) -> list[str]:
    return sorted(f.name.removesuffix(SUFFIX) for f in folder.glob(f"*{SUFFIX}"))


def open_bundle(path: Path | str | None = None) -> Bundle:
    """Read the manifest of the classifier's bundle at `path` and check all that it says.

    Without a path it is the one that ships, and a bare name of one that ships means that one, unless there is such a
    path.

    That every file is there is checked here; sizes and contents are checked when they are read.
    Raises BundleError: what was wrong, what was found, what to do.
    """
    bundle = open_stored(shipped() if path is None else path)
    if not isinstance(bundle, Bundle):
        raise BundleError(
            f"{bundle.path} is a face detector ({bundle.architecture}), and a model that names expressions is needed,"
            f" such as {DEFAULT}; edgefer export and edgefer evaluate --task detect take a detector"
        )
    return bundle


def open_detector_bundle(path: Path | str | None = None) -> DetectorBundle:
    """Read the manifest of the detector's bundle at `path` and check all that it says, as `open_bundle` does.

    Raises BundleError: what was wrong, what was found, what to do.
    """
    bundle = open_stored(shipped_detector() if path is None else path)
    if not isinstance(bundle, DetectorBundle):
        raise BundleError(
            f"{bundle.path} names expressions ({', '.join(bundle.labels[:10])}) and finds no faces; a detector is"
            f" needed, such as {DEFAULT_DETECTOR}, or one that edgefer train --task detect wrote"
        )
    return bundle


def open_stored(path: Path | str) -> Bundle | DetectorBundle:
    """Read the manifest of the bundle at `path`, of either kind, and check all that it says, as `open_bundle` does."""
    path = Path(path)
    if not path.exists() and str(path) in shipped_names():
        path = shipped(str(path))
    elif not path.exists() and str(path) in shipped_detector_names():
        path = shipped_detector(str(path))
    if not path.is_dir():
        raise BundleError(
            f"there is no bundle at {path}: a bundle is a directory with a {MANIFEST} in it;"
            f" {', '.join([*shipped_names(), *shipped_detector_names()])} come with edgefer"
        )
    data = read_manifest(path)
    try:
        bundle = parse(path, data)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / MANIFEST} is malformed: {error!r}; get the bundle again") from error
    for file in bundle.files:
        check_present(path, file)
    return bundle


def write_bundle(bundle: Kind, contents: Mapping[str, bytes], replace_existing: bool = False) -> Kind:
    """Write `bundle` with the files of `contents` (path inside → bytes, model files and extras) at `bundle.path`.

    All goes to a directory beside it, is synced and renamed: `bundle.path` is the old bundle or the new one, never
    a mixture. Raises BundleError when the manifest would be refused on reading, something is there that may not be
    replaced, or the disk is full.
    """
    target = bundle.path
    if target.exists() and not (replace_existing and (target / MANIFEST).is_file()):
        what = "a bundle" if (target / MANIFEST).is_file() else "something that is not a bundle"
        raise BundleError(f"{target} exists and is {what}; choose another name or remove it")
    for file in bundle.files:
        if describe(file.path, contents[file.path]) != file:
            raise ValueError(f"{file.path}: contents do not match the manifest")
    _refuse_not_finite(bundle.metrics)
    parse(target, bundle.manifest())
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
    written = open_stored(target)
    assert isinstance(written, type(bundle))
    return written


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
