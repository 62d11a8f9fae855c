"""One file, one thing: engines, sources, detectors, sinks, architectures and exporters are found by file name.

Nothing is registered and nothing is imported until it is asked for by name, so a new file is a new choice
and a broken one cannot harm the others.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from importlib import metadata
from types import ModuleType

from edgefer.errors import EdgeferError, MissingDependencyError


def names(package: str) -> list[str]:
    """Return the names that `package` (dotted path) offers, sorted; file `a_b.py` is the name `a-b`."""
    found = importlib.util.find_spec(package)
    paths = found.submodule_search_locations if found else None
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(paths) if not m.name.startswith("_"))


def load(package: str, name: str, error: type[EdgeferError], what: str) -> ModuleType:
    """Import and return the module called `name` in `package`.

    Raises `error` when there is none, with the names that exist.
    """
    known = names(package)
    if name not in known:
        raise error(f"there is no {what} called {name!r}; choose one of: {', '.join(known)}")
    return importlib.import_module(f"{package}.{name.replace('-', '_')}")


def installed(module: str) -> bool:
    """Return whether `module` can be imported, without importing it (its parent package is)."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each of `packages` (names as pip knows them) that is installed."""
    found = {}
    for name in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import and return `module`; when it is not installed, raise an error that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.split(".", maxsplit=1)[0]
        if error.name is None or error.name.split(".", maxsplit=1)[0] != top:
            raise
        raise MissingDependencyError(
            f"{purpose} needs the package {top!r}, which is not installed: pip install 'edgefer[{extra}]'"
        ) from error
