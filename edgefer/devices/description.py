"""What a device profile says, and how it is read from TOML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from edgefer import toml
from edgefer.errors import DeviceError

PATTERNS = (
    "thermal_zones",
    "frequencies",
    "governors",
    "throttle_counters",
    "throttled_files",
    "power_sensors",
    "energy_counters",
)
"""Fields that hold glob patterns below the root of the file system."""
NOT_INHERITED = ("name", "aliases", "default_of_family")
"""Fields that a profile does not take from the one that it is based on: they say which profile a name means."""
BASED_ON = "based_on"


@dataclass(frozen=True)
class DeviceProfile:
    """How to recognise a device, what to prefer on it, and where it tells of heat and power."""

    name: str
    """The TOML file's name without `.toml`."""
    title: str
    engines: tuple[str, ...]
    """Engines in order of preference."""
    family: str = ""
    """Devices that one name may stand for, such as `rpi`; empty = none."""
    default_of_family: bool = False
    """Whether the family's name means this profile on a machine that is no member of it."""
    automatic: bool = True
    """Whether it is taken unasked on a machine that it fits."""
    aliases: tuple[str, ...] = ()
    machine: tuple[str, ...] = ()
    """Values of `platform.machine()` that fit; empty = the profile is never recognised."""
    model_contains: tuple[str, ...] = ()
    """One of these stands in the device tree's model …"""
    compatible: tuple[str, ...] = ()
    """… or one of these is in the device tree's list `compatible`; both empty = the device tree does not matter."""
    cpu_contains: tuple[str, ...] = ()
    """One of these stands in /proc/cpuinfo; empty = it does not matter."""
    precision: str = "int8"
    threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """Execution providers of onnxruntime in order of preference; other engines have none."""
    cameras: tuple[str, ...] = ("0",)
    """Source URIs to try in this order when none is given."""
    thermal_zones: tuple[str, ...] = ()
    """Glob patterns below / of files with millidegrees Celsius."""
    ignored_zones: tuple[str, ...] = ()
    """Types of thermal zones that tell nothing, such as a constant."""
    frequencies: tuple[str, ...] = ()
    """Glob patterns of files with a current CPU clock in kHz."""
    governors: tuple[str, ...] = ()
    """Glob patterns of files with the name of a CPU frequency governor."""
    throttle_counters: tuple[str, ...] = ()
    """Glob patterns of files with a number that grows whenever heat or power slowed the device down."""
    throttled_files: tuple[str, ...] = ()
    """Glob patterns of files with the Raspberry Pi firmware's bits in hexadecimal, such as `50005`."""
    throttled_command: tuple[str, ...] = ()
    """What prints `throttled=0x…`, the Raspberry Pi firmware's bits."""
    power_mode_command: tuple[str, ...] = ()
    """What prints the power mode that the device is in."""
    power_sensors: tuple[str, ...] = ()
    """Glob patterns of files with a voltage or a power: `in1_input`, `power1_input` of hwmon, `in_power0_input`."""
    power_rails: tuple[str, ...] = ()
    """Labels of the power sensors that make up the whole board; all of them are needed."""
    energy_counters: tuple[str, ...] = ()
    """Glob patterns of RAPL's files with microjoules, `energy_uj`; those of whole processor packages are used."""
    power_command: tuple[str, ...] = ()
    """What prints currents and voltages as `vcgencmd pmic_read_adc` does, or the rails as `tegrastats` does."""

    def __post_init__(self) -> None:
        """Raise DeviceError for a value out of range."""
        if self.precision not in ("fp32", "fp16", "int8"):
            raise DeviceError(f"device {self.name}: precision is {self.precision!r}; choose fp32, fp16 or int8")
        if not 1 <= self.threads <= 1024:
            raise DeviceError(f"device {self.name}: threads is {self.threads}; it must be 1 or more")
        for key in ("engines", "cameras"):
            if not getattr(self, key):
                raise DeviceError(f"device {self.name}: {key} is empty; name at least one")
        for key in PATTERNS:
            for pattern in getattr(self, key):
                path = PurePosixPath(pattern)
                if path.is_absolute() or ".." in path.parts:
                    raise DeviceError(
                        f"device {self.name}: {key} has {pattern!r}; write it from / on, without / and .."
                    )
        if self.power_sensors and not self.power_rails:
            raise DeviceError(f"device {self.name}: power_rails is empty; name what power_sensors are to be added up")


def parse_profile(name: str, text: str) -> DeviceProfile:
    """Return the profile that a TOML text describes; raises DeviceError for no TOML, and as `profile_of` does."""
    try:
        values = toml.parse(text)
    except ValueError as error:
        raise DeviceError(f"device {name}: the profile {error}") from error
    return profile_of(name, values)


def profile_of(name: str, values: Mapping[str, Any], base: DeviceProfile | None = None) -> DeviceProfile:
    """Return the profile that these values describe; what they leave out is as in `base`, if given.

    Raises DeviceError for an unknown or missing field, and a value of the wrong type or range.
    """
    fields = {f.name: f for f in dataclasses.fields(DeviceProfile) if f.name != "name"}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key == BASED_ON:
            continue
        if key not in fields:
            raise DeviceError(f"device {name}: unknown field {key!r}; known: {', '.join(fields)}")
        if fields[key].type == "tuple[str, ...]":
            if not isinstance(value, list) or not all(type(v) is str and v for v in value):
                raise DeviceError(f"device {name}: {key} must be a list of texts, found {value!r}")
            value = tuple(value)
        elif type(value).__name__ != fields[key].type:
            raise DeviceError(f"device {name}: {key} must be of type {fields[key].type}, found {value!r}")
        checked[key] = value
    if base is not None:
        checked = _inherited(base, same_device=base.name == name) | checked
    missing = [k for k, f in fields.items() if f.default is dataclasses.MISSING and k not in checked]
    if missing:
        raise DeviceError(f"device {name}: missing {', '.join(missing)}; a profile needs at least title and engines")
    return DeviceProfile(name=name, **checked)


def based_on(name: str, values: Mapping[str, Any]) -> str | None:
    """Return the name of the profile that these values change some fields of; None when they stand alone.

    Raises DeviceError for a name that is no text.
    """
    found = values.get(BASED_ON)
    if found is None:
        return None
    if not isinstance(found, str):
        raise DeviceError(f"device {name}: {BASED_ON} must be of type str, found {found!r}")
    return found


def _inherited(base: DeviceProfile, same_device: bool) -> dict[str, Any]:
    """Return what a profile takes from `base`; one of another name is taken only when asked for, if it says no more."""
    values = {f.name: getattr(base, f.name) for f in dataclasses.fields(base)}
    if same_device:
        del values["name"]
        return values
    return {key: value for key, value in values.items() if key not in NOT_INHERITED} | {"automatic": False}
