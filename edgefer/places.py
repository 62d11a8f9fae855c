"""The user's folders: configuration, cache, state. Where they are, not that they exist.

Each follows the XDG base directory specification, in which only absolute paths count. A user may have no home (an
unknown user id in a container, a service without one): then there is no such folder, which is None and no error here.
"""

from __future__ import annotations

import os
from pathlib import Path


def config() -> Path | None:
    """Return `$EDGEFER_CONFIG_DIR`, or `edgefer` in `$XDG_CONFIG_HOME` or `~/.config`; None without a home."""
    return _own("EDGEFER_CONFIG_DIR") or _shared("XDG_CONFIG_HOME", ".config")


def cache() -> Path | None:
    """Return `$EDGEFER_CACHE_DIR`, or `edgefer` in `$XDG_CACHE_HOME` or `~/.cache`; None without a home."""
    return _own("EDGEFER_CACHE_DIR") or _shared("XDG_CACHE_HOME", ".cache")


def state() -> Path | None:
    """Return `edgefer` in `$XDG_STATE_HOME` or `~/.local/state`; None without a home."""
    return _shared("XDG_STATE_HOME", ".local/state")


def _own(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _shared(variable: str, below_home: str) -> Path | None:
    value = os.environ.get(variable, "")
    if os.path.isabs(value):
        return Path(value) / "edgefer"
    try:
        return Path.home() / below_home / "edgefer"
    except RuntimeError:  # neither $HOME nor an entry of this user's in the list of users
        return None
