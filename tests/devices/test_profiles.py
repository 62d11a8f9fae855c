"""Device profiles: what is in the package is sound, and a machine is told from what it says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgefer.devices.profile import describe_all, detect, device_tree_model, load_profile, parse_profile, profile_names
from edgefer.errors import DeviceError
from edgefer.runtime.engines import engine_names

MODELS = {
    "Raspberry Pi 4 Model B Rev 1.5": "rpi4",
    "Raspberry Pi Compute Module 4 Rev 1.1": "rpi4",
    "Raspberry Pi 5 Model B Rev 1.0": "rpi5",
    "NVIDIA Jetson Orin Nano Developer Kit": "jetson-orin-nano",
    "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super": "jetson-orin-nano",
    "Radxa ROCK 5B": "generic",
}


def machine(root: Path, model: str | None) -> Path:
    if model is not None:
        folder = root / "proc/device-tree"
        folder.mkdir(parents=True)
        (folder / "model").write_bytes(model.encode() + b"\0")
    return root


@pytest.mark.parametrize("name", profile_names())
def test_a_profile_of_the_package_is_sound(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.title
    assert set(profile.engines) <= set(engine_names())
    assert len(set(profile.engines)) == len(profile.engines)
    for pattern in (*profile.thermal_zones, *profile.frequencies, *profile.governors, *profile.throttle_counters):
        assert not pattern.startswith("/")


def test_names_and_aliases_are_different() -> None:
    every = [n for name in profile_names() for n in (name, *load_profile(name).aliases)]
    assert len(set(every)) == len(every)


def test_an_alias_gives_the_profile() -> None:
    assert load_profile("jetson") == load_profile("jetson-orin-nano")


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(DeviceError, match=r"no device called 'toaster'.*jetson-orin-nano or jetson.*rpi5.*x86"):
        load_profile("toaster")


@pytest.mark.parametrize("name", ["../x86", "", "x86.toml", "/etc/passwd", "__init__"])
def test_a_name_is_never_a_path(name: str) -> None:
    with pytest.raises(DeviceError, match="there is no device called"):
        load_profile(name)


@pytest.mark.parametrize(("model", "name"), MODELS.items())
def test_a_board_is_known_by_its_device_tree(tmp_path: Path, model: str, name: str) -> None:
    assert detect(machine(tmp_path, model), "aarch64").name == name


@pytest.mark.parametrize(("processor", "name"), [("x86_64", "x86"), ("aarch64", "generic"), ("riscv64", "generic")])
def test_without_a_device_tree_the_processor_decides(tmp_path: Path, processor: str, name: str) -> None:
    assert detect(tmp_path, processor).name == name


def test_a_board_name_on_another_processor_does_not_fit(tmp_path: Path) -> None:
    assert detect(machine(tmp_path, "Raspberry Pi 5 Model B"), "armv7l").name == "generic"


def test_exactly_one_profile_is_this_machine(tmp_path: Path) -> None:
    found = describe_all(machine(tmp_path, "Raspberry Pi 5 Model B"), "aarch64")
    assert [profile.name for profile, here in found if here] == ["rpi5"]
    assert [profile.name for profile, _ in found] == profile_names()
    assert sum(here for _, here in describe_all()) == 1


def test_a_device_tree_of_broken_bytes_is_read(tmp_path: Path) -> None:
    folder = machine(tmp_path, "x") / "proc/device-tree"
    (folder / "model").write_bytes(b"\xff\xfe board\0")
    assert device_tree_model(tmp_path).endswith(" board")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "not valid TOML"),
        ('title = "a"', "missing engines"),
        ('engines = ["litert"]', "missing title"),
        ('title = "a"\nengines = []', "engines is empty"),
        ('title = "a"\nengines = "litert"', "engines must be a list of texts"),
        ('title = "a"\nengines = ["litert", 1]', "engines must be a list of texts"),
        ('title = "a"\nengines = ["litert"]\nturbo = true', "unknown field 'turbo'; known: title, engines"),
        ('title = "a"\nengines = ["litert"]\nname = "b"', "unknown field 'name'"),
        ('title = "a"\nengines = ["litert"]\nthreads = true', "threads must be of type int"),
        ('title = "a"\nengines = ["litert"]\nthreads = 0', "threads is 0"),
        ('title = "a"\nengines = ["litert"]\ncamera = 0', "camera must be of type str"),
        ('title = "a"\nengines = ["litert"]\nprecision = "int4"', "choose fp32, fp16 or int8"),
    ],
)
def test_a_malformed_profile_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        parse_profile("board", text)
    assert str(caught.value).startswith("device board: ")
    assert "\n" not in str(caught.value)
