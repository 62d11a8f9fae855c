"""Where profiles come from: the package, and the user's own folder, whose files win over the package's."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edgefer import plugins
from edgefer.devices.description import DeviceProfile, based_on, parse_profile
from edgefer.errors import DeviceError

SUFFIX = ".toml"
MAX_BYTES = 65_536
"""Of a user's profile."""
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


def config_folder() -> Path:
    """Return the folder of the user's profiles, which need not exist.

    It is `$EDGEFER_CONFIG_DIR/devices`, or `edgefer/devices` below `$XDG_CONFIG_HOME` or `~/.config`.
    """
    own = os.environ.get("EDGEFER_CONFIG_DIR")
    if own:
        return Path(own) / "devices"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "edgefer" / "devices"


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
    try:
        files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        files = []
    except OSError as error:
        raise DeviceError(f"{folder}: the folder of your device profiles cannot be read ({error.strerror})") from error
    users = [Entry(path.name.removesuffix(SUFFIX), path) for path in files]
    taken = {entry.name for entry in users}
    return users + [Entry(name, None) for name in packaged_names() if name not in taken]


def _of_user(name: str, file: Path) -> DeviceProfile:
    if not NAME.fullmatch(name):
        raise DeviceError(f"the name {name!r} of a device must be small letters, digits, '-', '_' and '.'")
    text = _read(file)
    base = based_on(name, text)
    if base is not None and base not in packaged_names():
        raise DeviceError(
            f"device {name}: based_on is {base!r}; choose a profile of the package: {', '.join(packaged_names())}"
        )
    profile = parse_profile(name, text, packaged(base) if base is not None else None)
    known = plugins.names("edgefer.runtime.engines")
    unknown = [engine for engine in profile.engines if engine not in known]
    if unknown:
        raise DeviceError(f"device {name}: there is no engine called {unknown[0]!r}; choose from: {', '.join(known)}")
    return profile


def _read(file: Path) -> str:
    try:
        # Not to wait for a pipe that someone put there.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DeviceError("it is not a plain file")
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DeviceError(f"it cannot be read ({error.strerror})") from error
    if len(data) > MAX_BYTES:
        raise DeviceError(f"it has more than {MAX_BYTES} bytes, too many for a device profile")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DeviceError(f"it is not UTF-8 text (byte {error.start})") from error
