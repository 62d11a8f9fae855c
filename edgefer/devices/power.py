"""How many watts a board takes, where it tells: sensors in sysfs, RAPL's counters, or what a command prints.

What is seen differs: a Jetson's sensors see the module, RAPL the processor, the power chip of a Raspberry Pi 5 its own
outputs. So a figure means little without its `source`. Nothing here could be tried on a board.
"""

from __future__ import annotations

import math
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefer.devices.board import ROOT, read_text
from edgefer.devices.description import DeviceProfile

MAX_WATTS = 1000.0
"""More is no board; a sensor that says so is broken."""
COMMAND_TIMEOUT_S = 5.0
MAX_OUTPUT_BYTES = 20_000
"""Of a command; vcgencmd prints some 1 kB, a line of tegrastats has some 500 bytes."""

MIN_MEAN_S = 0.05
"""RAPL's counters move about once a millisecond: over less than this their mean is chance."""

PMIC_LINE = re.compile(r"\s*(\w{1,32})_([AV]) (current|volt)\(\d{1,3}\)=(\d{1,4}(?:\.\d{1,12})?)([AV])\s*", re.ASCII)
"""Such as `   VDD_CORE_A current(7)=1.11625000A` and `   VDD_CORE_V volt(15)=0.74944980V`."""
PMIC_UNITS = {"A": "current", "V": "volt"}


@dataclass(frozen=True)
class Counter:
    """A counter of energy, in microjoules."""

    value: int
    range: int
    """It starts at 0 again after this."""


class PowerMeter:
    """Reads watts again and again from the first source that has a figure: sensors, then counters, then the command.

    Not for two threads at once.
    """

    def __init__(self, profile: DeviceProfile, root: Path = ROOT) -> None:
        """Look for a source; asks the profile's command only when no file has a figure, which takes up to 5 s."""
        self._profile, self._root = profile, root
        self._before: tuple[float, dict[str, Counter]] = (time.monotonic(), energy_counters(profile, root))
        self.source: str | None = None
        """What the figures are of, such as `ina3221 VDD_IN`, `rapl package-0`, `pmic`; None = there are none."""
        self.counts = False
        """Whether a sample is the mean since the last one, not that of the moment."""
        self.starts_process = False
        """Whether a sample starts a program: not more often than every few seconds beside a measurement."""
        if sensor_watts(profile, root) is not None:
            self.source = _sensor_name(profile, root)
        elif self._before[1]:
            self.source, self.counts = f"rapl {'+'.join(self._before[1])}", True
        else:
            self.source = (command_watts(profile) or (None, 0.0))[0]
            self.starts_process = self.source is not None

    def sample(self) -> float | None:
        """Return watts, of now or, when it `counts`, on average since the last sample; None when nothing is told.

        A mean needs 0.05 s since the last sample; one that comes sooner is None and changes nothing. A counter
        that starts at 0 again is understood once between two samples: take one a minute at least.
        """
        if self.source is None:
            return None
        if self.starts_process:
            return (command_watts(self._profile) or (None, None))[1]
        if not self.counts:
            return sensor_watts(self._profile, self._root)
        now = (time.monotonic(), energy_counters(self._profile, self._root))
        (then, old), (_, new) = self._before, now
        if now[0] - then < MIN_MEAN_S:
            return None
        self._before = now
        if not new or new.keys() != old.keys():
            return None
        return plausible(sum(joules(old[name], new[name]) for name in new) / (now[0] - then))


def joules(old: Counter, new: Counter) -> float:
    """Return what a counter grew by, in joules; one that is smaller than before has started at 0 again, once."""
    grown = new.value - old.value
    return (grown if grown >= 0 else grown + new.range) / 1e6


def plausible(watts: float) -> float | None:
    """Return the watts when a running board may take so many: more than 0 and up to 1 kW."""
    return watts if math.isfinite(watts) and 0 < watts <= MAX_WATTS else None


def sensor_watts(profile: DeviceProfile, root: Path = ROOT) -> float | None:
    """Return the sum of the profile's rails from its sensors; None when one of them is missing or tells nothing."""
    sensors = _sensors(profile, root)
    watts = [_sensor(path) for path in sensors.values()]
    if sensors.keys() != set(profile.power_rails) or None in watts:
        return None
    return plausible(sum(w for w in watts if w is not None))


def energy_counters(profile: DeviceProfile, root: Path = ROOT) -> dict[str, Counter]:
    """Return RAPL's counters of whole packages by name, such as `package-0`; empty without the right to read them.

    Domains inside a package are left out, they are counted in it; so is `psys`, which holds the packages.
    """
    result: dict[str, Counter] = {}
    for path in _found(profile.energy_counters, root):
        name = read_text(path.with_name("name")) or ""
        if not re.fullmatch(r"intel-rapl:\d+", path.parent.name) or not re.fullmatch(r"package-\d+(-die-\d+)?", name):
            continue
        value, most = _whole(path), _whole(path.with_name("max_energy_range_uj"))
        if value is None or most is None or value > most:
            return {}  # one package of two is no figure
        result.setdefault(name, Counter(value, most))
    return result


