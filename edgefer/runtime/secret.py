"""Passwords and tokens: from the environment or a file, never from the command line, which every user can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgefer.errors import ConfigError

MAX_BYTES = 4096


def secret(variable: str, file: Path | None = None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the secret called `variable`, such as EDGEFER_MQTT_PASSWORD; None when there is none.

    It stands in one place alone: in `file`; in the environment; in the file that EDGEFER_MQTT_PASSWORD_FILE names; or,
    when none of these is given, in systemd's credential `mqtt-password` (LoadCredential=). One line break at the end of
    a file does not count. Raises ConfigError, without the secret, when there are two places, or when it is empty, too
    long, or of more than one line.
    """
    places: dict[str, Path | None] = {}
    if file is not None:
        places[str(file)] = file
    if variable in environ:
        places[variable] = None
    if f"{variable}_FILE" in environ:
        places[f"{variable}_FILE"] = Path(environ[f"{variable}_FILE"])
    credential = variable.removeprefix("EDGEFER_").lower().replace("_", "-")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not places and folder and (Path(folder) / credential).exists():
        places[f"the credential {credential}"] = Path(folder) / credential
    if not places:
        return None
    if len(places) > 1:
        raise ConfigError(f"the secret {variable} is given twice, by {' and by '.join(places)}; leave one of them out")
    ((place, path),) = places.items()
    return _checked(environ[variable] if path is None else _read(path), place)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 2)
    except OSError as error:
        raise ConfigError(f"the secret in {path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} holds no secret: it is not text") from None
    return text.removesuffix("\n").removesuffix("\r")


def _checked(text: str, place: str) -> str:
    if not text:
        fault = "it is empty"
    elif any("\ud800" <= c <= "\udfff" for c in text):
        fault = "it is not UTF-8"
    elif len(text.encode()) > MAX_BYTES:
        fault = f"it is longer than {MAX_BYTES} bytes"
    elif any(c in text for c in "\n\r\0"):
        fault = "it has more than one line"
    else:
        return text
    raise ConfigError(f"the secret in {place} cannot be used: {fault}")
