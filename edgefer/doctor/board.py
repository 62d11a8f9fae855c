"""Heat, power, clock speed, memory and disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgefer import places
from edgefer.devices import board
from edgefer.doctor import Check, Patient
from edgefer.runtime import models

HOT_C, TOO_HOT_C = 70.0, 80.0
"""A Raspberry Pi slows itself down from 80 °C on, a Jetson Orin from some 90."""
SLOW_GOVERNORS = ("powersave", "conservative")
LITTLE_MIB = 200
"""Free memory; a run takes some 100 MB."""
LITTLE_DISK_MIB, NO_DISK_MIB = 500, 50
REMEDIES = {
    "under-voltage": "use the board's own power supply and a short cable, and take USB devices off",
    "clock capped": "give it a heat sink or a fan, and a stronger power supply",
    "throttled": "give it a heat sink or a fan, and a stronger power supply",
    "soft temperature limit": "give it a heat sink or a fan",
}
OVER_CURRENT = {"1": "under-voltage", "2": "average over-current", "3": "instantaneous over-current"}
"""What the numbers of a Jetson Orin's counters oc1_event_cnt … count."""


def governor(patient: Patient) -> Check:
    """Return how the processor's clock is governed."""
    found = board.governors(patient.profile, patient.root)
    clocks = board.frequencies_mhz(patient.profile, patient.root)
    text = ", ".join(found) + (f", now {min(clocks)}–{max(clocks)} MHz" if clocks else "")
    if not found:
        return Check("governor", "info", "the system does not tell", "usual in containers and virtual machines")
    slow = [name for name in found if name in SLOW_GOVERNORS]
    drivers = [
        board.read_text(path) for path in patient.root.glob("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")
    ]
    # Intel's own driver calls its normal mode powersave.
    if slow and not any((driver or "").startswith("intel_pstate") for driver in drivers):
        advice = "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        return Check("governor", "warn", text, advice)
    return Check("governor", "ok", text)


def temperature(patient: Patient) -> Check:
    """Return how hot the hottest part is."""
    zones = board.temperatures(patient.profile, patient.root)
    if not zones:
        return Check("temperature", "info", "no thermal zone", "usual in containers and virtual machines")
    name, hottest = max(zones.items(), key=lambda zone: zone[1])
    found = f"{hottest:.0f} °C ({name})"
    if hottest >= TOO_HOT_C:
        return Check("temperature", "warn", found, "it slows itself down: give it a heat sink or a fan")
    if hottest >= HOT_C:
        return Check("temperature", "warn", found, "it will slow down under load: give it a heat sink or a fan")
    return Check("temperature", "ok", found)


def throttling(patient: Patient) -> Iterator[Check]:
    """Yield what slowed the device down: the Raspberry Pi's bits, or the counters of others."""
    profile = patient.profile
    firmware = board.throttled(profile, patient.root)
    asked = firmware is not None or bool(profile.throttled_command)
    if asked:
        yield throttled(firmware, " ".join(profile.throttled_command))
    counters = board.throttle_counters(profile, patient.root)
    if counters:
        yield counted(counters)
    if not asked and not counters:
        yield Check("throttling", "info", "this device does not tell", "watch the temperature and the clock instead")
    mode = board.power_mode(profile)
    if mode is not None:
        yield Check(
            "power mode", "info", " ".join(mode.split()), "more power: sudo nvpmodel -m 0, then sudo jetson_clocks"
        )


def throttled(state: board.Throttled | None, command: str) -> Check:
    """Judge the firmware's bits: now is a fault, since the start a warning."""
    if state is None:
        advice = (
            f"{command} gave no answer: apt install raspi-utils, then sudo usermod -aG video $USER and log in again"
        )
        return Check("throttling", "warn", "unknown", advice)
    if state.now:
        found = f"now: {', '.join(state.now)} ({state.bits})"
        return Check("throttling", "fail", found, _remedies(state.now))
    if state.occurred:
        found = f"since the start: {', '.join(state.occurred)} ({state.bits})"
        return Check("throttling", "warn", found, _remedies(state.occurred))
    return Check("throttling", "ok", f"none since the start ({state.bits})")


def counted(counters: dict[str, int]) -> Check:
    """Judge counters of events that slowed the device down since its start."""
    grown = {path: count for path, count in counters.items() if count}
    if not grown:
        return Check("throttling", "ok", f"none since the start ({len(counters)} counters)")
    words = []
    for path, count in grown.items():
        number = re.fullmatch(r"oc(\d+)_event_cnt", Path(path).name)
        words.append(f"{OVER_CURRENT.get(number[1], number[0]) if number else 'heat'} {count} ×")
    found = f"since the start: {', '.join(dict.fromkeys(words))}"
    heat = all("heat" in word for word in words)
    advice = "better cooling" if heat else "a stronger power supply, or a lower power mode: sudo nvpmodel -m 1"
    return Check("throttling", "warn", found, advice)


def memory(patient: Patient) -> Check:
    """Return how much memory is free."""
    total, free = (board.memory_mib(patient.root, field) for field in ("MemTotal", "MemAvailable"))
    if total is None or free is None:
        return Check("memory", "info", "the system does not tell", "a run takes some 100 MB")
    found = f"{free} of {total} MiB free"
    if free < LITTLE_MIB:
        return Check("memory", "warn", found, "a run takes some 100 MB: end other programs, or use no desktop")
    return Check("memory", "ok", found)


def disk(patient: Patient) -> Iterator[Check]:
    """Yield how much space is left where recordings and downloads go."""
    for folder in patient.folders or _written():
        existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(existing).free // 2**20
        found = f"{free / 1024:.1f} GiB free at {folder}"
        if free < NO_DISK_MIB:
            yield Check("disk", "fail", found, "make room: recordings and logs will fail")
        elif free < LITTLE_DISK_MIB:
            yield Check("disk", "warn", found, "make room before recording")
        else:
            yield Check("disk", "ok", found)


def _written() -> Iterator[Path]:
    """Yield the working folder, and where downloads go; without a home there is no such place."""
    yield Path.cwd()
    if places.cache() is not None:
        yield models.folder()


def _remedies(bits: tuple[str, ...]) -> str:
    return "; ".join(dict.fromkeys(REMEDIES[name] for name in bits))


EXAMINATIONS = (
    ("governor", governor),
    ("temperature", temperature),
    ("throttling", throttling),
    ("memory", memory),
    ("disk", disk),
)
