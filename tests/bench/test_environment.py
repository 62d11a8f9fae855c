"""The environment: read from files like a board's, and what makes a measurement no evidence."""

from __future__ import annotations

import json
import platform
import socket
from pathlib import Path
from typing import Any

import pytest

from edgefer.bench.environment import advice, snapshot, validity
from edgefer.devices.board import decode_throttled
from edgefer.devices.profile import load_profile

PI5_CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

processor\t: 1
Features\t: fp asimd asimdhp asimddp
CPU part\t: 0xd0b
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def board(root: Path) -> Path:
    texts = {
        "proc/cpuinfo": PI5_CPUINFO,
        "proc/meminfo": "MemTotal:        8245248 kB\nMemFree: 1 kB\n",
        "proc/loadavg": "0.42 0.30 0.10 1/200 999\n",
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "sys/class/thermal/thermal_zone0/temp": "48850\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "51000\n",
        "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone2/temp": "not a number\n",
    }
    for cpu, khz in ((0, 2400000), (2, 1500000), (10, 1000000)):
        texts[f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq"] = f"{khz}\n"
        texts[f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"] = "ondemand\n"
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_pi_tells_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "vcgencmd", 'test "$1" = get_throttled && echo "throttled=0x50000"', monkeypatch)
    state = snapshot(load_profile("rpi5"), board(tmp_path / "root"))
    assert state["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert state["cpu"] == "Cortex-A76"
    assert state["dot_product"] == ["asimddp"]
    assert state["memory_mib"] == 8052
    assert state["load_average"] == [0.42, 0.3, 0.1]
    assert state["temperatures_c"] == {"cpu-thermal": 48.85, "cpu-thermal 2": 51.0}
    assert state["frequencies_mhz"] == [2400, 1500, 1000]
    assert state["governors"] == ["ondemand"]
    assert state["throttled"] == {"bits": "0x50000", "now": [], "occurred": ["under-voltage", "throttled"]}
    assert state["python"] == platform.python_version()
    assert {"edgefer", "numpy"} <= set(state["packages"])


def test_it_is_plain_data_without_the_host_name(tmp_path: Path) -> None:
    text = json.dumps(snapshot(load_profile("x86"), board(tmp_path)), allow_nan=False)
    assert socket.gethostname() not in json.loads(text).values()
    assert "hostname" not in text


def test_a_machine_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    state = snapshot(load_profile("rpi5"), tmp_path)
    assert state["cpu"] is None
    assert state["model"] is None
    assert state["memory_mib"] is None
    assert state["temperatures_c"] == {}
    assert validity(state, state) == []


def test_this_machine_can_be_read() -> None:
    state = snapshot(load_profile("generic"))
    assert state["cores"] >= 1
    assert state["memory_mib"] > 0


@pytest.mark.parametrize("script", ["exit 1", "echo error=1", "echo throttled=0xzz", "kill -9 $$"])
def test_a_command_that_fails_leaves_the_field_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program(tmp_path, "vcgencmd", script, monkeypatch)
    assert snapshot(load_profile("rpi4"), tmp_path)["throttled"] is None


def test_the_power_mode_is_what_the_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "nvpmodel", "echo NV Power Mode: 15W", monkeypatch)
    assert snapshot(load_profile("jetson"), tmp_path)["power_mode"] == "NV Power Mode: 15W"


def state(bits: str | None) -> dict[str, Any]:
    """What a snapshot has of a Pi's bits."""
    found = decode_throttled(bits)
    if found is None:
        return {"throttled": None}
    return {"throttled": {"bits": found.bits, "now": list(found.now), "occurred": list(found.occurred)}}


@pytest.mark.parametrize(
    ("before", "after", "reasons"),
    [
        ("throttled=0x0", "throttled=0x0", []),
        (None, None, []),
        ("throttled=0x1", "throttled=0x0", ["under-voltage, before the measurement"]),
        ("throttled=0x0", "throttled=0x4", ["throttled, after the measurement"]),
        ("throttled=0x0", "throttled=0x40000", ["throttled occurred during the measurement"]),
    ],
)
def test_a_device_that_was_slowed_down_gives_no_evidence(
    before: str | None, after: str | None, reasons: list[str]
) -> None:
    assert validity(state(before), state(after)) == reasons


def test_what_occurred_before_cannot_be_told_apart() -> None:
    (reason,) = validity(state("throttled=0x10000"), state("throttled=0x10000"))
    assert "under-voltage has occurred since the device was started" in reason
    assert "restart the device" in reason


@pytest.mark.parametrize(
    ("before", "after", "seen", "reasons"),
    [
        (None, None, (), []),
        ("throttled=0x0", "throttled=0x0", ("throttled",), ["throttled, during the measurement"]),
        ("throttled=0x0", "throttled=0x40000", ("throttled",), ["throttled, during the measurement"]),
        ("throttled=0x10000", "throttled=0x10000", ("under-voltage",), ["under-voltage, during the measurement"]),
        (
            "throttled=0x0",
            "throttled=0x50004",
            ("throttled",),
            [
                "throttled, after the measurement",
                "throttled, during the measurement",
                "under-voltage occurred during the measurement",
            ],
        ),
    ],
)
def test_what_was_seen_in_between_is_a_reason(
    before: str | None, after: str | None, seen: tuple[str, ...], reasons: list[str]
) -> None:
    assert validity(state(before), state(after), seen) == reasons


def test_a_governor_that_changes_the_clock_is_no_fault_but_worth_a_word(tmp_path: Path) -> None:
    profile = load_profile("rpi5")
    before = snapshot(profile, board(tmp_path))
    (line,) = advice(before, profile)
    assert line == (
        "the CPU frequency governor is ondemand; for steady figures:"
        " echo performance | sudo tee /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
    )
    assert validity(before, before) == []
    assert advice(before | {"governors": ["performance"]}, profile) == []
    assert advice(before | {"governors": []}, profile) == []
    assert (
        "governors are powersave and schedutil;"
        in advice(before | {"governors": ["powersave", "schedutil"]}, profile)[0]
    )


def test_a_counter_that_grew_is_a_reason(tmp_path: Path) -> None:
    counter = tmp_path / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    counter.parent.mkdir(parents=True)
    counter.write_text("7\n")
    profile = load_profile("x86")
    before = snapshot(profile, tmp_path)
    assert validity(before, snapshot(profile, tmp_path)) == []
    counter.write_text("8\n")
    (reason,) = validity(before, snapshot(profile, tmp_path))
    assert "slowed the device down" in reason
