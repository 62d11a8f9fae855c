"""How a board is now: heat, clocks, power and what slowed it down, read from the files that its profile names.

Everything is looked for below `root`, and what cannot be read is None or empty: boards differ in what they tell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefer.devices.description import DeviceProfile

ROOT = Path("/")
COMMAND_TIMEOUT_S = 5.0
MAX_FILE_BYTES = 1_000_000
"""Of a file of /proc or /sys that is read; /proc/cpuinfo has some 1.5 kB a core."""

THROTTLED_BITS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
"""What the Raspberry Pi firmware's bits mean; 16 bits higher: has occurred since the device was started."""

ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd42": "Cortex-A78AE",
}

DOT_PRODUCT = {"asimddp": "Arm", "avx512_vnni": "x86", "avx_vnni": "x86"}
"""Names in /proc/cpuinfo of instructions that multiply and add four int8 numbers at once, as int8 networks need."""


@dataclass(frozen=True)
class Throttled:
    """What the Raspberry Pi firmware tells of power and heat."""

    bits: str
    """As printed, such as `0x50005`."""
    now: tuple[str, ...]
    occurred: tuple[str, ...]
    """Since the device was started."""


def device_tree_model(root: Path = ROOT) -> str:
    """Return the board's name from the device tree, such as `Raspberry Pi 5 Model B Rev 1.0`; empty without one."""
    return read_text(root / "proc/device-tree/model") or ""


def device_tree_compatible(root: Path = ROOT) -> tuple[str, ...]:
    """Return what the device tree says the board is compatible with, such as `brcm,bcm2712`, the board itself first."""
    text = read_text(root / "proc/device-tree/compatible") or ""
    return tuple(part for part in text.split("\0") if part)


def cpuinfo(root: Path = ROOT) -> str:
    """Return the text of /proc/cpuinfo; empty without one."""
    return read_text(root / "proc/cpuinfo") or ""


def cpu_name(root: Path = ROOT) -> str | None:
    """Return the processor's name, such as `Cortex-A76`."""
    text = cpuinfo(root)
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if name:
        return name[1].strip()
    parts = sorted(set(re.findall(r"^CPU part\s*:\s*(0x[0-9a-f]+)\s*$", text, re.MULTILINE)))
    return ", ".join(ARM_PARTS.get(part, f"Arm CPU part {part}") for part in parts) or None


def cpu_features(root: Path = ROOT) -> frozenset[str]:
    """Return the features that every core has, as /proc/cpuinfo calls them, such as `asimddp`."""
    lists = re.findall(r"^(?:Features|flags)\s*:\s*(.*)$", cpuinfo(root), re.MULTILINE)
    return frozenset.intersection(*(frozenset(line.split()) for line in lists)) if lists else frozenset()


def dot_product(features: frozenset[str]) -> list[str]:
    """Return those of the features that make int8 networks fast; none = int8 may be slower than float."""
    return [name for name in DOT_PRODUCT if name in features]


def memory_mib(root: Path = ROOT, field: str = "MemTotal") -> int | None:
    """Return a figure of /proc/meminfo in MiB, such as `MemTotal` or `MemAvailable`."""
    found = re.search(rf"^{field}:\s*(\d+) kB", read_text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def load_average(root: Path = ROOT) -> list[float] | None:
    """Return how many processes wanted a processor in the last 1, 5 and 15 minutes."""
    found = re.match(r"([\d.]+) ([\d.]+) ([\d.]+) ", read_text(root / "proc/loadavg") or "")
    return [float(v) for v in found.groups()] if found else None


def governors(profile: DeviceProfile, root: Path = ROOT) -> list[str]:
    """Return the CPU frequency governors in use, each once."""
    return sorted({text for _, text in _texts(root, profile.governors)})


def frequencies_mhz(profile: DeviceProfile, root: Path = ROOT) -> list[int]:
    """Return the current clock of each core, in MHz."""
    return [value // 1000 for _, value in _numbers(root, profile.frequencies)]


def temperatures(profile: DeviceProfile, root: Path = ROOT) -> dict[str, float]:
    """Return °C by zone: its type where it has one, with a number when two are called the same."""
    result: dict[str, float] = {}
    for path, value in _numbers(root, profile.thermal_zones):
        kind = read_text((root / path).with_name("type")) or Path(path).parent.name
        if kind in profile.ignored_zones:
            continue
        name, n = kind, 2
        while name in result:
            name, n = f"{kind} {n}", n + 1
        result[name] = value / 1000
    return result


def temperature(profile: DeviceProfile, root: Path = ROOT) -> float | None:
    """Return the temperature of the hottest zone in °C; some hundred microseconds, so once a second is cheap."""
    return max(temperatures(profile, root).values(), default=None)


def throttle_counters(profile: DeviceProfile, root: Path = ROOT) -> dict[str, int]:
    """Return how often heat or power slowed the device down, by the path of the counter below `root`."""
    return dict(_numbers(root, profile.throttle_counters))


def throttled(profile: DeviceProfile, root: Path = ROOT) -> Throttled | None:
    """Return what the firmware tells of power and heat; None where there is no such firmware or it cannot be asked.

    A file of its driver is read where there is one; the profile's command, which starts a program, is asked otherwise.
    """
    for _, text in _texts(root, profile.throttled_files):
        found = decode_throttled(f"throttled=0x{text.removeprefix('0x')}")
        if found is not None:
            return found
    return decode_throttled(_output(profile.throttled_command))


def power_mode(profile: DeviceProfile) -> str | None:
    """Return what the profile's command prints of the power mode."""
    return _output(profile.power_mode_command)


def decode_throttled(text: str | None) -> Throttled | None:
    """Return the bits of `throttled=0x50005` in words; None for text of another form."""
    found = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", (text or "").strip())
    if not found:
        return None
    bits = int(found[1], 16)
    return Throttled(
        found[1].lower(),
        tuple(name for bit, name in THROTTLED_BITS.items() if bits >> bit & 1),
        tuple(name for bit, name in THROTTLED_BITS.items() if bits >> (bit + 16) & 1),
    )


def read_text(path: Path) -> str | None:
    """Return what a small file says, without spaces and zero bytes at its ends; None when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_FILE_BYTES).decode("utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return None


def _numbers(root: Path, patterns: Sequence[str]) -> list[tuple[str, int]]:
    return [(path, int(text)) for path, text in _texts(root, patterns) if re.fullmatch(r"-?\d{1,18}", text)]


def _texts(root: Path, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Return (path below root, contents) of the readable files that the patterns find, cpu2 before cpu10."""
    paths = {path for pattern in patterns for path in root.glob(pattern)}
    result = []
    for path in sorted(paths, key=lambda p: [int(v) if v.isdigit() else v for v in re.split(r"(\d+)", str(p))]):
        text = read_text(path)
        if text is not None:
            result.append((str(path.relative_to(root)), text))
    return result


def _output(command: Sequence[str]) -> str | None:
    """Return what a profile's command prints; None when there is none, it is not installed, or it fails."""
    program = shutil.which(command[0]) if command else None
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()[:1000] if done.returncode == 0 else None
