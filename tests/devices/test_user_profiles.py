"""Profiles of the user: good ones, ones that change another, broken ones, and what they do to the rest."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgefer.commands.devices import command
from edgefer.devices.catalogue import config_folder
from edgefer.devices.profile import choose_profile, describe_all, detect, load_profile, profile_names
from edgefer.errors import DeviceError
from edgefer.toml import MAX_BYTES

OWN = 'title = "our kiosk"\nengines = ["onnxruntime"]\ncameras = ["rtsp://cam/1"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEFER_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "config/devices").mkdir(parents=True)
    return tmp_path / "config/devices"


@pytest.fixture
def pi5(tmp_path: Path) -> Path:
    (tmp_path / "root/proc/device-tree").mkdir(parents=True)
    (tmp_path / "root/proc/device-tree/model").write_text("Raspberry Pi 5 Model B Rev 1.0\0")
    return tmp_path / "root"


def test_where_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEFER_CONFIG_DIR", "/etc/edgefer")
    assert config_folder() == Path("/etc/edgefer/devices")
    monkeypatch.delenv("EDGEFER_CONFIG_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/x/.cfg")
    assert config_folder() == Path("/home/x/.cfg/edgefer/devices")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_folder() == tmp_path / ".config/edgefer/devices"
    assert load_profile("rpi5").name == "rpi5"  # a folder that does not exist is no error


def test_one_of_its_own(folder: Path) -> None:
    (folder / "kiosk.toml").write_text(OWN)
    profile = load_profile("kiosk")
    assert (profile.title, profile.engines, profile.cameras) == ("our kiosk", ("onnxruntime",), ("rtsp://cam/1",))
    assert {entry.name for entry in describe_all()} == {*profile_names(), "kiosk"}


def test_another_folder_can_be_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "kiosk.toml").write_text(OWN)
    assert load_profile("kiosk", tmp_path).title == "our kiosk"
    with pytest.raises(DeviceError, match="no device called 'kiosk'"):
        load_profile("kiosk")


def test_one_based_on_another_changes_what_it_says_and_no_more(folder: Path) -> None:
    (folder / "kiosk.toml").write_text('based_on = "rpi4"\nthreads = 4\ncameras = ["0"]\n')
    expected = replace(
        load_profile("rpi4"),
        name="kiosk",
        threads=4,
        cameras=("0",),
        aliases=(),
        default_of_family=False,
        automatic=False,
    )
    assert load_profile("kiosk") == expected
    assert load_profile("rpi").name == "rpi4"
    assert load_profile("pi4").name == "rpi4"


def test_one_based_on_another_is_taken_when_asked_for_only(folder: Path, pi5: Path) -> None:
    (folder / "kiosk.toml").write_text('based_on = "rpi5"\nthreads = 4\n')
    assert detect(pi5, "aarch64").name == "rpi5"
    assert choose_profile("kiosk", True, pi5, "aarch64").profile.threads == 4
    with pytest.raises(DeviceError, match="this machine is no kiosk"):
        choose_profile("kiosk", True, pi5, "x86_64")
    (folder / "kiosk.toml").write_text('based_on = "rpi5"\nthreads = 4\nautomatic = true\n')
    assert detect(pi5, "aarch64").name == "kiosk"
    assert choose_profile("rpi", True, pi5, "aarch64").profile.name == "kiosk"


def test_one_of_the_same_name_takes_the_place_of_the_packages(folder: Path, pi5: Path) -> None:
    (folder / "rpi5.toml").write_text('based_on = "rpi5"\nthreads = 4\n')
    assert load_profile("rpi5").threads == 4
    assert load_profile("pi5").threads == 4
    assert detect(pi5, "aarch64").threads == 4
    entries = [entry for entry in describe_all(pi5, "aarch64") if entry.name == "rpi5"]
    assert [(entry.here, entry.file) for entry in entries] == [(True, folder / "rpi5.toml")]


def test_a_board_of_its_own_is_recognised(folder: Path, tmp_path: Path) -> None:
    (folder / "rock5.toml").write_text(OWN + 'machine = ["aarch64"]\nmodel_contains = ["ROCK 5"]\n')
    (tmp_path / "root/proc/device-tree").mkdir(parents=True)
    (tmp_path / "root/proc/device-tree/model").write_text("Radxa ROCK 5B\0")
    assert detect(tmp_path / "root", "aarch64").name == "rock5"
    assert detect(tmp_path, "aarch64").name == "generic-arm64"


BROKEN = {
    "an engine that does not exist": (
        b'based_on = "x86"\nengines = ["litret"]',
        "no engine called 'litret'; choose from: l",
    ),
    "toml": (b"threads = ", "not valid TOML"),
    "field": (b'based_on = "rpi5"\nturbo = true', "unknown field 'turbo'"),
    "base": (b'based_on = "toaster"', "based_on is 'toaster'; choose a profile of the package"),
    "base-type": (b"based_on = 5", "based_on must be of type str"),
    "large": (b"# " + b"x" * MAX_BYTES, "more than 65536 bytes"),
    "binary": (b'title = "\xff\xfe"', "not UTF-8"),
    "empty": (b"", "missing title, engines"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_harms_nobody_until_it_is_needed(folder: Path, pi5: Path, kind: str) -> None:
    data, message = BROKEN[kind]
    file = folder / "kiosk.toml"
    file.write_bytes(data)
    with pytest.raises(DeviceError, match=message) as caught:
        load_profile("kiosk")
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
    assert load_profile("rpi5").name == "rpi5"
    choice = choose_profile(None, False, pi5, "aarch64")
    assert choice.profile.name == "rpi5"
    (note,) = choice.notes
    assert note.startswith(f"left out: {file}: ")
    (broken,) = [entry for entry in describe_all(pi5, "aarch64") if entry.profile is None]
    assert broken.name == "kiosk"
    assert message in broken.fault


def test_a_broken_one_in_the_place_of_this_machines_is_needed(folder: Path, pi5: Path) -> None:
    (folder / "rpi5.toml").write_text("threads = ")
    with pytest.raises(DeviceError, match=r"rpi5\.toml: .*not valid TOML"):
        detect(pi5, "aarch64")
    assert detect(pi5, "x86_64").name == "x86"
    assert not any(entry.here for entry in describe_all(pi5, "aarch64"))


@pytest.mark.parametrize("name", ["Kiosk.toml", "a b.toml", ".toml", "-x.toml"])
def test_a_file_name_that_is_no_name_is_a_fault(folder: Path, name: str) -> None:
    (folder / name).write_text(OWN)
    (broken,) = [entry for entry in describe_all() if entry.profile is None]
    assert "must be small letters" in broken.fault


def test_what_is_no_plain_file_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.toml")
    (folder / "folder.toml").mkdir()
    (folder / "gone.toml").symlink_to(folder / "nowhere")
    faults = {entry.name: entry.fault for entry in describe_all() if entry.profile is None}
    assert set(faults) == {"pipe", "folder", "gone"}
    assert "not a plain file" in faults["pipe"]
    assert "No such file" in faults["gone"]


def test_the_command_lists_the_others_and_shows_the_fault(folder: Path) -> None:
    (folder / "bad.toml").write_text("x =")
    (folder / "kiosk.toml").write_text(OWN)
    text = CliRunner().invoke(command, [])
    assert text.exit_code == 0
    assert "our kiosk (yours)" in text.stdout
    assert "jetson-agx-orin" in text.stdout
    assert "Tensorrt, CUDA, CPU" in text.stdout
    assert "picamera2:// 0" in text.stdout
    assert f"broken: {folder / 'bad.toml'}: " in text.stderr
    entries = {entry["name"]: entry for entry in json.loads(CliRunner().invoke(command, ["--json"]).stdout)}
    assert set(entries) == {*profile_names(), "kiosk", "bad"}
    assert sum(entry["detected"] for entry in entries.values()) == 1
    assert "not valid TOML" in entries["bad"]["fault"]
    assert entries["kiosk"]["fault"] is None
    assert entries["kiosk"]["file"] == str(folder / "kiosk.toml")
    assert entries["rpi5"]["file"] is None
    assert entries["rpi5"]["cameras"] == ["picamera2://", "0"]
    assert entries["jetson-nano"]["family"] == "jetson"


def test_the_command_shows_one_profile_wholly(folder: Path) -> None:
    text = CliRunner().invoke(command, ["pi5"]).stdout
    for word in ("rpi5", "Raspberry Pi 5", "picamera2://", "vcgencmd", "thermal_zone", "brcm,bcm2712"):
        assert word in text
    assert json.loads(CliRunner().invoke(command, ["pi5", "--json"]).stdout)["name"] == "rpi5"
    failed = CliRunner().invoke(command, ["toaster"])
    assert isinstance(failed.exception, DeviceError)
