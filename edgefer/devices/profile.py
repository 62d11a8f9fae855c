"""Which device profiles there are, which one this machine is, and which one a name means."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from edgefer.devices import board
from edgefer.devices.catalogue import Entry, entries, packaged, packaged_names
from edgefer.devices.description import DeviceProfile, parse_profile
from edgefer.errors import DeviceError

__all__ = [
    "GENERIC",
    "Choice",
    "DeviceProfile",
    "Listed",
    "choose_profile",
    "describe_all",
    "detect",
    "load_profile",
    "parse_profile",
    "profile_names",
]

GENERIC = "generic"
"""The profile of a machine that no other profile fits."""


@dataclass(frozen=True)
class Choice:
    """A profile, and what the person should know about its being taken."""

    profile: DeviceProfile
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """One line of the list of profiles."""

    name: str
    profile: DeviceProfile | None
    """None when the file is broken."""
    here: bool
    """Whether it is this machine's."""
    file: Path | None
    """The user's file, None for a profile of the package."""
    fault: str = ""


@dataclass(frozen=True)
class _Machine:
    """What a machine says of itself."""

    machine: str
    model: str
    compatible: frozenset[str]
    cpuinfo: str

    def fits(self, profile: DeviceProfile) -> bool:
        if self.machine not in profile.machine:
            return False
        if profile.model_contains or profile.compatible:
            named = any(part in self.model for part in profile.model_contains)
            if not named and self.compatible.isdisjoint(profile.compatible):
                return False
        return not profile.cpu_contains or any(part in self.cpuinfo for part in profile.cpu_contains)


def profile_names() -> list[str]:
    """Return the names of the profiles in the package, sorted; aliases and the user's own are not among them."""
    return packaged_names()


def load_profile(name: str, config_dir: Path | None = None) -> DeviceProfile:
    """Return the profile called `name`, with that alias, or the default of the family of that name.

    The user's profiles (in `config_dir`, or where catalogue.config_folder says) come before the package's. Raises
    DeviceError with the names that exist, or for a profile of the user's that is needed and broken.
    """
    known = entries(config_dir)
    for entry in known:
        if entry.name == name:
            return entry.load()
    profiles, faults = _loaded(known)
    for profile in profiles:
        if name in profile.aliases:
            return profile
    for profile in profiles:
        if name and name == profile.family and profile.default_of_family:
            return profile
    choices = ", ".join(" or ".join((p.name, *p.aliases)) for p in sorted(profiles, key=lambda p: p.name))
    families = ", ".join(sorted({p.family for p in profiles if p.family} - {p.name for p in profiles}))
    broken = "".join(f"; {fault}" for fault in faults)
    raise DeviceError(f"there is no device called {name!r}; choose one of: {choices}, or a family: {families}{broken}")


def detect(root: Path = Path("/"), machine: str | None = None, config_dir: Path | None = None) -> DeviceProfile:
    """Return the profile of this machine: by the device tree, then by the processor; else the generic one.

    `root` is where /proc is looked for, `machine` stands in for `platform.machine()`. Raises DeviceError when the
    profile that fits is replaced by a broken one of the user's.
    """
    return _detect(entries(config_dir), _look(root, machine))


def choose_profile(
    name: str | None = None,
    strict: bool = False,
    root: Path = Path("/"),
    machine: str | None = None,
    config_dir: Path | None = None,
) -> Choice:
    """Return the profile that `name` (a profile, an alias, a family) means on this machine; None = this machine's own.

    Of a family, it is the member that this machine is, and on another machine the family's default. A profile that
    does not fit the machine comes with a note, or with `strict` raises DeviceError; so does an unknown name.
    """
    seen = _look(root, machine)
    known = entries(config_dir)
    if name is None:
        faults = _loaded(known)[1]
        return Choice(_detect(known, seen), tuple(f"left out: {fault}" for fault in faults))
    here = _member(known, name, seen)
    if here is not None:
        return Choice(here)
    profile = load_profile(name, config_dir)
    if profile.name == GENERIC or seen.fits(profile):
        return Choice(profile)
    what = f"this machine is no {name} (it is {seen.model or _detect(known, seen).title})"
    if strict:
        raise DeviceError(f"{what}; leave out --strict to use {profile.name}'s settings on it, or leave out --device")
    return Choice(profile, (f"{what}; {profile.name}'s settings are used, its figures and paths may not fit",))


def describe_all(root: Path = Path("/"), machine: str | None = None, config_dir: Path | None = None) -> list[Listed]:
    """Return every profile by name, with whether it is this machine's; a broken one of the user's with its fault."""
    known = entries(config_dir)
    try:
        here = _detect(known, _look(root, machine)).name
    except DeviceError:  # this machine's profile is the broken one, which is in the list
        here = ""
    return sorted((_listed(entry, here) for entry in known), key=lambda listed: listed.name)


def _look(root: Path, machine: str | None) -> _Machine:
    return _Machine(
        machine if machine is not None else platform.machine(),
        board.device_tree_model(root),
        frozenset(board.device_tree_compatible(root)),
        board.cpuinfo(root),
    )


def _detect(known: list[Entry], seen: _Machine) -> DeviceProfile:
    """Return the profile that says most about this machine; of two alike, the user's, then the first by name."""
    fitting = []
    for entry in known:
        try:
            profile = entry.load()
        except DeviceError:
            if entry.name in packaged_names() and seen.fits(packaged(entry.name)):
                raise
            continue
        if profile.automatic and seen.fits(profile):
            fitting.append(profile)
    if fitting:
        return max(fitting, key=_said)  # the first of the largest
    return next(entry for entry in known if entry.name == GENERIC).load()


def _said(profile: DeviceProfile) -> tuple[bool, bool]:
    return bool(profile.model_contains or profile.compatible), bool(profile.cpu_contains)


def _member(known: list[Entry], family: str, seen: _Machine) -> DeviceProfile | None:
    """Return the profile of this machine if it is of that family, and if the name is not a profile's."""
    if any(entry.name == family for entry in known):
        return None
    here = _detect(known, seen)
    return here if family and here.family == family else None


def _loaded(known: list[Entry]) -> tuple[list[DeviceProfile], list[str]]:
    """Return the profiles that can be read, and what is wrong with the others."""
    profiles, faults = [], []
    for entry in known:
        try:
            profiles.append(entry.load())
        except DeviceError as error:
            faults.append(str(error))
    return profiles, faults


def _listed(entry: Entry, here: str) -> Listed:
    try:
        return Listed(entry.name, entry.load(), entry.name == here, entry.file)
    except DeviceError as error:
        return Listed(entry.name, None, False, entry.file, str(error))
