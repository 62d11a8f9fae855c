"""TOML that people write: of a sane size, and one kind of error for all that can be wrong in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_BYTES = 65_536
"""Of a file; what people write by hand has far less."""


def read(path: Path) -> dict[str, Any]:
    """Return what a TOML file says.

    Raises OSError when it cannot be read, and ValueError as `parse` does for what is no TOML, no UTF-8 or too large.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes, which no such file needs")
    try:
        return parse(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start})") from error


def parse(text: str) -> dict[str, Any]:
    """Return what a TOML text says; raises ValueError, whose message goes on after the name: `is not valid TOML: …`."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # a number of too many digits is one that is no TOMLDecodeError
        raise ValueError(f"is not valid TOML: {error}") from error
    except RecursionError:
        raise ValueError("is not valid TOML: too many brackets, one in another") from None
