"""Device profiles: TOML → frozen dataclass, and which one this machine is."""

from __future__ import annotations

import dataclasses
import platform
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from edgefer.errors import DeviceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GENERIC = "generic"
"""The profile of a machine that no other profile fits."""


@dataclass(frozen=True)
class DeviceProfile:
    """How to recognise a device, what to prefer on it, and where it tells of heat and power."""

    name: str
    """The TOML file's name without `.toml`."""
    title: str
    engines: tuple[str, ...]
    """Engines in order of preference."""
    aliases: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    """Values of `platform.machine()` that fit."""
    model_contains: tuple[str, ...] = ()
    """One of these stands in the device tree's model; empty = the machine alone decides."""
    precision: str = "int8"
    threads: int = 1
    camera: str = "0"
    """The source URI to use when none is given."""
    thermal_zones: tuple[str, ...] = ()
    """Glob patterns below / of files with millidegrees Celsius."""
    frequencies: tuple[str, ...] = ()
    """Glob patterns of files with a current CPU clock in kHz."""
    governors: tuple[str, ...] = ()
    """Glob patterns of files with the name of a CPU frequency governor."""
    throttle_counters: tuple[str, ...] = ()
    """Glob patterns of files with a number that grows whenever heat or power slowed the device down."""
    throttled_command: tuple[str, ...] = ()
    """What prints `throttled=0x…`, the Raspberry Pi firmware's bits."""
    power_mode_command: tuple[str, ...] = ()
    """What prints the power mode that the device is in."""

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "fp16", "int8"):
            raise DeviceError(f"device {self.name}: precision is {self.precision!r}; choose fp32, fp16 or int8")
        if not 1 <= self.threads <= 1024:
            raise DeviceError(f"device {self.name}: threads is {self.threads}; it must be 1 or more")
        if not self.engines:
            raise DeviceError(f"device {self.name}: engines is empty; name at least one")


def profile_names() -> list[str]:
    """Return the names of the profiles in the package, sorted; aliases are not among them."""
    return sorted(f.name[: -len(".toml")] for f in resources.files(__package__).iterdir() if f.name.endswith(".toml"))


def load_profile(name: str) -> DeviceProfile:
    """Return the profile called `name`, or with that alias; raises DeviceError with the names that exist."""
    names = profile_names()
    if name in names:
        return _read(name)
    profiles = [_read(known) for known in names]
    for profile in profiles:
        if name in profile.aliases:
            return profile
    choices = ", ".join(" or ".join((p.name, *p.aliases)) for p in profiles)
    raise DeviceError(f"there is no device called {name!r}; choose one of: {choices}")


def detect(root: Path = Path("/"), machine: str | None = None) -> DeviceProfile:
    """Return the profile of this machine, by the device tree's model, then by the processor; else the generic one.

    `root` is where /proc is looked for, `machine` stands in for `platform.machine()`.
    """
    machine = machine if machine is not None else platform.machine()
    model = device_tree_model(root)
    fitting = [p for p in map(_read, profile_names()) if machine in p.machine]
    for profile in fitting:
        if any(part in model for part in profile.model_contains):
            return profile
    for profile in fitting:
        if not profile.model_contains:
            return profile
    return load_profile(GENERIC)


def describe_all(root: Path = Path("/"), machine: str | None = None) -> list[tuple[DeviceProfile, bool]]:
    """Return every profile with whether it is this machine's."""
    here = detect(root, machine).name
    return [(_read(name), name == here) for name in profile_names()]


def device_tree_model(root: Path = Path("/")) -> str:
    """Return the board's name from the device tree, such as `Raspberry Pi 5 Model B Rev 1.0`; empty without one."""
    try:
        data = (root / "proc/device-tree/model").read_bytes()
    except OSError:
        return ""
    return data.decode("utf-8", errors="replace").strip("\0 \n")


def _read(name: str) -> DeviceProfile:
    return parse_profile(name, (resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))


def parse_profile(name: str, text: str) -> DeviceProfile:
    """Return the profile that a TOML text describes.

    Raises DeviceError for text that is not TOML, an unknown or missing field, and a value of the wrong type or range.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(f"device {name}: not valid TOML: {error}") from error
    fields = {f.name: f for f in dataclasses.fields(DeviceProfile) if f.name != "name"}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            raise DeviceError(f"device {name}: unknown field {key!r}; known: {', '.join(fields)}")
        if fields[key].type == "tuple[str, ...]":
            if not isinstance(value, list) or not all(type(v) is str and v for v in value):
                raise DeviceError(f"device {name}: {key} must be a list of texts, found {value!r}")
            value = tuple(value)
        elif type(value).__name__ != fields[key].type:
            raise DeviceError(f"device {name}: {key} must be of type {fields[key].type}, found {value!r}")
        checked[key] = value
    missing = [k for k, f in fields.items() if f.default is dataclasses.MISSING and k not in checked]
    if missing:
        raise DeviceError(f"device {name}: missing {', '.join(missing)}; a profile needs at least title and engines")
    return DeviceProfile(name=name, **checked)
