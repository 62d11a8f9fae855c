"""What a measurement was taken on: machine, clocks, heat, power, load, versions; plain data, and no host name."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgefer import __version__, plugins
from edgefer.devices import board
from edgefer.devices.description import DeviceProfile

PACKAGES = ("numpy", "opencv-python-headless", "ai-edge-litert", "tflite-runtime", "onnxruntime", "openvino")
STEADY_GOVERNOR = "performance"
"""Keeps the clock at its highest; others change it with the load, so with the length of a measurement."""


def snapshot(profile: DeviceProfile, root: Path = Path("/")) -> dict[str, Any]:
    """Return what the machine is and how it is now; what cannot be read is None or empty.

    `root` is where /proc and /sys are looked for.
    """
    return {
        "machine": platform.machine(),
        "model": board.device_tree_model(root) or None,
        "cpu": board.cpu_name(root),
        "dot_product": board.dot_product(board.cpu_features(root)),
        "cores": cores(),
        "memory_mib": board.memory_mib(root),
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "python": platform.python_version(),
        "packages": {"edgefer": __version__} | plugins.versions(PACKAGES),
        "load_average": board.load_average(root),
        "governors": board.governors(profile, root),
        "frequencies_mhz": board.frequencies_mhz(profile, root),
        "temperatures_c": board.temperatures(profile, root),
        "throttle_counters": board.throttle_counters(profile, root),
        "throttled": _plain(board.throttled(profile, root)),
        "power_mode": board.power_mode(profile),
    }


def cores() -> int:
    """Return how many processors this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plain(throttled: board.Throttled | None) -> dict[str, Any] | None:
    if throttled is None:
        return None
    return {"bits": throttled.bits, "now": list(throttled.now), "occurred": list(throttled.occurred)}


def validity(before: Mapping[str, Any], after: Mapping[str, Any], throttled: Sequence[str] = ()) -> list[str]:
    """Return why figures taken between two snapshots are no evidence: the device was slowed down. Empty = they are.

    `throttled` are the firmware's reasons that were seen in between, as in a trace.
    """
    reasons = []
    for when, state in (("before", before), ("after", after)):
        now = (state.get("throttled") or {}).get("now", [])
        reasons += [f"{name}, {when} the measurement" for name in now]
    reasons += [f"{name}, during the measurement" for name in throttled]
    earlier = (before.get("throttled") or {}).get("occurred", [])
    for name in (after.get("throttled") or {}).get("occurred", []):
        if name in throttled:
            continue  # the firmware remembers what was seen
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


def advice(before: Mapping[str, Any], profile: DeviceProfile) -> list[str]:
    """Return what would make figures steadier on this machine; none of it makes them invalid. Empty = nothing."""
    governors = [name for name in before.get("governors") or [] if name != STEADY_GOVERNOR]
    if not governors:
        return []
    files = " ".join(f"/{pattern}" for pattern in profile.governors)
    one = len(governors) == 1
    return [
        f"the CPU frequency governor{' is' if one else 's are'} {' and '.join(governors)}; for steady figures:"
        f" echo {STEADY_GOVERNOR} | sudo tee {files}"
    ]
