"""How many watts a board takes, read from folders of files that look like one and from programs that print like one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefer.devices import power
from edgefer.devices.description import DeviceProfile, parse_profile
from edgefer.devices.power import Counter, PowerMeter, joules, parse_pmic, parse_tegrastats
from edgefer.devices.profile import load_profile
from edgefer.errors import DeviceError

ORIN_LINE = (
    "09-17-2024 02:10:03 RAM 1488/7620MB (lfb 105x4MB) SWAP 253/12002MB (cached 2MB) CPU [0%@1036,0%@729] GR3D_FREQ 0%"
    " cpu@47.875C tj@50.218C VDD_IN 4654mW/4500mW VDD_CPU_GPU_CV 560mW/560mW VDD_SOC 1484mW/1484mW"
)
NANO_LINE = (
    "RAM 1655/3956MB (lfb 311x4MB) SWAP 0/1978MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [12%@102,10%@102]"
    " EMC_FREQ 3%@1600 GR3D_FREQ 0%@76 PLL@36.5C CPU@39C PMIC@50C POM_5V_IN 2132/2247 POM_5V_GPU 78/78"
)
PI5 = """\
     3V7_WL_SW_A current(0)=0.00195186A
       3V3_SYS_A current(1)=0.12589500A
      DDR_VDDQ_A current(4)=0.00000000A
      VDD_CORE_A current(7)=0.82156000A
     3V7_WL_SW_V volt(8)=3.70720000V
       3V3_SYS_V volt(9)=3.30260900V
      DDR_VDDQ_V volt(12)=0.60183090V
      VDD_CORE_V volt(15)=0.81203820V
         EXT5V_V volt(24)=5.13756000V
          BATT_V volt(25)=0.00000000V
"""
PI5_WATTS = 0.00195186 * 3.7072 + 0.125895 * 3.302609 + 0.82156 * 0.8120382


def write(root: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def ina3221(root: Path, chip: str, number: int, rails: dict[int, tuple[str, str, str]]) -> Path:
    """A chip as the kernel shows it: a link in the driver's folder, a file for each figure, the sum of the shunts."""
    device = root / f"sys/devices/platform/bus@0/c240000.i2c/i2c-1/{chip}"
    texts = {"name": "ina3221\n", "in7_label": "sum of shunt voltages\n", "in7_input": "760\n", "curr4_input": "360\n"}
    for n, (label, millivolts, milliamperes) in rails.items():
        texts |= {f"in{n}_label": f"{label}\n", f"in{n}_input": millivolts, f"curr{n}_input": milliamperes}
        texts |= {f"in{n + 3}_input": "40\n"}
    write(device / f"hwmon/hwmon{number}", texts)
    driver = root / "sys/bus/i2c/drivers/ina3221"
    driver.mkdir(parents=True, exist_ok=True)
    (driver / chip).symlink_to(device)
    (driver / "uevent").touch()
    return root


def orin_nano(root: Path, millivolts: str = "5040\n", milliamperes: str = "912\n") -> Path:
    rails = {1: ("VDD_IN", millivolts, milliamperes), 2: ("VDD_CPU_GPU_CV", "5032\n", "96\n")}
    return ina3221(root, "1-0040", 1, rails)