def command_watts(profile: DeviceProfile) -> tuple[str, float] | None:
    """Return (source, watts) of what the profile's command prints; None when it fails or prints something else.

    A command that goes on printing, as tegrastats does, is ended after its first line with the rails.
    """
    program = shutil.which(profile.power_command[0]) if profile.power_command else None
    if program is None:
        return None
    command = [program, *profile.power_command[1:]]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    with process:  # which closes the pipe, so that a program behind the one that is ended meets its end as well
        try:
            return _printed_watts(process, profile.power_rails)
        except subprocess.TimeoutExpired:
            return None
        finally:
            process.kill()


def parse_pmic(text: str) -> float | None:
    """Return the watts of `vcgencmd pmic_read_adc` (Raspberry Pi 5): amperes times volts, of every rail that has both.

    The sum leaves out what the power chip (PMIC) does not see: its own losses, and the 5 V that USB devices, HATs and
    the fan take, whose current it does not measure. So it is less than a meter at the plug shows; for the difference
    that a program makes it is good.
    """
    rails: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        found = PMIC_LINE.fullmatch(line)
        if found is None:
            continue
        rail, unit, what, value, printed_unit = found.groups()
        if PMIC_UNITS[unit] != what or unit != printed_unit or unit in rails.setdefault(rail, {}):
            return None
        rails[rail][unit] = float(value)
    return plausible(sum(r["A"] * r["V"] for r in rails.values() if len(r) == 2))


def parse_tegrastats(line: str, rails: Sequence[str]) -> float | None:
    """Return the watts of the rails in a line of tegrastats, of now and not its average; None when one is missing.

    Orin prints `VDD_IN 4532mW/4500mW`, the first Nano `POM_5V_IN 2000/2000`.
    """
    total = 0
    for rail in rails:
        found = re.findall(rf"(?<!\S){re.escape(rail)} (\d{{1,7}})(?:mW)?/\d{{1,7}}(?:mW)?(?!\S)", line, re.ASCII)
        if len(found) != 1:
            return None
        total += int(found[0])
    return plausible(total / 1000)


def _sensors(profile: DeviceProfile, root: Path) -> dict[str, Path]:
    """Return the file of each of the profile's rails that is there, by label."""
    result: dict[str, Path] = {}
    for path in _found(profile.power_sensors, root):
        label = _label(path)
        if label in profile.power_rails:
            result.setdefault(label, path)
    return result


def _label(path: Path) -> str:
    """Return what a sensor's file is of: `in1_label`, `rail_name_0` or `power1_label` say it, or the chip's name."""
    number = re.sub(r"\D", "", path.name)
    own = f"rail_name_{number}" if path.name.startswith("in_power") else path.name.replace("_input", "_label")
    return read_text(path.with_name(own)) or read_text(path.with_name("name")) or ""


def _sensor(path: Path) -> float | None:
    """Return the watts of one sensor."""
    value = _whole(path)
    if value is None:
        return None
    if re.fullmatch(r"in_power\d+_input", path.name):  # the driver of the first Nano: mW
        return value / 1e3
    if re.fullmatch(r"power\d+_input", path.name):  # hwmon: µW
        return value / 1e6
    if re.fullmatch(r"in\d+_input", path.name):  # hwmon: mV, and mA beside it
        current = _whole(path.with_name(path.name.replace("in", "curr", 1)))
        return None if current is None else value * current / 1e6
    return None


def _sensor_name(profile: DeviceProfile, root: Path) -> str:
    """Return the chip and its rails, such as `ina3221 VDD_IN`."""
    chips = {read_text(path.with_name("name")) or "sensor" for path in _sensors(profile, root).values()}
    return f"{'+'.join(sorted(chips))[:32]} {'+'.join(profile.power_rails)}"


def _found(patterns: Sequence[str], root: Path) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def _whole(path: Path) -> int | None:
    """Return the number in a file when it is 0 or more, without a sign; None for anything else."""
    text = read_text(path) or ""
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None


def _printed_watts(process: subprocess.Popen[bytes], rails: Sequence[str]) -> tuple[str, float] | None:
    """Return (source, watts) of what a process prints; raises TimeoutExpired when it ends too late after its output."""
    assert process.stdout is not None
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    pipe, printed = process.stdout.fileno(), b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(printed) < MAX_OUTPUT_BYTES and selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(pipe, MAX_OUTPUT_BYTES)
            printed += chunk
            *lines, _ = printed.decode("utf-8", errors="replace").split("\n")
            for line in lines:
                watts = parse_tegrastats(line, rails)
                if watts is not None:
                    return f"tegrastats {'+'.join(rails)}", watts
            if not chunk:
                failed = process.wait(timeout=max(0.0, deadline - time.monotonic()))
                watts = None if failed else parse_pmic(printed.decode("utf-8", errors="replace"))
                return None if watts is None else ("pmic", watts)
    return None
