"""The programs that the emulator is made of: whether they are there, and which QEMU it is."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgefer.bench.emulator.process import run
from edgefer.errors import EmulatorError

QEMU = "qemu-aarch64"
PACKAGES = {QEMU: "qemu-user", "mmdebstrap": "mmdebstrap", "gcc": "gcc libc6-dev"}
"""Program → the Debian packages that bring it."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""What Debian's signatures are checked with; Ubuntu has it in a package of its own."""
OLDEST, TOO_NEW = (7, 2), (9, 0)
"""QEMU's versions with the plugin interface that plugin.c is written for."""
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Missing:
    """What the emulator lacks."""

    programs: tuple[str, ...]
    command: str
    """Installs all of it."""


def missing() -> Missing | None:
    """Return which programs are missing and the one command that installs them; None when all are there."""
    absent = {name: packages for name, packages in PACKAGES.items() if shutil.which(name) is None}
    if not KEYRING.is_file():
        absent["Debian's archive keyring"] = "debian-archive-keyring"
    if not absent:
        return None
    return Missing(tuple(absent), f"apt-get install --no-install-recommends {' '.join(absent.values())}")


def require() -> None:
    """Raise EmulatorError that names what is missing and what installs it."""
    lacks = missing()
    if lacks:
        raise EmulatorError(f"the emulated board needs {', '.join(lacks.programs)}, not found here: {lacks.command}")


def qemu_version() -> str:
    """Return QEMU's version, such as `7.2.22`; raises EmulatorError for one that cannot be used here."""
    found = run([QEMU, "--version"], TIMEOUT_S)
    match = re.search(r"version (\d+)\.(\d+)[\w.]*", found.said)
    if found.status or not match:
        raise EmulatorError(f"{QEMU} --version does not tell its version: {found.reason()}")
    version = match[0].removeprefix("version ")
    if not OLDEST <= (int(match[1]), int(match[2])) < TOO_NEW:
        raise EmulatorError(
            f"{QEMU} is version {version}; versions 7.2 to 8.2 can count instructions here, their plugin interface is"
            " another one before and after: use the qemu-user of Debian 12 or Ubuntu 24.04"
        )
    if "-plugin" not in run([QEMU, "-help"], TIMEOUT_S).said:
        raise EmulatorError(
            f"this {QEMU} {version} takes no plugins, as static builds do not: apt-get install qemu-user, and put"
            " that first in PATH"
        )
    return version