def rapl(root: Path, *packages: int, most: int = 262_143_328_850) -> Path:
    for n, value in enumerate(packages):
        for zone, name, count in (
            (f"intel-rapl:{n}", f"package-{n}", value),
            (f"intel-rapl:{n}:0", "core", value // 2),
            (f"intel-rapl:{n + 8}", "psys", 3 * value),
            (f"intel-rapl-mmio:{n}", f"package-{n}", value),
        ):
            folder = f"sys/class/powercap/{zone}"
            texts = {"name": f"{name}\n", "energy_uj": f"{count}\n", "max_energy_range_uj": f"{most}\n"}
            write(root, {f"{folder}/{file}": text for file, text in texts.items()})
    return root


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until its only entry is changed."""
    now = [1000.0]
    monkeypatch.setattr(power.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def printing(text: str) -> str:
    return f"cat <<'END'\n{text}\nEND"


def test_an_orin_nano_tells_what_goes_into_the_module(tmp_path: Path) -> None:
    meter = PowerMeter(load_profile("jetson-orin-nano"), orin_nano(tmp_path))
    assert (meter.source, meter.counts, meter.starts_process) == ("ina3221 VDD_IN", False, False)
    assert meter.sample() == pytest.approx(5.040 * 0.912)


def test_an_agx_orin_has_three_rails_and_a_part_of_one(tmp_path: Path) -> None:
    rails = {1: ("VDD_GPU_SOC", "15000", "210"), 2: ("VDD_CPU_CV", "15000", "80"), 3: ("VIN_SYS_5V0", "5000", "640")}
    ina3221(tmp_path, "1-0040", 3, rails)
    ina3221(tmp_path, "1-0041", 4, {2: ("VDDQ_VDD2_1V8AO", "5000", "220")})
    profile = load_profile("jetson-agx-orin")
    meter = PowerMeter(profile, tmp_path)
    assert meter.sample() == pytest.approx(3.15 + 1.2 + 3.2)
    assert meter.source == "ina3221 VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0"
    chip = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    (chip / "in1_label").write_text("NC\n")
    assert meter.sample() is None, "two of three rails are no figure"
    (chip / "in1_label").write_text("VDD_GPU_SOC\n")
    assert meter.sample() == pytest.approx(7.55)
    (chip / "curr2_input").unlink()
    assert meter.sample() is None, "nor is one without its current"


def test_the_first_nano_tells_milliwatts(tmp_path: Path) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    texts = {"name": "ina3221x\n", "in_voltage0_input": "5048\n", "in_current0_input": "396\n"}
    for n, (label, milliwatts) in enumerate((("POM_5V_IN", 2003), ("POM_5V_GPU", 40), ("POM_5V_CPU", 320))):
        texts |= {f"rail_name_{n}": f"{label}\n", f"in_power{n}_input": f"{milliwatts}\n"}
    meter = PowerMeter(load_profile("jetson-nano"), write(tmp_path / folder, texts) and tmp_path)
    assert (meter.source, meter.sample()) == ("ina3221x POM_5V_IN", 2.003)


def test_any_other_sensor_of_hwmon_can_be_named(tmp_path: Path) -> None:
    sensors = {"power_sensors": ("sys/class/hwmon/hwmon*/power*_input",)}
    write(tmp_path / "sys/class/hwmon/hwmon0", {"name": "nvme\n", "power1_input": "2500000\n"})
    write(tmp_path / "sys/class/hwmon/hwmon2", {"name": "ina226\n", "power1_input": "3450000\n"})
    write(tmp_path / "sys/class/hwmon/hwmon3", {"name": "x\n", "power2_label": "VIN\n", "power2_input": "7000000\n"})
    for rail, watts in (("ina226", 3.45), ("VIN", 7.0)):
        profile = replace(load_profile("rpi4"), **sensors, power_rails=(rail,))
        assert PowerMeter(profile, tmp_path).sample() == watts


@pytest.mark.parametrize(
    ("millivolts", "milliamperes"),
    [("5040", "-8"), ("-5040", "912"), ("5040", "200000"), ("0", "0"), ("", "912"), ("5040", "nan"), ("5040", "9e2")]
    + [("5 040", "912"), ("5040", "٩١٢"), ("5040", "9" * 30), ("5040", "1\n2")],
)
def test_what_cannot_be_is_no_figure(tmp_path: Path, millivolts: str, milliamperes: str) -> None:
    profile = replace(load_profile("jetson-orin-nano"), power_command=())
    meter = PowerMeter(profile, orin_nano(tmp_path, millivolts, milliamperes))
    assert (meter.source, meter.sample()) == (None, None)


def test_a_machine_that_tells_nothing_has_no_source(tmp_path: Path) -> None:
    for name in ("x86", "rpi4", "jetson-nano", "generic"):
        meter = PowerMeter(replace(load_profile(name), power_command=()), tmp_path)
        assert (meter.source, meter.sample()) == (None, None)


def test_this_machine_is_no_error() -> None:
    meter = PowerMeter(load_profile("x86"))
    time.sleep(2 * power.MIN_MEAN_S)
    watts = meter.sample()
    assert watts is None or 0 < watts <= power.MAX_WATTS
    assert (watts is None) or meter.counts


def test_rapl_is_the_mean_since_the_last_sample(tmp_path: Path, clock: list[float]) -> None:
    meter = PowerMeter(load_profile("x86"), rapl(tmp_path, 5_000_000, 7_000_000))
    assert (meter.source, meter.counts) == ("rapl package-0+package-1", True)
    clock[0] += 2
    rapl(tmp_path, 25_000_000, 37_000_000)
    assert meter.sample() == pytest.approx((20 + 30) / 2)
    clock[0] += power.MIN_MEAN_S / 2
    rapl(tmp_path, 25_100_000, 37_000_000)
    assert meter.sample() is None, "too soon for a mean"
    clock[0] += 1 - power.MIN_MEAN_S / 2
    assert meter.sample() == pytest.approx(0.1), "the one that came too soon took nothing away"


def test_what_is_in_a_package_is_not_counted_twice(tmp_path: Path) -> None:
    profile = replace(load_profile("x86"), energy_counters=("sys/class/powercap/*/energy_uj",))
    rapl(tmp_path, 5)
    write(tmp_path / "sys/class/powercap/intel-rapl-mmio:0", {"energy_uj": "6"})
    write(tmp_path / "sys/class/powercap/intel-rapl:0:0", {"name": "package-1"})
    assert power.energy_counters(profile, tmp_path) == {"package-0": Counter(5, 262_143_328_850)}


def test_a_counter_that_starts_again_goes_on(tmp_path: Path, clock: list[float]) -> None:
    meter = PowerMeter(load_profile("x86"), rapl(tmp_path, 262_143_000_000))
    clock[0] += 1
    rapl(tmp_path, 9_671_150)
    assert meter.sample() == pytest.approx(10)


def test_counters_that_only_root_may_read_are_no_error(tmp_path: Path, clock: list[float]) -> None:
    energy = rapl(tmp_path, 1_000_000, 2_000_000) / "sys/class/powercap/intel-rapl:1/energy_uj"
    meter = PowerMeter(load_profile("x86"), tmp_path)
    energy.unlink()
    energy.mkdir()  # not to be read by root either
    assert PowerMeter(load_profile("x86"), tmp_path).source is None, "one package of two is no figure"
    clock[0] += 1
    assert meter.sample() is None
    energy.rmdir()
    clock[0] += 1
    rapl(tmp_path, 5_000_000, 2_000_000)
    assert meter.sample() is None, "nothing to count from"
    clock[0] += 1
    rapl(tmp_path, 6_000_000, 4_000_000)
    assert meter.sample() == pytest.approx(3)


@given(old=st.integers(0, 10**12), grown=st.integers(0, 10**12), most=st.integers(1, 10**12))
def test_what_a_counter_grew_by_does_not_depend_on_where_it_stood(old: int, grown: int, most: int) -> None:
    old, grown = old % most, grown % most
    assert joules(Counter(old, most), Counter((old + grown) % most, most)) == pytest.approx(grown / 1e6)


def test_a_pi_5_is_asked_for_its_power_chip(tmp_path: Path, programs: Path) -> None:
    program(programs, "vcgencmd", f'test "$1" = pmic_read_adc && {printing(PI5)}')
    meter = PowerMeter(load_profile("rpi5"), tmp_path)
    assert (meter.source, meter.counts, meter.starts_process) == ("pmic", False, True)
    assert meter.sample() == pytest.approx(PI5_WATTS)


def test_tegrastats_is_ended_after_a_line(tmp_path: Path, programs: Path) -> None:
    count = tmp_path / "lines"
    program(programs, "tegrastats", f"while true; do echo line >> {count}; echo '{ORIN_LINE}'; sleep 0.02; done")
    meter = PowerMeter(load_profile("jetson-orin-nano"), tmp_path)
    assert (meter.source, meter.starts_process) == ("tegrastats VDD_IN", True)
    assert meter.sample() == 4.654
    lines = count.read_text()
    time.sleep(0.2)
    assert count.read_text() == lines, "it goes on printing"


def test_tegrastats_is_not_started_where_a_file_tells(tmp_path: Path, programs: Path) -> None:
    program(programs, "tegrastats", f"touch {tmp_path}/started; echo '{ORIN_LINE}'")
    meter = PowerMeter(load_profile("jetson-orin-nano"), orin_nano(tmp_path))
    assert meter.sample() == pytest.approx(4.596, abs=0.001)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        f"{printing(PI5)}\nexit 1",
        "echo 'error=2 error_msg=\"Invalid arguments\"'",
        "kill -9 $$",
        "exec sleep 9",
        "sleep 9 & sleep 9",
        f"{printing(PI5)}\nexec sleep 9",
        f"{printing(PI5)}\nexec 1>&-\nexec sleep 9",
        "exec cat /dev/zero",
        "exec yes",
    ],
)
def test_a_command_that_fails_is_no_figure_and_does_not_last(
    tmp_path: Path, programs: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "COMMAND_TIMEOUT_S", 0.4)
    program(programs, "vcgencmd", script)
    start = time.monotonic()
    assert power.command_watts(load_profile("rpi5")) is None
    assert time.monotonic() - start < 3


def test_a_command_that_is_not_installed_is_no_figure() -> None:
    assert power.command_watts(replace(load_profile("rpi5"), power_command=("no-such-program",))) is None
    assert power.command_watts(load_profile("rpi4")) is None


def test_the_power_chip_tells_amperes_and_volts() -> None:
    assert parse_pmic(PI5) == pytest.approx(PI5_WATTS)
    assert parse_pmic("VDD_CORE_A current(7)=2A\r\nVDD_CORE_V volt(15)=0.5V") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "EXT5V_V volt(24)=5.1V",
        "X_A current(0)=1.0A",
        "X_A current(0)=-1.0A\nX_V volt(1)=5V",
        "X_A current(0)=1e3A\nX_V volt(1)=5V",
        "X_A current(0)=infA\nX_V volt(1)=5V",
        "X_A current(0)=0A\nX_V volt(1)=5V",
        "X_A current(0)=9999A\nX_V volt(1)=5V",
        "X_A volt(0)=1A\nX_V volt(1)=5V",
        "X_A current(0)=1V\nX_V volt(1)=5V",
        "X_A current(0)=1A\nX_A current(2)=1A\nX_V volt(1)=5V",
        "X_A current(0)=1A; X_V volt(1)=5V",
    ],
)
def test_other_text_has_no_watts(text: str) -> None:
    assert parse_pmic(text) is None


def test_tegrastats_tells_milliwatts_of_now() -> None:
    assert parse_tegrastats(ORIN_LINE, ("VDD_IN",)) == 4.654
    assert parse_tegrastats(ORIN_LINE, ("VDD_CPU_GPU_CV", "VDD_SOC")) == pytest.approx(2.044)
    assert parse_tegrastats(NANO_LINE, ("POM_5V_IN",)) == 2.132


@pytest.mark.parametrize(
    ("line", "rails"),
    [
        (ORIN_LINE, ()),
        (ORIN_LINE, ("VDD_IN", "VDD_OUT")),
        (ORIN_LINE, ("DD_IN",)),
        (ORIN_LINE, ("VDD.IN",)),
        ("VDD_IN 4532mW/4500mW VDD_IN 4532mW/4500mW", ("VDD_IN",)),
        ("VDD_IN -4532mW/4500mW", ("VDD_IN",)),
        ("VDD_IN 4.5W/4.5W", ("VDD_IN",)),
        ("VDD_IN 1000001mW/4500mW", ("VDD_IN",)),
        ("VDD_IN 0mW/0mW", ("VDD_IN",)),
        ("VDD_IN 45", ("VDD_IN",)),
    ],
)
def test_a_line_without_every_rail_has_no_watts(line: str, rails: tuple[str, ...]) -> None:
    assert parse_tegrastats(line, rails) is None


TEXT = st.one_of(st.text(), st.text(alphabet="VDDINA_ 0123456789.=()mW/\ncurentvol"))
RAILS = st.dictionaries(
    st.from_regex(r"[0-9A-Z_]{1,20}", fullmatch=True),
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    max_size=12,
)


@given(TEXT)
def test_any_text_gives_watts_or_none(text: str) -> None:
    for watts in (
        parse_pmic(text),
        parse_tegrastats(text, ("VDD_IN",)),
        parse_tegrastats(f"VDD_IN {text}", ("VDD_IN",)),
    ):
        assert watts is None or 0 < watts <= power.MAX_WATTS


@given(RAILS)
def test_every_rail_is_added_up(rails: dict[str, tuple[int, int]]) -> None:
    lines = [f"  {name}_A current({n})={a / 1000:.8f}A" for n, (name, (a, _)) in enumerate(rails.items())]
    lines += [f"  {name}_V volt({n})={v / 1000:.8f}V" for n, (name, (_, v)) in enumerate(rails.items())]
    total = sum(a * v / 1e6 for a, v in rails.values())
    assert parse_pmic("\n".join(lines)) == (pytest.approx(total) if rails else None)
    line = " ".join(f"{name} {a}mW/{v}mW" for name, (a, v) in rails.items())
    total = sum(a for a, _ in rails.values()) / 1000
    assert parse_tegrastats(line, tuple(rails)) == (pytest.approx(total) if rails else None)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_file_gives_watts_or_none(tmp_path_factory: pytest.TempPathFactory, first: str, second: str) -> None:
    root = tmp_path_factory.mktemp("sensor")
    for name, text in (("in1_label", "VDD_IN"), ("in1_input", first), ("curr1_input", second)):
        path = root / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", errors="surrogatepass"))
    watts = power.sensor_watts(load_profile("jetson-orin-nano"), root)
    assert watts is None or 0 < watts <= power.MAX_WATTS


def test_sensors_need_their_rails() -> None:
    text = 'title = "t"\nengines = ["litert"]\npower_sensors = ["sys/a/in1_input"]\n'
    with pytest.raises(DeviceError, match="power_rails is empty"):
        parse_profile("mine", text)
    assert parse_profile("mine", f'{text}power_rails = ["VIN"]\n').power_rails == ("VIN",)


@pytest.mark.parametrize("field", ["power_sensors", "energy_counters"])
def test_patterns_stay_below_the_root(field: str) -> None:
    with pytest.raises(DeviceError, match="without / and"):
        DeviceProfile("mine", "t", ("litert",), **{field: ("../etc/in1_input",)}, power_rails=("VIN",))
