"""Where profiles come from: the package, and the user's own folder, whose files win over the package's."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgefer import places, plugins, toml
from edgefer.devices.description import DeviceProfile, based_on, parse_profile, profile_of
from edgefer.errors import DeviceError

SUFFIX = ".toml"
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Entry:
    """One profile that exists; whether it can be read shows when it is loaded."""

    name: str
    file: Path | None
    """The user's file; None for a profile of the package."""

    def load(self) -> DeviceProfile:
        """Return the profile; raises DeviceError that names the file when it is the user's and broken."""
        if self.file is None:
            return packaged(self.name)
        try:
            return _of_user(self.name, self.file)
        except DeviceError as error:
            raise DeviceError(f"{self.file}: {error}; correct or remove the file") from error


def config_folder() -> Path | None:
    """Return the folder of the user's profiles, which need not exist; None for a user who has no home for them.

    It is `$EDGEFER_CONFIG_DIR/devices`, or `edgefer/devices` below `$XDG_CONFIG_HOME` or `~/.config`.
    """
    config = places.config()
    return None if config is None else config / "devices"


def packaged_names() -> list[str]:
    """Return the names of the profiles in the package, sorted; aliases and families are not among them."""
    found = resources.files(__package__).iterdir()
    return sorted(f.name.removesuffix(SUFFIX) for f in found if f.name.endswith(SUFFIX))


def packaged(name: str) -> DeviceProfile:
    """Return the package's profile called exactly `name`."""
    return parse_profile(name, (resources.files(__package__) / f"{name}{SUFFIX}").read_text(encoding="utf-8"))


def entries(folder: Path | None = None) -> list[Entry]:
    """Return every profile: the user's (of `folder`, or `config_folder`), then those of the package not replaced."""
    folder = folder if folder is not None else config_folder()
    files = _files_in(folder) if folder is not None else []
    users = [Entry(path.name.removesuffix(SUFFIX), path) for path in files]
    taken = {entry.name for entry in users}
    return users + [Entry(name, None) for name in packaged_names() if name not in taken]


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DeviceError(f"{folder}: the folder of your device profiles cannot be read ({error.strerror})") from error


def _of_user(name: str, file: Path) -> DeviceProfile:
    if not NAME.fullmatch(name):
        raise DeviceError(f"the name {name!r} of a device must be small letters, digits, '-', '_' and '.'")
    values = _read(file)
    base = based_on(name, values)
    if base is not None and base not in packaged_names():
        raise DeviceError(
            f"device {name}: based_on is {base!r}; choose a profile of the package: {', '.join(packaged_names())}"
        )
    profile = profile_of(name, values, packaged(base) if base is not None else None)
    known = plugins.names("edgefer.runtime.engines")
    unknown = [engine for engine in profile.engines if engine not in known]
    if unknown:
        raise DeviceError(f"device {name}: there is no engine called {unknown[0]!r}; choose from: {', '.join(known)}")
    return profile


def _read(file: Path) -> dict[str, Any]:
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # nobody shall wait for a pipe that someone put there
            raise DeviceError("it is not a plain file")
        return toml.read(file)
    except OSError as error:
        raise DeviceError(f"it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DeviceError(f"it {error}") from error
