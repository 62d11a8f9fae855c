"""`edgefer run --config`: options from a file, with the checks of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from edgefer.commands._config import parameters
from edgefer.commands._outputs import host_and_port
from edgefer.commands._settings import Settings, settings_from
from edgefer.commands.run import command
from edgefer.errors import ConfigError
from edgefer.runtime.detectors import DEFAULT
from edgefer.toml import MAX_BYTES


def settings(path: Path | None, *arguments: str) -> Settings:
    context = command.make_context("run", list(arguments))
    return settings_from(context, path)


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_what_the_command_line_would(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'source = "rtsp://cam/1"\nsize = "1280x720"\ndetect-every = 3\nmin-confidence = 0.5\njson = true\n'
        'rotate = 90\nserve = "0.0.0.0:8080"\nno-picture = true\nbundle = "mine.edgefer"\nmax-retries = 5\n',
    )
    asked = ["--source", "rtsp://cam/1", "--size", "1280x720", "--detect-every", "3", "--min-confidence", "0.5"]
    asked += [
        "--json",
        "--rotate",
        "90",
        "--serve",
        "0.0.0.0:8080",
        "--no-picture",
        "mine.edgefer",
        "--max-retries",
        "5",
    ]
    assert settings(path) == settings(None, *asked)


def test_the_command_line_wins_and_the_rest_stays(tmp_path: Path) -> None:
    path = written(tmp_path, 'source = "0"\nsmooth = 2.0\ndetect-every = "auto"\ndetector-size = "auto"\n')
    found = settings(path, "--source", "demo")
    assert (found.source, found.smooth, found.detect_every) == ("demo", 2.0, None)
    assert found.stall == settings(None).stall
    assert found.detector_size is None
    assert settings(path, "--detector-size", "160").detector_size == 160
    assert settings(written(tmp_path, "detector-size = 640\n")).detector_size == 640


def test_the_detector_is_the_one_that_python_takes_untold() -> None:
    found = settings(None)
    assert (found.detector, found.detector_model, found.detector_size) == (DEFAULT, None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sorce = 'demo'", "unknown option 'sorce'; known: blur-faces"),
        ("smooth = 'long'", "smooth: 'long' is not a valid float"),
        ("smooth = 99", "smooth: 99"),
        ("json = 1", "json must be true or false"),
        ("source = true", "source must be a text or a number"),
        ("source = ['a']", "one value"),
        ("size = 'big'", "1280x720"),
        ("detector-size = 96", "detector-size: '96' is none of auto, 160, 320, 640"),
        ("config = 'x'", "unknown option 'config'"),
        ("mqtt-password = 'secret'", "unknown option 'mqtt-password'"),
        ("source = ", "not valid TOML"),
        ("# " + "x" * MAX_BYTES, "has more than 65536 bytes"),
        ("source = " + "[" * 5000, "too many brackets"),
    ],
)
def test_what_is_wrong_names_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(written(tmp_path, text))
    assert words in str(caught.value)
    assert "run.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        settings(tmp_path / "gone.toml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        settings(tmp_path / "run.toml")


@pytest.mark.parametrize(
    "arguments",
    [["--no-picture"], ["--token-file", "x"], ["--mqtt-user", "x"], ["--device-id", "x"], ["--blur-faces"]],
)
def test_an_option_that_would_do_nothing_is_refused(arguments: list[str]) -> None:
    with pytest.raises(click.UsageError, match="does nothing here"):
        settings(None, *arguments)


def test_every_option_can_stand_in_a_file() -> None:
    context = command.make_context("run", [])
    names = {name for name in context.params if name != "config"}
    assert names == {field for field in Settings.__dataclass_fields__}
    assert parameters(context, None)["source"] == "auto"


@pytest.mark.parametrize(
    ("address", "found"),
    [("8080", ("127.0.0.1", 8080)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:9", ("::1", 9)), (":5", ("127.0.0.1", 5))],
)
def test_addresses(address: str, found: tuple[str, int]) -> None:
    assert host_and_port(address) == found


@pytest.mark.parametrize("address", ["", "host", "host:", "1.2.3.4:99999", "host:8x"])
def test_bad_addresses(address: str) -> None:
    with pytest.raises(Exception, match="--serve") as caught:
        host_and_port(address)
    assert not isinstance(caught.value, ValueError)


def test_values_are_cast_one_by_one() -> None:
    found: dict[str, Any] = command.make_context("run", ["--serve"]).params
    assert found["serve"] == "127.0.0.1:8377"
