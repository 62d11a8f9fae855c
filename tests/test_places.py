"""The user's folders, and what becomes of a user who has none."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgefer import places
from edgefer.cli import cli
from edgefer.commands._notice import show_once
from edgefer.devices.catalogue import config_folder
from edgefer.devices.profile import describe_all, load_profile, profile_names
from edgefer.doctor import Patient, board
from edgefer.errors import DetectorError
from edgefer.runtime import models

VARIABLES = ("EDGEFER_CONFIG_DIR", "EDGEFER_CACHE_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
PLACES = {"config": places.config, "cache": places.cache, "state": places.state}


def unknown_user() -> int:
    """Return a user id that the list of users does not have."""
    known = {user.pw_uid for user in pwd.getpwall()}
    return next(uid for uid in range(54_321, 60_000) if uid not in known)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the environment says of folders."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/x")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without $HOME and without an entry in the list of users."""
    monkeypatch.delenv("HOME")
    uid = unknown_user()
    monkeypatch.setattr(os, "getuid", lambda: uid)
    with pytest.raises(RuntimeError):
        Path.home()


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("config", "/home/x/.config/edgefer"),
        ("cache", "/home/x/.cache/edgefer"),
        ("state", "/home/x/.local/state/edgefer"),
    ],
)
def test_the_folders_of_a_home(place: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PLACES[place]() == Path(expected)
    monkeypatch.setenv(f"XDG_{place.upper()}_HOME", "relative/folder")
    assert PLACES[place]() == Path(expected), "only absolute paths count"
    monkeypatch.setenv(f"XDG_{place.upper()}_HOME", "")
    assert PLACES[place]() == Path(expected)
    monkeypatch.setenv(f"XDG_{place.upper()}_HOME", "/shared")
    assert PLACES[place]() == Path("/shared/edgefer")


@pytest.mark.parametrize("place", ["config", "cache"])
def test_edgefers_own_variable_wins(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"XDG_{place.upper()}_HOME", "/shared")
    monkeypatch.setenv(f"EDGEFER_{place.upper()}_DIR", "/own")
    assert PLACES[place]() == Path("/own")


@pytest.mark.parametrize("place", PLACES)
def test_no_home_is_no_folder_unless_a_variable_names_one(
    place: str, homeless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PLACES[place]() is None
    monkeypatch.setenv(f"XDG_{place.upper()}_HOME", "/shared")
    assert PLACES[place]() == Path("/shared/edgefer")


def test_without_a_home_there_are_no_profiles_of_the_user(homeless: None) -> None:
    assert config_folder() is None
    assert {entry.name for entry in describe_all()} == set(profile_names())


def test_without_a_home_there_is_nowhere_to_keep_models(homeless: None) -> None:
    with pytest.raises(DetectorError, match="set EDGEFER_CACHE_DIR"):
        models.folder()


def test_without_a_home_the_notice_is_said_each_time(homeless: None, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        show_once()
        assert "AI Act, Article 5" in capsys.readouterr().err


def test_without_a_home_the_doctor_looks_at_the_disk_of_the_working_folder(
    tmp_path: Path, homeless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_at() -> list[str]:
        checks = list(board.disk(Patient(load_profile("generic"), root=tmp_path)))
        assert not [check for check in checks if "GiB free at" not in check.found]
        return [check.found.rpartition(" at ")[2] for check in checks]

    assert looked_at() == [str(Path.cwd())]
    monkeypatch.setenv("EDGEFER_CACHE_DIR", str(tmp_path))
    assert looked_at() == [str(Path.cwd()), str(tmp_path / "models")]


def test_without_a_home_every_model_is_missing(homeless: None) -> None:
    listed = CliRunner().invoke(cli, ["models", "list", "--json"])
    assert listed.exit_code == 0, listed.output
    assert {(model["state"], model["path"]) for model in json.loads(listed.stdout)} == {("missing", None)}


def test_without_a_home_a_csv_is_read_and_not_kept(tmp_path: Path, homeless: None) -> None:
    from edgefer.train import data, kept

    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n3,{' '.join(['7'] * 48 * 48)},Training\n")
    for _ in range(2):
        assert data.read(path)["train"].labels.tolist() == [3]
    kept.store("some", one=np.arange(3))
    assert kept.load("some") is None


def test_the_commands_work_without_a_home() -> None:
    code = f"import os; os.getuid = lambda: {unknown_user()}; from edgefer.cli import main; main()"
    environment = {key: value for key, value in os.environ.items() if key not in (*VARIABLES, "HOME")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    listed = run("devices", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {entry["name"] for entry in json.loads(listed.stdout)} == set(profile_names())
    frames = run("run", "--source", "demo:2", "--detector", "none", "--json")
    assert (frames.returncode, len(frames.stdout.splitlines())) == (0, 2), frames.stderr
    pull = run("models", "path", "yunet")
    assert pull.returncode == 1
    assert "set EDGEFER_CACHE_DIR" in pull.stderr
    assert "Traceback" not in listed.stderr + frames.stderr + pull.stderr
