"""Device profiles: what is in the package is sound, and a machine is told from what it says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgefer.devices.profile import (
    choose_profile,
    describe_all,
    detect,
    load_profile,
    parse_profile,
    profile_names,
)
from edgefer.errors import DeviceError
from edgefer.runtime.engines import engine_names

WANTED = {
    *("rpi-zero2w", "rpi3", "rpi4", "rpi5"),
    *("jetson-nano", "jetson-orin-nano", "jetson-agx-orin"),
    *("x86", "x86-openvino", "generic-arm64", "generic"),
}
FAMILIES = {"rpi": "rpi4", "jetson": "jetson-orin-nano", "x86": "x86"}
MODELS = {
    "Raspberry Pi Zero 2 W Rev 1.0": "rpi-zero2w",
    "Raspberry Pi 3 Model B Plus Rev 1.3": "rpi3",
    "Raspberry Pi Compute Module 3 Plus Rev 1.0": "rpi3",
    "Raspberry Pi 4 Model B Rev 1.5": "rpi4",
    "Raspberry Pi 400 Rev 1.0": "rpi4",
    "Raspberry Pi Compute Module 4 Rev 1.1": "rpi4",
    "Raspberry Pi 5 Model B Rev 1.0": "rpi5",
    "Raspberry Pi 500 Rev 1.0": "rpi5",
    "Raspberry Pi Compute Module 5 Rev 1.0": "rpi5",
    "NVIDIA Jetson Nano Developer Kit": "jetson-nano",
    "NVIDIA Jetson Nano 2GB Developer Kit": "jetson-nano",
    "NVIDIA Jetson Orin Nano Developer Kit": "jetson-orin-nano",
    "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super": "jetson-orin-nano",
    "NVIDIA Jetson Orin NX Engineering Reference Developer Kit": "jetson-orin-nano",
    "NVIDIA Jetson AGX Orin Developer Kit": "jetson-agx-orin",
    "NVIDIA Jetson Xavier NX Developer Kit": "generic-arm64",
    "Raspberry Pi 2 Model B Rev 1.2": "generic-arm64",
    "Radxa ROCK 5B": "generic-arm64",
}
COMPATIBLE = {
    ("raspberrypi,model-zero-2-w", "brcm,bcm2837"): "rpi-zero2w",
    ("raspberrypi,3-model-b-plus", "brcm,bcm2837"): "rpi3",
    ("raspberrypi,4-model-b", "brcm,bcm2711"): "rpi4",
    ("raspberrypi,5-model-b", "brcm,bcm2712"): "rpi5",
    ("nvidia,p3450-0000", "nvidia,tegra210"): "jetson-nano",
    ("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"): "jetson-orin-nano",
    ("nvidia,p3737-0000+p3701-0000", "nvidia,p3701-0000", "nvidia,tegra234"): "jetson-agx-orin",
    ("nvidia,p2371-2180", "nvidia,tegra210"): "generic-arm64",
    ("brcm,bcm27111",): "generic-arm64",
}
INTEL = "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) N100\n"
AMD = "vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\n"


@pytest.fixture(autouse=True)
def config(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's profiles, empty."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("EDGEFER_CONFIG_DIR", str(folder))
    (folder / "devices").mkdir()
    return folder / "devices"


def machine(root: Path, model: str | None = None, compatible: tuple[str, ...] = (), cpuinfo: str = "") -> Path:
    folder = root / "proc/device-tree"
    folder.mkdir(parents=True)
    if model is not None:
        (folder / "model").write_bytes(model.encode() + b"\0")
    if compatible:
        (folder / "compatible").write_bytes(b"".join(part.encode() + b"\0" for part in compatible))
    (root / "proc/cpuinfo").write_text(cpuinfo)
    return root


def test_every_device_has_its_profile() -> None:
    assert set(profile_names()) == WANTED


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_of_the_package_is_sound(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    assert profile.automatic == (name != "x86-openvino")  # measured: it is slower for one face
    assert set(profile.engines) <= set(engine_names())
    assert len(set(profile.engines)) == len(profile.engines)
    assert profile.machine or name == "generic"
    assert profile.providers[-1] == "CPUExecutionProvider"
    assert all(re.fullmatch(r"[A-Z]\w+ExecutionProvider", provider) for provider in profile.providers)
    assert len(set(profile.cameras)) == len(profile.cameras)
    assert "0" in profile.cameras
    assert profile.thermal_zones
    assert profile.frequencies
    assert profile.governors
    assert bool(profile.family) == (name not in ("generic", "generic-arm64"))
    if profile.family == "jetson":
        assert profile.providers[0] == "TensorrtExecutionProvider"
        assert profile.cameras[0] == "csi://0"
        assert profile.power_mode_command
    if profile.family == "rpi":
        assert profile.cameras[0] == "picamera2://"
        assert profile.throttled_command == ("vcgencmd", "get_throttled")


def test_names_aliases_and_families_are_different() -> None:
    profiles = [load_profile(name) for name in profile_names()]
    every = [n for p in profiles for n in (p.name, *p.aliases)]
    assert len(set(every)) == len(every)
    families = {p.family for p in profiles if p.family}
    assert families & set(every) == {"x86"}  # the family's default bears its name


def test_a_family_has_one_default() -> None:
    defaults = [(p.family, p.name) for p in map(load_profile, profile_names()) if p.default_of_family]
    assert len(defaults) == len(FAMILIES)
    assert dict(defaults) == FAMILIES


@pytest.mark.parametrize(("name", "profile"), [("pi5", "rpi5"), ("zero2w", "rpi-zero2w"), *FAMILIES.items()])
def test_an_alias_and_a_family_give_a_profile(name: str, profile: str) -> None:
    assert load_profile(name) == load_profile(profile)


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(DeviceError, match=r"no device called 'toaster'.*jetson-orin-nano.*rpi5 or pi5.*family: jetson"):
        load_profile("toaster")


@pytest.mark.parametrize("name", ["../x86", "", "x86.toml", "/etc/passwd", "__init__"])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(DeviceError, match="there is no device called"):
        load_profile(name)
    with pytest.raises(DeviceError, match="there is no device called"):
        choose_profile(name)


@pytest.mark.parametrize(("model", "name"), MODELS.items())
def test_a_board_is_known_by_its_name(tmp_path: Path, model: str, name: str) -> None:
    assert detect(machine(tmp_path, model), "aarch64").name == name


@pytest.mark.parametrize(("compatible", "name"), COMPATIBLE.items())
def test_a_board_of_another_name_is_known_by_what_it_is_compatible_with(
    tmp_path: Path, compatible: tuple[str, ...], name: str
) -> None:
    assert detect(machine(tmp_path, "Some carrier board", compatible), "aarch64").name == name


@pytest.mark.parametrize(
    ("processor", "cpuinfo", "name"),
    [
        ("x86_64", AMD, "x86"),
        ("x86_64", "", "x86"),
        ("x86_64", INTEL, "x86"),
        ("aarch64", "", "generic-arm64"),
        ("riscv64", "", "generic"),
        ("armv7l", "", "generic"),
    ],
)
def test_without_a_device_tree_the_processor_decides(tmp_path: Path, processor: str, cpuinfo: str, name: str) -> None:
    assert detect(machine(tmp_path, cpuinfo=cpuinfo), processor).name == name


def test_a_board_name_on_another_processor_does_not_fit(tmp_path: Path) -> None:
    assert detect(machine(tmp_path, "Raspberry Pi 5 Model B"), "armv7l").name == "generic"


def test_exactly_one_profile_is_this_machine(tmp_path: Path) -> None:
    found = describe_all(machine(tmp_path, "Raspberry Pi 5 Model B"), "aarch64")
    assert [entry.name for entry in found if entry.here] == ["rpi5"]
    assert [entry.name for entry in found] == profile_names()
    assert sum(entry.here for entry in describe_all()) == 1


@pytest.mark.parametrize(
    ("asked", "model", "name"),
    [
        ("jetson", "NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
        ("jetson", "NVIDIA Jetson AGX Orin Developer Kit", "jetson-agx-orin"),
        ("rpi", "Raspberry Pi Zero 2 W Rev 1.0", "rpi-zero2w"),
        ("pi5", "Raspberry Pi 5 Model B", "rpi5"),
        ("rpi5", "Raspberry Pi 5 Model B", "rpi5"),
        ("generic", "Raspberry Pi 5 Model B", "generic"),
        ("generic-arm64", "Raspberry Pi 5 Model B", "generic-arm64"),
        (None, "Raspberry Pi 5 Model B", "rpi5"),
    ],
)
def test_a_name_that_fits_the_machine_needs_no_word(tmp_path: Path, asked: str | None, model: str, name: str) -> None:
    root = machine(tmp_path, model)
    for strict in (False, True):
        choice = choose_profile(asked, strict, root, "aarch64")
        assert (choice.profile.name, choice.notes) == (name, ())


@pytest.mark.parametrize(
    ("asked", "taken", "it_is", "model", "processor"),
    [
        ("jetson", "jetson-orin-nano", "x86-64 PC", None, "x86_64"),
        ("jetson", "jetson-orin-nano", "Raspberry Pi 4 Model B", "Raspberry Pi 4 Model B", "aarch64"),
        ("rpi", "rpi4", "x86-64 PC", None, "x86_64"),
        ("rpi5", "rpi5", "Raspberry Pi 4 Model B", "Raspberry Pi 4 Model B", "aarch64"),
        ("x86-openvino", "x86-openvino", "x86-64 PC", None, "x86_64"),
        ("generic-arm64", "generic-arm64", "other machine", None, "riscv64"),
    ],
)
def test_a_name_that_does_not_fit_is_told_and_refused_when_strict(
    tmp_path: Path, asked: str, taken: str, it_is: str, model: str | None, processor: str
) -> None:
    root = machine(tmp_path, model, cpuinfo=AMD)
    choice = choose_profile(asked, False, root, processor)
    assert choice.profile.name == taken
    (note,) = choice.notes
    assert note.startswith(f"this machine is no {asked} (it is {it_is}); {taken}'s settings are used")
    with pytest.raises(DeviceError, match=rf"this machine is no {asked} .*leave out --strict"):
        choose_profile(asked, True, root, processor)


def test_a_member_of_a_family_need_not_be_asked_for_by_its_name_on_an_intel_pc(tmp_path: Path) -> None:
    root = machine(tmp_path, cpuinfo=INTEL)
    assert choose_profile("x86", True, root, "x86_64").profile.name == "x86"  # a profile's own name comes first
    assert choose_profile("x86-openvino", True, root, "x86_64").profile.name == "x86-openvino"
    assert choose_profile(None, True, root, "x86_64").profile.name == "x86"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not valid TOML"),
        ("title = " + "[" * 20_000, "not valid TOML: too many brackets"),
        ("threads = " + "9" * 5000, "not valid TOML"),
        ('title = "a"', "missing engines"),
        ('engines = ["litert"]', "missing title"),
        ('title = "a"\nengines = []', "engines is empty"),
        ('title = "a"\nengines = "litert"', "engines must be a list of texts"),
        ('title = "a"\nengines = ["litert", 1]', "engines must be a list of texts"),
        ('title = "a"\nengines = ["litert"]\nturbo = true', "unknown field 'turbo'; known: title, engines"),
        ('title = "a"\nengines = ["litert"]\nname = "b"', "unknown field 'name'"),
        ('title = "a"\nengines = ["litert"]\nthreads = true', "threads must be of type int"),
        ('title = "a"\nengines = ["litert"]\nthreads = 0', "threads is 0"),
        ('title = "a"\nengines = ["litert"]\nautomatic = 1', "automatic must be of type bool"),
        ('title = "a"\nengines = ["litert"]\ncameras = "0"', "cameras must be a list of texts"),
        ('title = "a"\nengines = ["litert"]\ncameras = []', "cameras is empty"),
        ('title = "a"\nengines = ["litert"]\nprecision = "int4"', "choose fp32, fp16 or int8"),
        ('title = "a"\nengines = ["litert"]\nthermal_zones = ["/etc/passwd"]', "thermal_zones has '/etc/passwd'"),
        ('title = "a"\nengines = ["litert"]\ngovernors = ["sys/../etc/*"]', "governors has 'sys/../etc"),
    ],
)
def test_a_malformed_profile_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        parse_profile("board", text)
    assert str(caught.value).startswith("device board: ")
    assert "\n" not in str(caught.value)
