import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgefer.commands._config import parameters
from edgefer.commands.run import command
from edgefer.errors import ConfigError
from edgefer.runtime import supervisor
from edgefer.runtime.secret import MAX_BYTES, secret
from edgefer.runtime.supervisor import Supervisor, notify, watchdog_interval

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "edgefer.service"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket as systemd has it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@edgefer-test-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield sock


def heard(sock: socket.socket) -> list[str]:
    """Return what has arrived so far."""
    sock.setblocking(False)
    messages = []
    while True:
        try:
            messages.append(sock.recv(65536).decode())
        except BlockingIOError:
            return messages


def test_what_is_said_to_the_service_manager(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    runs = Supervisor()
    runs.ready()
    before = time.monotonic_ns() // 1000
    runs.reloading()
    runs.ready()
    runs.moved()
    runs.stopping()
    runs.stop()
    ready, reloading, again, ping, stopping = heard(manager)
    assert before <= int(reloading.removeprefix("RELOADING=1\nMONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert (ready, again, ping, stopping) == ("READY=1", "READY=1", "WATCHDOG=1", "STOPPING=1")


def test_pings_come_at_half_of_what_is_allowed_however_often_the_loop_turns(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    runs = Supervisor()
    end = time.monotonic() + 1.1
    while time.monotonic() < end:
        runs.moved()
        time.sleep(0.001)
    messages = heard(manager)
    assert 4 <= messages.count("WATCHDOG=1") <= 6
    assert set(messages) == {"WATCHDOG=1"}


@pytest.mark.parametrize(
    ("usec", "pid", "interval"),
    [
        (None, None, None),
        ("30000000", None, 15.0),
        ("30000000", "self", 15.0),
        ("30000000", "1", None),
        ("0", None, None),
        ("-5", None, None),
        ("soon", None, None),
        ("9" * 40, None, None),
    ],
)
def test_the_watchdogs_interval(
    usec: str | None, pid: str | None, interval: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", str(os.getpid()) if pid == "self" else pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_interval() == interval


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all", "@nobody-listens-here", "/" + "x" * 500])
def test_nobody_to_tell_is_no_trouble(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    descriptors = len(os.listdir("/proc/self/fd"))
    assert notify("READY=1") is False
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_service_manager_that_does_not_read_blocks_nobody(manager: socket.socket) -> None:
    start = time.monotonic()
    told = [notify("WATCHDOG=1") for _ in range(5000)]
    assert time.monotonic() - start < 3
    assert told[0] is True
    assert told[-1] is False
    assert set(heard(manager)) == {"WATCHDOG=1"}


HANGS = {
    "with the interpreter free": "time.sleep(60)",
    "in native code that holds the interpreter": "pow(7, 3**19) % 2",
    "in a regular expression": "re.match(r'(a+)+$', 'a' * 60 + 'b')",
}


@pytest.mark.parametrize("hang", HANGS.values(), ids=HANGS.keys())
def test_a_hang_ends_the_process_with_its_stacks(hang: str) -> None:
    code = f"""
import re, time
from edgefer.runtime.supervisor import Supervisor
def inference():
    {hang}
runs = Supervisor(stuck_after=1.5)
end = time.monotonic() + 2.5  # longer than that, but moving
while time.monotonic() < end:
    runs.moved()
    time.sleep(0.05)
print("alive", flush=True)
inference()
print("never", flush=True)
"""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "alive\n"
    assert done.returncode == 1
    assert "Timeout (0:00:01" in done.stderr
    assert "in inference" in done.stderr
    assert 3.5 < time.monotonic() - start < 15


def test_a_run_that_was_stopped_is_not_killed() -> None:
    code = """
import time
from edgefer.runtime.supervisor import Supervisor
runs = Supervisor(stuck_after=1.1)
runs.moved()
runs.stop()
runs.stop()
runs.moved()
time.sleep(1.6)
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("alive\n", "", 0)


def test_arming_again_and_again_leaves_no_thread_and_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "ARM_EVERY", 0.0)
    runs = Supervisor(stuck_after=100)
    tasks, descriptors = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        runs.moved()
    assert len(os.listdir("/proc/self/task")) <= tasks + 1
    runs.stop()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_last_resort_that_would_always_fire_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not stuck after 0\.5 s"):
        Supervisor(stuck_after=0.5)


# What is deployed


def directives() -> dict[str, list[str]]:
    """Return the unit's settings, each with all its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_never_gives_up_and_is_watched() -> None:
    unit = directives()
    assert unit["Type"] == ["notify"]
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert float(unit["RestartSec"][0]) >= 1
    assert float(unit["WatchdogSec"][0]) >= 20
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "PrivateDevices" not in unit  # cameras are devices
    assert unit["DevicePolicy"] == ["closed"]
    assert "char-video4linux rw" in unit["DeviceAllow"]
    assert set(unit["RestrictAddressFamilies"][0].split()) == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def installed_unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine."""
    unit = tmp_path / "edgefer.service"
    unit.write_text(UNIT.read_text().replace("/opt/edgefer/bin/edgefer", shutil.which("true") or "/bin/true"))
    return unit


def test_systemd_finds_no_fault_in_the_unit(installed_unit: Path) -> None:
    done = analyze("verify", "--man=no", installed_unit)
    assert "edgefer.service" not in done.stderr
    assert done.returncode == 0
    installed_unit.write_text(installed_unit.read_text().replace("WatchdogSec=", "WatchdogSecs="))
    assert "WatchdogSecs" in analyze("verify", "--man=no", installed_unit).stderr


def test_systemd_thinks_the_unit_safe(installed_unit: Path) -> None:
    if "--offline" not in analyze("--help").stdout:
        pytest.skip("this systemd-analyze cannot judge a unit offline")
    done = analyze("security", "--offline=true", "--threshold=20", installed_unit)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_example_configuration_is_understood(tmp_path: Path) -> None:
    text = (DEPLOY / "run.toml").read_text()
    everything = re.sub(r"^# ?(?=[a-z-]+ = )", "", text, flags=re.MULTILINE)
    for content in (text, everything):
        config = tmp_path / "run.toml"
        config.write_text(content)
        with command.make_context("run", ["--config", str(config)]) as context:
            values = parameters(context, config)
    assert values["mqtt"].startswith("mqtts://")
    assert values["csv"] is not None
    assert "/etc/edgefer/run.toml" in directives()["ExecStart"][0]


# Secrets


def test_where_a_secret_may_stand(tmp_path: Path) -> None:
    file = tmp_path / "mqtt-password"
    file.write_text("gehéim \n")
    assert secret("EDGEFER_MQTT_PASSWORD", None, {}) is None
    assert secret("EDGEFER_MQTT_PASSWORD", None, {"EDGEFER_MQTT_PASSWORD": "a b"}) == "a b"
    assert secret("EDGEFER_MQTT_PASSWORD", None, {"EDGEFER_MQTT_PASSWORD_FILE": str(file)}) == "gehéim "
    assert secret("EDGEFER_MQTT_PASSWORD", None, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "gehéim "
    assert secret("EDGEFER_TOKEN", None, {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None
    assert secret("EDGEFER_MQTT_PASSWORD", file, {"CREDENTIALS_DIRECTORY": "/nowhere"}) == "gehéim "


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"hunter2\nhunter3\n", "more than one line"),
        (b"hunter2" * 1000, f"longer than {MAX_BYTES} bytes"),
        (b"hunter2\xff", "not text"),
    ],
)
def test_bad_secrets_are_refused_and_not_repeated(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as raised:
        secret("EDGEFER_TOKEN", file, {})
    assert "hunter" not in str(raised.value)
    assert str(file) in str(raised.value)


def test_a_secret_in_two_places_or_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is given twice, by /x and by EDGEFER_TOKEN") as raised:
        secret("EDGEFER_TOKEN", Path("/x"), {"EDGEFER_TOKEN": "hunter2"})
    assert "hunter" not in str(raised.value)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        secret("EDGEFER_TOKEN", tmp_path / "gone", {})
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        secret("EDGEFER_TOKEN", None, {"EDGEFER_TOKEN": "hunter2\udcff"})
