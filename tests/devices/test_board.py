"""The state of a board, read from folders of files that look like one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgefer.devices import board
from edgefer.devices.profile import load_profile


def write(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def zones(root: Path, *values: tuple[str, str]) -> Path:
    for n, (kind, text) in enumerate(values):
        folder = f"sys/class/thermal/thermal_zone{n}"
        write(root, {f"{folder}/type": f"{kind}\n", f"{folder}/temp": text})
    return root


def test_the_temperature_is_that_of_the_hottest_zone(tmp_path: Path) -> None:
    rpi5 = load_profile("rpi5")
    assert board.temperature(rpi5, tmp_path) is None
    zones(tmp_path, ("cpu-thermal", "48850\n"), ("gpu", "61500\n"), ("broken", "hot\n"), ("off", ""))
    assert board.temperature(rpi5, tmp_path) == 61.5
    assert board.temperatures(rpi5, tmp_path) == {"cpu-thermal": 48.85, "gpu": 61.5}


def test_frost_is_a_temperature(tmp_path: Path) -> None:
    assert board.temperature(load_profile("rpi5"), zones(tmp_path, ("cpu-thermal", "-12500"))) == -12.5


def test_a_zone_that_always_says_the_same_is_left_out(tmp_path: Path) -> None:
    zones(tmp_path, ("CPU-therm", "41000"), ("PMIC-Die", "100000"))
    assert board.temperature(load_profile("jetson-nano"), tmp_path) == 41
    assert board.temperature(load_profile("rpi5"), tmp_path) == 100


def test_once_a_second_is_cheap(tmp_path: Path) -> None:
    zones(tmp_path, *[(f"zone{n}", "41000") for n in range(10)])
    rpi5 = load_profile("rpi5")
    start = time.perf_counter()
    for _ in range(20):
        board.temperature(rpi5, tmp_path)
    assert (time.perf_counter() - start) / 20 < 0.02


def test_a_zone_is_not_read_without_end(tmp_path: Path) -> None:
    zones(tmp_path, ("endless", "1" * 3_000_000), ("cpu", "40000"))
    assert board.temperatures(load_profile("rpi5"), tmp_path) == {"cpu": 40.0}


@pytest.mark.parametrize(
    ("text", "now", "occurred"),
    [
        ("throttled=0x0", (), ()),
        ("throttled=0x50005\n", ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        ("throttled=0xA", ("clock capped", "soft temperature limit"), ()),
        ("throttled=0x80000", (), ("soft temperature limit",)),
    ],
)
def test_the_bits_are_put_into_words(text: str, now: tuple[str, ...], occurred: tuple[str, ...]) -> None:
    found = board.decode_throttled(text)
    assert found is not None
    assert (found.now, found.occurred) == (now, occurred)


@pytest.mark.parametrize("text", [None, "", "0x0", "throttled=0x", "throttled=0x123456789", "throttled=0x0 or so"])
def test_other_text_has_no_bits(text: str | None) -> None:
    assert board.decode_throttled(text) is None


def test_a_command_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(board, "COMMAND_TIMEOUT_S", 0.2)
    start = time.monotonic()
    assert board.throttled(load_profile("rpi4")) is None
    assert time.monotonic() - start < 10


def test_no_command_is_run_that_the_profile_does_not_name() -> None:
    assert board.throttled(replace(load_profile("rpi4"), throttled_command=("no-such-program",))) is None
    assert board.throttled(load_profile("x86")) is None


@pytest.mark.parametrize(
    ("text", "features", "dot"),
    [
        ("Features\t: fp asimd asimddp\n\nFeatures\t: fp asimd asimddp\n", {"fp", "asimd", "asimddp"}, ["asimddp"]),
        ("Features\t: fp asimd asimddp\n\nFeatures\t: fp asimd\n", {"fp", "asimd"}, []),
        ("flags\t\t: fpu avx_vnni avx512_vnni\n", {"fpu", "avx_vnni", "avx512_vnni"}, ["avx512_vnni", "avx_vnni"]),
        ("processor: 0\n", set(), []),
        ("", set(), []),
    ],
)
def test_features_that_every_core_has(tmp_path: Path, text: str, features: set[str], dot: list[str]) -> None:
    found = board.cpu_features(write(tmp_path, {"proc/cpuinfo": text}))
    assert found == features
    assert board.dot_product(found) == dot


def test_the_device_tree_of_broken_bytes_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"proc/device-tree/model": "", "proc/device-tree/compatible": ""})
    (tmp_path / "proc/device-tree/model").write_bytes(b"\xff\xfe board\0")
    (tmp_path / "proc/device-tree/compatible").write_bytes(b"nvidia,p3450-0000\0nvidia,tegra210\0")
    assert board.device_tree_model(tmp_path).endswith(" board")
    assert board.device_tree_compatible(tmp_path) == ("nvidia,p3450-0000", "nvidia,tegra210")


def test_without_a_device_tree_there_is_no_model(tmp_path: Path) -> None:
    assert board.device_tree_model(tmp_path) == ""
    assert board.device_tree_compatible(tmp_path) == ()
    assert board.memory_mib(tmp_path) is None
    assert board.load_average(tmp_path) is None
    assert board.cpu_name(tmp_path) is None


def test_the_firmwares_file_is_read_before_its_command(tmp_path: Path) -> None:
    file = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    file.parent.mkdir(parents=True)
    pi = replace(load_profile("rpi4"), throttled_command=("no-such-program",))
    assert board.throttled(pi, tmp_path) is None
    for text in ("50001\n", "0x50001"):
        file.write_text(text)
        found = board.throttled(pi, tmp_path)
        assert found is not None
        assert (found.bits, found.now, found.occurred) == (
            "0x50001",
            ("under-voltage",),
            ("under-voltage", "throttled"),
        )
    file.write_text("not a number\n")
    assert board.throttled(pi, tmp_path) is None
