"""What is seen while something is measured: in folders of files that change under a sampler, and on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.bench import trace as traces
from edgefer.bench.trace import Sampler, Trace, idle_watts, mean_watts
from edgefer.devices.board import THROTTLED_BITS
from edgefer.devices.description import DeviceProfile
from edgefer.devices.power import PowerMeter
from edgefer.devices.profile import load_profile
from edgefer.errors import RecordError

FEW = Trace((0.0, 1.0, 2.0), (48.0, -3.5, None), (1500, None, 2400), (None, 5.0, 7.0), ("throttled",), "rapl package-0")
ZONE = "sys/class/thermal/thermal_zone0"


def write(root: Path, texts: dict[str, str]) -> Path:
    """Replaces the files at a stroke: a sampler reads them at the same time."""
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.replace(path)
    return root


def board(root: Path, celsius: float = 48.0, khz: tuple[int, ...] = (2400000, 1500000), watts: float = 5.0) -> Path:
    texts = {f"{ZONE}/type": "cpu-thermal\n", f"{ZONE}/temp": f"{celsius * 1000:.0f}\n"}
    texts |= {f"sys/devices/system/cpu/cpu{n}/cpufreq/scaling_cur_freq": f"{k}\n" for n, k in enumerate(khz)}
    chip = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
    texts |= {f"{chip}/name": "ina3221\n", f"{chip}/in1_label": "VDD_IN\n"}
    texts |= {f"{chip}/in1_input": "5000\n", f"{chip}/curr1_input": f"{watts * 200:.0f}\n"}
    return write(root, texts)


def counter(root: Path, microjoules: int) -> Path:
    zone = "sys/class/powercap/intel-rapl:0"
    texts = {"name": "package-0", "energy_uj": str(microjoules), "max_energy_range_uj": str(10**15)}
    return write(root, {f"{zone}/{name}": text for name, text in texts.items()})


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 5 s"
        time.sleep(0.005)


@pytest.fixture
def orin() -> DeviceProfile:
    return load_profile("jetson-orin-nano")


def test_it_sees_what_changes(tmp_path: Path, orin: DeviceProfile) -> None:
    with Sampler(orin, board(tmp_path), interval_s=0.01) as sampler:
        wait_until(lambda: len(sampler._points) >= 3)
        board(tmp_path, celsius=71.5, khz=(1000000, 2000000), watts=9)
        wait_until(lambda: sampler._points[-1][1:] == (71.5, 1000, 9.0))
    trace = sampler.trace
    assert (trace.temperature_c[0], trace.mhz[0], trace.watts[0]) == (48.0, 1500, 5.0)
    assert (trace.temperature_c[-1], trace.mhz[-1], trace.watts[-1]) == (71.5, 1000, 9.0)
    assert trace.power_source == "ina3221 VDD_IN"
    assert trace.throttled == ()
    assert Trace.from_dict(json.loads(json.dumps(trace.as_dict(), allow_nan=False))) == trace


def test_points_are_as_far_apart_as_asked(tmp_path: Path, orin: DeviceProfile) -> None:
    with Sampler(orin, board(tmp_path), interval_s=0.1) as sampler:
        time.sleep(0.55)
    assert 3 <= len(sampler.trace.seconds) <= 7
    assert sampler.trace.seconds[0] < 0.1
    assert 0 < time.monotonic() - sampler.started < 5


def test_its_thread_ends_with_the_block(tmp_path: Path, orin: DeviceProfile) -> None:
    with Sampler(orin, board(tmp_path)) as sampler:
        assert "edgefer-trace" in {thread.name for thread in threading.enumerate()}
        with pytest.raises(RuntimeError, match="after the with block"):
            _ = sampler.trace
    assert "edgefer-trace" not in {thread.name for thread in threading.enumerate()}
    assert len(sampler.trace.seconds) >= 1


def test_what_goes_wrong_in_the_thread_comes_out(
    tmp_path: Path, orin: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> float:
        raise MemoryError("no more")

    monkeypatch.setattr(traces.board, "temperature", broken)
    with pytest.raises(MemoryError, match="no more"), Sampler(orin, board(tmp_path)):
        pass
    with pytest.raises(KeyError, match="the block's own"), Sampler(orin, tmp_path):
        raise KeyError("the block's own")


def test_a_machine_that_tells_nothing_has_an_empty_trace(tmp_path: Path) -> None:
    with Sampler(load_profile("rpi4"), tmp_path) as sampler:
        pass
    trace = sampler.trace
    assert (trace.temperature_c, trace.mhz, trace.watts) == ((None,), (None,), (None,))
    assert mean_watts(trace) is None


def test_this_machine_can_be_sampled() -> None:
    with Sampler(load_profile("generic"), interval_s=0.05) as sampler:
        time.sleep(0.2)
    assert len(sampler.trace.seconds) >= 2
    assert Trace.from_dict(sampler.trace.as_dict()) == sampler.trace


def test_every_reason_of_the_firmware_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "COMMAND_INTERVAL_S", 0.05)
    bits = write(tmp_path, {"bits": "0x1"}) / "bits"
    program(tmp_path / "bin", "vcgencmd", f"echo asked >> {tmp_path}/asked; echo throttled=$(cat {bits})", monkeypatch)
    with Sampler(load_profile("rpi4"), tmp_path, interval_s=0.02) as sampler:
        for value, name in (("0x1", "under-voltage"), ("0x8", "soft temperature limit"), ("0x0", "under-voltage")):
            write(tmp_path, {"bits": value})
            wait_until(lambda name=name: name in sampler._throttled)  # type: ignore[misc]
    assert sampler.trace.throttled == ("soft temperature limit", "under-voltage")
    asked = len((tmp_path / "asked").read_text().split())
    assert asked < len(sampler.trace.seconds), "the firmware is asked less often than the files"


def test_programs_are_started_every_five_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pmic = "echo 'X_A current(0)=2A'; echo 'X_V volt(1)=3V'"
    program(
        tmp_path / "bin",
        "vcgencmd",
        f'echo "$1" >> {tmp_path}/asked; case "$1" in pmic_read_adc) {pmic};; *) echo throttled=0x0;; esac',
        monkeypatch,
    )
    meter = PowerMeter(load_profile("rpi5"), tmp_path)
    (tmp_path / "asked").unlink()
    with Sampler(load_profile("rpi5"), tmp_path, meter, interval_s=0.05) as sampler:
        time.sleep(0.4)
    assert sorted((tmp_path / "asked").read_text().split()) == ["get_throttled", "pmic_read_adc"]
    assert sampler.trace.watts[0] == 6
    assert len(sampler.trace.watts) > 2
    assert set(sampler.trace.watts[1:]) == {None}


def test_a_counter_is_read_once_more_at_the_end(tmp_path: Path) -> None:
    profile = load_profile("x86")
    meter = PowerMeter(profile, counter(tmp_path, 0))
    time.sleep(0.1)
    counter(tmp_path, 90_000_000)  # what was used before is not of the measurement
    with Sampler(profile, tmp_path, meter) as sampler:
        time.sleep(0.3)
        counter(tmp_path, 93_000_000)
    trace = sampler.trace
    assert trace.watts[0] is None
    assert trace.seconds[-1] == pytest.approx(0.3, abs=0.5)
    assert trace.watts[-1] == pytest.approx(3 / trace.seconds[-1], rel=0.1)
    assert trace.power_source == "rapl package-0"


def test_a_long_measurement_is_thinned_evenly(
    tmp_path: Path, orin: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "MAX_POINTS", 20)
    with Sampler(orin, board(tmp_path), interval_s=0.004) as sampler:
        wait_until(lambda: sampler._interval > 0.02 and len(sampler._points) > 15)
    seconds = sampler.trace.seconds
    assert len(seconds) <= 20
    assert seconds[0] < 0.1
    assert seconds[5] - seconds[0] > 2.5 * sampler._interval, "the early points are closer together than the late ones"


def test_the_mean_counts_each_reading_for_its_time() -> None:
    assert mean_watts(FEW) == 6
    assert mean_watts(FEW, start=1.0) == 7
    assert mean_watts(FEW, end=1.5) == pytest.approx((1 * 5 + 0.5 * 7) / 1.5)
    assert mean_watts(FEW, start=2.0) is None
    gaps = replace(FEW, seconds=(0.0, 5.0, 6.0), watts=(9.0, 4.0, 10.0))
    assert mean_watts(gaps) == pytest.approx((5 * 4 + 10) / 6), "the first was before anything ran"
    command = Trace((0.9, 2.0, 6.5), (None,) * 3, (None,) * 3, (3.0, None, 5.0), (), "tegrastats VDD_IN")
    assert mean_watts(command) == 5
    assert mean_watts(Trace((), (), (), ())) is None


def test_idle_watts_are_the_mean_of_some_seconds(tmp_path: Path, orin: DeviceProfile) -> None:
    assert idle_watts(PowerMeter(orin, board(tmp_path / "orin", watts=3.5)), 0.05) == 3.5
    assert idle_watts(PowerMeter(load_profile("rpi4"), tmp_path), 0.05) is None
    profile = load_profile("x86")
    meter = PowerMeter(profile, counter(tmp_path, 0))
    time.sleep(0.1)
    counter(tmp_path, 50_000_000)
    threading.Timer(0.1, counter, (tmp_path, 51_000_000)).start()
    start = time.monotonic()
    watts = idle_watts(meter, 0.25)
    assert watts is not None
    assert 0.5 < watts < 4.5, "1 J in some 0.25 s, without the 50 J before"
    assert time.monotonic() - start < 3


NUMBERS = st.floats(-200, 5000, allow_nan=False)
POINTS = st.lists(
    st.tuples(st.floats(0, 1e5), st.none() | NUMBERS, st.none() | st.integers(0, 6000), st.none() | st.floats(0, 1000)),
    max_size=20,
)


@given(POINTS, st.sets(st.sampled_from(list(THROTTLED_BITS.values()))), st.text(max_size=40))
def test_a_trace_comes_back_as_it_was(
    points: list[tuple[float, float | None, int | None, float | None]], reasons: set[str], source: str
) -> None:
    columns = tuple(zip(*points, strict=True)) or ((), (), (), ())
    trace = Trace(tuple(sorted(columns[0])), *columns[1:], tuple(sorted(reasons)), source)
    assert Trace.from_dict(json.loads(json.dumps(trace.as_dict(), allow_nan=False))) == trace
    watts = mean_watts(trace)
    known = [w for w in trace.watts if w is not None]
    assert watts is None or min(known) - 1e-6 <= watts <= max(known) + 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": [0.0, 1.0]},
        {"seconds": [0.0, 2.0, 1.0]},
        {"seconds": [-1.0, 1.0, 2.0]},
        {"seconds": [0.0, None, 2.0]},
        {"seconds": [0.0, "1", 2.0]},
        {"seconds": [0.0, 1.0, float("nan")]},
        {"temperature_c": [1.0, 2.0, float("inf")]},
        {"temperature_c": [1.0, 2.0, True]},
        {"temperature_c": [1.0, 2.0, 10**400]},
        {"mhz": [1.5, 2, 3]},
        {"watts": [None, -5.0, 7.0]},
        {"watts": {"0": 1}},
        {"throttled": ["throttled", "throttled"]},
        {"throttled": ["under-voltage", "throttled"]},
        {"throttled": [1]},
        {"throttled": ["t" * 2000]},
        {"power_source": None},
        {"power_source": 5},
        {"power_source": "s" * 2000},
        {"more": 1},
        dict.fromkeys(("seconds", "temperature_c", "mhz", "watts"), [1] * 4001),
    ],
)
def test_a_malformed_trace_is_an_error(change: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        Trace.from_dict(FEW.as_dict() | change)
    missing = FEW.as_dict()
    del missing[next(iter(change)) if "more" not in change else "mhz"]
    with pytest.raises(RecordError, match="missing"):
        Trace.from_dict(missing)
