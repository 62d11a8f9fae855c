"""What a measurement was taken on: machine, clocks, heat, power, load, versions; plain data, and no host name."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edgefer import __version__
from edgefer.devices.profile import DeviceProfile, device_tree_model

PACKAGES = ("numpy", "opencv-python-headless", "ai-edge-litert", "tflite-runtime", "onnxruntime", "openvino")

THROTTLED_BITS = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
"""What the Raspberry Pi firmware's bits mean; 16 bits higher: has occurred since the device was started."""

ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd42": "Cortex-A78AE",
}


def snapshot(profile: DeviceProfile, root: Path = Path("/")) -> dict[str, Any]:
    """Return what the machine is and how it is now; what cannot be read is None or empty.

    `root` is where /proc and /sys are looked for.
    """
    return {
        "machine": platform.machine(),
        "model": device_tree_model(root) or None,
        "cpu": _cpu(root),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mib": _memory_mib(root),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "packages": _versions(),
        "load_average": _load_average(root),
        "governors": sorted({text for _, text in _texts(root, profile.governors)}),
        "frequencies_mhz": [value // 1000 for _, value in _numbers(root, profile.frequencies)],
        "temperatures_c": _temperatures(root, profile),
        "throttle_counters": dict(_numbers(root, profile.throttle_counters)),
        "throttled": decode_throttled(_output(profile.throttled_command)),
        "power_mode": _output(profile.power_mode_command),
    }


def decode_throttled(text: str | None) -> dict[str, Any] | None:
    """Return the bits of `throttled=0x50005` in words, as `now` and `occurred`; None for text of another form."""
    found = re.fullmatch(r"throttled=(0x[0-9a-fA-F]{1,8})", (text or "").strip())
    if not found:
        return None
    bits = int(found[1], 16)
    return {
        "bits": found[1].lower(),
        "now": [name for bit, name in THROTTLED_BITS.items() if bits >> bit & 1],
        "occurred": [name for bit, name in THROTTLED_BITS.items() if bits >> (bit + 16) & 1],
    }


def validity(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return why figures taken between two snapshots are no evidence: the device was slowed down. Empty = they are."""
    reasons = []
    for when, state in (("before", before), ("after", after)):
        now = (state.get("throttled") or {}).get("now", [])
        reasons += [f"{name}, {when} the measurement" for name in now]
    earlier = (before.get("throttled") or {}).get("occurred", [])
    for name in (after.get("throttled") or {}).get("occurred", []):
        if name in earlier:
            reasons.append(
                f"{name} has occurred since the device was started, and perhaps again during the measurement;"
                " restart the device and measure again"
            )
        else:
            reasons.append(f"{name} occurred during the measurement")
    old = before.get("throttle_counters") or {}
    new = after.get("throttle_counters") or {}
    grown = [path for path, count in new.items() if count > old.get(path, count)]
    if grown:
        reasons.append(f"heat or power slowed the device down during the measurement ({grown[0]} grew)")
    return reasons


def _cpu(root: Path) -> str | None:
    text = _text(root / "proc/cpuinfo") or ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if name:
        return name[1].strip()
    parts = sorted(set(re.findall(r"^CPU part\s*:\s*(0x[0-9a-f]+)\s*$", text, re.MULTILINE)))
    return ", ".join(ARM_PARTS.get(part, f"Arm CPU part {part}") for part in parts) or None


def _memory_mib(root: Path) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def _load_average(root: Path) -> list[float] | None:
    found = re.match(r"([\d.]+) ([\d.]+) ([\d.]+) ", _text(root / "proc/loadavg") or "")
    return [float(v) for v in found.groups()] if found else None


def _temperatures(root: Path, profile: DeviceProfile) -> dict[str, float]:
    """Return °C by zone: its type where it has one, with a number when two are called the same."""
    result: dict[str, float] = {}
    for path, value in _numbers(root, profile.thermal_zones):
        kind = _text((root / path).with_name("type")) or Path(path).parent.name
        name, n = kind, 2
        while name in result:
            name, n = f"{kind} {n}", n + 1
        result[name] = value / 1000
    return result


def _versions() -> dict[str, str]:
    """Return the installed ones of the packages that decide speed or result."""
    found = {"edgefer": __version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _numbers(root: Path, patterns: Sequence[str]) -> list[tuple[str, int]]:
    return [(path, int(text)) for path, text in _texts(root, patterns) if re.fullmatch(r"-?\d{1,18}", text)]


def _texts(root: Path, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Return (path below root, contents) of the readable files that the patterns find, cpu2 before cpu10."""
    paths = {path for pattern in patterns for path in root.glob(pattern)}
    result = []
    for path in sorted(paths, key=lambda p: [int(v) if v.isdigit() else v for v in re.split(r"(\d+)", str(p))]):
        text = _text(path)
        if text is not None:
            result.append((str(path.relative_to(root)), text))
    return result


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return None


def _output(command: Sequence[str]) -> str | None:
    """Return what a profile's command prints; None when there is none, it is not installed, or it fails."""
    program = shutil.which(command[0]) if command else None
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, errors="replace", timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()[:1000] if done.returncode == 0 else None
