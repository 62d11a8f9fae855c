"""MQTT against real brokers: mosquitto on loopback, with a proxy that can swallow everything."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefer import __version__
from edgefer.errors import SinkError
from edgefer.labels import FER2013_LABELS
from edgefer.preprocess import Box
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FaceResult, FrameResult, Health
from edgefer.runtime.sinks import _homeassistant as homeassistant
from edgefer.runtime.sinks import mqtt
from edgefer.runtime.sinks._mqtt_link import Link, broker
from edgefer.runtime.sinks.mqtt import Mqtt, default_device_id, forget

paho = pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")

GOLDEN = Path(__file__).parents[1] / "golden" / "homeassistant.json"
SCORES = {label: 0.1 for label in FER2013_LABELS} | {"happy": 0.4}
FRAME = Frame(0, 0.0, np.full((48, 48, 3), 77, np.uint8))
UP = Health("up", 12.4, 300, 25.04, 3, 1, {}, 51.26)
LOST = Health("lost", 13.4, 300, 0.0, 3, 1, {}, None)


def result(*labels: str, certain: bool = True, confidence: float = 0.4) -> FrameResult:
    """A frame in which the first face is the largest."""
    faces = tuple(
        FaceResult(Box(0, 0, 100 - n, 100), n, label, confidence, SCORES, certain) for n, label in enumerate(labels)
    )
    return FrameResult(0, 0.0, faces, {})


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Return the first truth of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"nothing within {seconds} s")


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Mosquitto:
    """A real broker, which keeps nothing when it is killed."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join([f"listener {self.port} 127.0.0.1", "persistence false", "user root", *settings]) + "\n"
        )
        self.start()

    def start(self) -> None:
        """Start, and wait until it listens."""
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", self._config], stderr=subprocess.PIPE)
        wait_until(self._listens)

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that lets everybody in."""
    server = Mosquitto(tmp_path, "allow_anonymous true")
    yield server
    server.kill()


class Observer:
    """Another client, which hears everything; what was retained before it came is told apart."""

    def __init__(self, port: int, **login: str) -> None:
        self.messages: list[tuple[str, str]] = []
        self.retained: dict[str, str] = {}
        self.ready = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        if login:
            self.client.username_pw_set(**login)
        self.client.on_connect = lambda client, *_: client.subscribe([("#", 2)])
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(5)

    def _hear(self, _: Any, __: Any, message: Any) -> None:
        text = message.payload.decode()
        if message.retain:
            self.retained[message.topic] = text
        else:
            self.messages.append((message.topic, text))

    def of(self, topic: str) -> list[str]:
        """Return what was sent to a topic while we listened."""
        return [payload for where, payload in list(self.messages) if where == topic]

    def send(self, topic: str, payload: str | bytes, retain: bool = False) -> None:
        """Publish, and wait until it is with the broker."""
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(5)

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def observe() -> Iterator[Callable[..., Observer]]:
    """Make observers that are closed at the end."""
    made: list[Observer] = []

    def make(port: int, **login: str) -> Observer:
        made.append(Observer(port, **login))
        return made[-1]

    yield make
    for observer in made:
        observer.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Mqtt]]:
    """Make sinks that are closed at the end."""
    made: list[Mqtt] = []

    def make(url: str, **settings: Any) -> Mqtt:
        made.append(Mqtt(url, **{"device_id": "cam1", "labels": FER2013_LABELS, "delay": lambda: 0.0, **settings}))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits between attempts."""
    monkeypatch.setattr(mqtt, "FIRST_WAIT", 0.1)
    monkeypatch.setattr(mqtt, "LONGEST_WAIT", 0.5)
    monkeypatch.setattr(mqtt, "STEADY", 0.3)


Connect = Callable[..., Mqtt]
Observe = Callable[..., Observer]


def test_what_home_assistant_gets_in_order(mosquitto: Mosquitto, connect: Connect, observe: Observe) -> None:
    observer = observe(mosquitto.port)
    sink = connect(mosquitto.url, name="Kitchen")
    wait_until(lambda: observer.of("edgefer/cam1/status") == ["online"])
    assert [topic for topic, _ in observer.messages] == [
        "homeassistant/device/cam1/config",
        "edgefer/cam1/camera/status",
        "edgefer/cam1/status",
    ]
    assert observer.of("edgefer/cam1/camera/status") == ["offline"]  # no frame yet
    description = json.loads(observer.messages[0][1])
    assert description["device"].pop("sw_version") == description["origin"].pop("sw_version") == __version__
    assert description == json.loads(GOLDEN.read_text())
    sink.write(FRAME, result("happy", "sad", "happy"))
    wait_until(lambda: observer.of("edgefer/cam1/camera/status") == ["offline", "online"])
    sink.tell(UP)
    (state,) = wait_until(lambda: observer.of("edgefer/cam1/state"))
    assert json.loads(state) == {
        "faces": 3,
        "emotion": "happy",
        "confidence": 0.4,
        "emotions": {"happy": 2, "sad": 1},
    }
    (health,) = wait_until(lambda: observer.of("edgefer/cam1/health"))
    assert json.loads(health) == {"fps": 25.04, "dropped": 3, "reconnects": 1, "temperature": 51.3, "seconds": 12}
    sink.tell(LOST)
    wait_until(lambda: observer.of("edgefer/cam1/camera/status")[-1] == "offline")
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 2
    sink.close()
    wait_until(lambda: observer.of("edgefer/cam1/status") == ["online", "offline"])
    late = observe(mosquitto.port)
    wait_until(lambda: len(late.retained) == 3)
    assert late.retained["edgefer/cam1/status"] == "offline"
    assert set(late.retained) == {topic for topic, _ in observer.messages[:3]}  # nothing else is kept, least a picture


def test_the_description_names_each_thing_once_and_for_good() -> None:
    topics = homeassistant.Topics("edgefer", "homeassistant", "cam1")
    components = homeassistant.discovery(topics, FER2013_LABELS, "Kitchen", "1")["components"]
    names = [component["unique_id"] for component in components.values()]
    assert len(set(names)) == len(names) == 6
    assert components["emotion"]["options"] == [*FER2013_LABELS, "uncertain", "none"]
    assert homeassistant.discovery(topics, ["uncertain", "none"], "", "")["components"]["emotion"]["options"] == [
        "uncertain",
        "none",
    ]


def state_of(seen: FrameResult) -> dict[str, Any]:
    """Return what is sent of a first frame."""
    return homeassistant.state(seen, homeassistant.main_face(seen, None))


def test_two_faces_of_one_size_do_not_take_turns() -> None:
    def seen(width: int) -> FrameResult:
        faces = [FaceResult(Box(0, 0, w, 100), n, "sad", 0.4, SCORES) for n, w in enumerate([100, width])]
        return FrameResult(0, 0.0, tuple(faces), {})

    chosen = []
    before = None
    for width in (99, 101, 120, 130, 99, 70):
        main = homeassistant.main_face(seen(width), before)
        assert main is not None
        before = main.id
        chosen.append(before)
    assert chosen == [0, 0, 0, 1, 1, 0]
    assert homeassistant.main_face(result(), 0) is None


def test_states_stay_small_and_are_utf_8_whatever_is_seen() -> None:
    labels = [f"\U0001f600{n}" + "\udcff" * 500 for n in range(100)]
    text = homeassistant.encode(state_of(result(*labels, *labels)))
    assert len(text.encode()) < 2048
    assert json.loads(text)["faces"] == 200
    assert json.loads(homeassistant.encode(state_of(result()))) == {
        "faces": 0,
        "emotion": None,
        "confidence": None,
        "emotions": {},
    }
    assert state_of(result("sad", certain=False))["emotion"] == "uncertain"


def test_states_come_at_once_when_labels_change_else_twice_a_second(
    mosquitto: Mosquitto, connect: Connect, observe: Observe
) -> None:
    observer = observe(mosquitto.port)
    sink = connect(mosquitto.url)
    wait_until(lambda: observer.of("edgefer/cam1/status"))
    sink.write(FRAME, result("sad"))
    wait_until(lambda: observer.of("edgefer/cam1/state"))
    sink.write(FRAME, result("happy"))
    wait_until(lambda: len(observer.of("edgefer/cam1/state")) == 2, 0.4)
    observer.messages.clear()
    end = time.monotonic() + 2
    while time.monotonic() < end:  # only the confidence changes
        sink.write(FRAME, result("happy", confidence=round(0.5 + (end - time.monotonic()) / 10, 3)))
        time.sleep(0.005)
    assert 3 <= len(observer.of("edgefer/cam1/state")) <= 5


def test_a_state_is_sent_again_only_while_frames_come(
    mosquitto: Mosquitto, connect: Connect, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homeassistant, "STATE_EXPIRES", 1)
    observer = observe(mosquitto.port)
    sink = connect(mosquitto.url)
    end = time.monotonic() + 2.2
    while time.monotonic() < end:  # a still life
        sink.write(FRAME, result("happy"))
        time.sleep(0.02)
    times = len(observer.of("edgefer/cam1/state"))
    assert times >= 4
    time.sleep(1.5)
    assert len(observer.of("edgefer/cam1/state")) <= times + 1
    observer.send("homeassistant/status", "online")  # nor is an old one told to a new Home Assistant
    wait_until(lambda: len(observer.of("edgefer/cam1/status")) == 2)
    assert len(observer.of("edgefer/cam1/state")) <= times + 1


CLIENT = """
import sys, time
sys.path.insert(0, {folder!r})
from test_mqtt import *
sink = Mqtt({url!r}, device_id="cam1", labels=FER2013_LABELS)
while True:
    sink.write(FRAME, result("happy"))
    time.sleep(0.02)
"""


def test_the_broker_says_so_when_the_program_is_killed(mosquitto: Mosquitto, observe: Observe) -> None:
    observer = observe(mosquitto.port)
    code = CLIENT.format(folder=str(Path(__file__).parent), url=mosquitto.url)
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        wait_until(lambda: observer.of("edgefer/cam1/status") == ["online"])
        child.kill()
    wait_until(lambda: observer.of("edgefer/cam1/status") == ["online", "offline"])
    late = observe(mosquitto.port)
    assert wait_until(lambda: late.retained.get("edgefer/cam1/status")) == "offline"


def test_a_broker_that_dies_and_comes_back(mosquitto: Mosquitto, connect: Connect, observe: Observe) -> None:
    said: list[str] = []
    sink = connect(mosquitto.url, say=said.append)
    sink.tell(UP)

    def round_trip(lines: int) -> None:
        observer = observe(mosquitto.port)
        wait_until(
            lambda: "online" in [observer.retained.get("edgefer/cam1/status"), *observer.of("edgefer/cam1/status")]
        )
        wait_until(lambda: len(said) == lines)
        mosquitto.kill()
        sink.tell(LOST)  # while nobody can be told
        wait_until(lambda: len(said) == lines + 1)
        time.sleep(0.6)
        sink.tell(UP)
        mosquitto.start()
        sink.write(FRAME, result("sad"))

    for lines in (0, 2, 4):
        round_trip(lines)
    wait_until(lambda: len(said) == 6)
    late = observe(mosquitto.port)
    wait_until(lambda: len(late.retained) == 3)
    assert late.retained["edgefer/cam1/status"] == "online"
    assert late.retained["edgefer/cam1/camera/status"] == "online"
    assert all(re.search("back after [0-9] s", line) for line in said[1::2]), said
    assert all("the run goes on" in line for line in said[::2]), said


def test_a_broker_that_is_away_at_the_start_stops_nothing(
    tmp_path: Path, connect: Connect, observe: Observe, mosquitto: Mosquitto
) -> None:
    mosquitto.kill()
    said: list[str] = []
    start = time.monotonic()
    sink = connect(mosquitto.url, say=said.append)
    sink.write(FRAME, result("sad"))
    assert time.monotonic() - start < 0.5
    wait_until(lambda: said)
    time.sleep(1.0)
    assert len(said) == 1
    assert "Connection refused" in said[0]
    mosquitto.start()
    observer = observe(mosquitto.port)
    wait_until(lambda: observer.retained or observer.of("edgefer/cam1/status"))
    wait_until(lambda: len(said) == 2)


class Proxy:
    """Passes bytes on until it is told to swallow them; connections stay open then."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.swallow = False
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._target))
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(4096):
                if not self.swallow:
                    other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            other.close()

    def close(self) -> None:
        """Take no more connections."""
        self._server.close()


def test_a_connection_that_swallows_everything_is_noticed(
    mosquitto: Mosquitto, connect: Connect, observe: Observe
) -> None:
    proxy = Proxy(mosquitto.port)
    said: list[str] = []
    sink = connect(f"mqtt://127.0.0.1:{proxy.port}", say=said.append, keepalive=1)
    observer = observe(mosquitto.port)
    wait_until(lambda: observer.retained.get("edgefer/cam1/status") or observer.of("edgefer/cam1/status"))
    proxy.swallow = True
    until = time.monotonic() + 8
    while not said:
        sink.write(FRAME, result("happy"))
        assert time.monotonic() < until
        time.sleep(0.01)
    assert "does not answer any more" in said[0]
    wait_until(lambda: observer.of("edgefer/cam1/status")[-1:] == ["offline"])  # the broker noticed it too
    proxy.swallow = False
    wait_until(lambda: observer.of("edgefer/cam1/status")[-1:] == ["online"])
    proxy.close()


def test_a_restart_of_home_assistant_is_answered_after_a_while(
    mosquitto: Mosquitto, connect: Connect, observe: Observe
) -> None:
    observer = observe(mosquitto.port)
    observer.send("homeassistant/status", "online", retain=True)
    sink = connect(mosquitto.url, delay=lambda: 0.5)
    sink.write(FRAME, result("happy"))
    wait_until(lambda: observer.of("edgefer/cam1/status"))
    time.sleep(1.0)
    assert len(observer.of("homeassistant/device/cam1/config")) == 1  # a retained message is no restart
    sink.write(FRAME, result("happy"))
    observer.messages.clear()
    start = time.monotonic()
    for _ in range(20):
        observer.send("homeassistant/status", "online")
    wait_until(lambda: observer.of("edgefer/cam1/status"))
    assert time.monotonic() - start >= 0.4
    time.sleep(0.8)
    ours = [topic for topic, _ in observer.messages if topic != "homeassistant/status"]
    assert ours == [
        "homeassistant/device/cam1/config",
        "edgefer/cam1/camera/status",
        "edgefer/cam1/state",
        "edgefer/cam1/status",
    ]


def test_forged_messages_change_nothing(mosquitto: Mosquitto, connect: Connect, observe: Observe) -> None:
    observer = observe(mosquitto.port)
    said: list[str] = []
    sink = connect(mosquitto.url, say=said.append)
    wait_until(lambda: observer.of("edgefer/cam1/status"))
    for topic in ("homeassistant/status", "edgefer/cam1/set", "edgefer/cam1/state", "edgefer/cam1/command", "cmnd"):
        for payload in (b"offline", b"", b"\xff\xfe", b"onlineonline", b'{"cmd":"reboot"}', b"x" * 1_000_000):
            observer.send(topic, payload if b"\xff" not in payload else b"?", retain=topic.endswith("command"))
    sink.write(FRAME, result("happy"))
    wait_until(lambda: [p for p in observer.of("edgefer/cam1/state") if p.startswith('{"faces"')])
    assert len(observer.of("homeassistant/device/cam1/config")) == 1
    assert observer.of("edgefer/cam1/status") == ["online"]
    assert said == []


def test_two_clients_with_one_id_are_told_about_once(mosquitto: Mosquitto, connect: Connect) -> None:
    """This broker only cuts the connection of the one that was there before."""
    said: list[list[str]] = [[], []]
    for lines in said:
        connect(mosquitto.url, say=lines.append)
    (warned,) = wait_until(lambda: [lines for lines in said if "is called edgefer-cam1 too" in "".join(lines)][:1])
    count = len(warned)
    assert count <= 8
    time.sleep(1.5)
    assert len(warned) <= count + 1
    assert all("back after" in line for line in warned[count:])


def test_a_broker_that_tells_of_the_other_client_with_our_id(connect: Connect) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    times: list[float] = []

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                times.append(time.monotonic())
                client.sendall(b"\x20\x03\x00\x00\x00")  # welcome
                client.recv(4096)  # the subscription
                client.sendall(b"\xe0\x01\x8e")  # session taken over
                while client.recv(4096):
                    pass

    threading.Thread(target=serve, daemon=True).start()
    said: list[str] = []
    connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", say=said.append)
    wait_until(lambda: len(times) >= 7)
    server.close()
    assert len(said) == 1
    assert "another client is called edgefer-cam1 too and pushes this one out" in said[0]
    assert times[-1] - times[-2] >= 0.45  # it has stopped to fight


def passwords(folder: Path) -> str:
    """Write a password file and return its path."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed")
    subprocess.run([program, "-c", "-b", folder / "passwords", "camera", "right"], check=True, capture_output=True)
    os.chmod(folder / "passwords", 0o644)
    os.chmod(folder, 0o755)
    return str(folder / "passwords")


def test_a_wrong_password_is_said_once_and_never_shown(tmp_path: Path, connect: Connect, observe: Observe) -> None:
    server = Mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords(tmp_path)}")
    said: list[str] = []
    try:
        sink = connect(server.url, username="camera", password="hunter2", say=said.append)
        wait_until(lambda: said)
        time.sleep(1.2)  # two attempts and more
        assert len(said) == 1
        assert "it refuses us" in said[0]
        assert "hunter2" not in said[0] + repr(sink._broker)
        sink.write(FRAME, result("happy"))
        right = connect(server.url, device_id="cam2", username="camera", password="right", say=said.append)
        observer = observe(server.port, username="camera", password="right")
        wait_until(lambda: observer.retained or observer.of("edgefer/cam2/status"))
        right.close()
        assert len(said) == 1
    finally:
        server.kill()


def test_a_broker_that_lets_us_in_but_passes_nothing_on(tmp_path: Path, connect: Connect) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read #\n")
    os.chmod(tmp_path, 0o755)
    server = Mosquitto(tmp_path, "allow_anonymous true", f"acl_file {acl}")
    said: list[str] = []
    try:
        connect(server.url, say=said.append)
        wait_until(lambda: said)
        time.sleep(0.6)
        assert len(said) == 1
        assert "takes us in but not our messages (Not authorized)" in said[0]
    finally:
        server.kill()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, the certificate of a broker at 127.0.0.1, and another CA."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    os.chmod(folder, 0o755)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]

    def openssl(*arguments: str) -> None:
        subprocess.run([program, *arguments], check=True, capture_output=True, cwd=folder)

    for name in ("ca", "other"):
        openssl("req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("req", *key[:-2], "-keyout", "broker.key", "-out", "broker.csr", "-subj", "/CN=broker")
    openssl(
        *("x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "san", "-out", "broker.pem"),
    )
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves failed sockets to Python
def test_tls_is_checked(authority: Path, tmp_path: Path, connect: Connect) -> None:
    server = Mosquitto(
        tmp_path,
        "allow_anonymous true",
        *(f"{option} {authority / file}" for option, file in (("certfile", "broker.pem"), ("keyfile", "broker.key"))),
    )
    try:
        good: list[str] = []
        sink = connect(f"mqtts://127.0.0.1:{server.port}", ca=authority / "ca.pem", say=good.append)
        sink.write(FRAME, result("happy"))
        wait_until(lambda: sink._outbox._state)
        for host, ca, words in (
            ("127.0.0.1", authority / "other.pem", "certificate is refused"),
            ("127.0.0.1", None, "certificate is refused"),
            ("localhost", authority / "ca.pem", "certificate is refused"),  # the certificate is not for that name
        ):
            said: list[str] = []
            connect(f"mqtts://{host}:{server.port}", ca=ca, device_id="cam2", say=said.append)
            assert words in wait_until(lambda: said)[0]  # noqa: B023
        said = []
        connect(f"mqtt://127.0.0.1:{server.port}", device_id="cam3", say=said.append)
        wait_until(lambda: said)
        assert good == []
    finally:
        server.kill()


def test_a_broker_that_speaks_something_else(connect: Connect) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    answers = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\x00\xff",
        b"\x20\xff\xff\xff\xff\xff",
        b"\x30\x02\x00\x09",
        b"",
    ]

    def serve() -> None:
        number = 0
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(answers[number % len(answers)])
            number += 1
            served.append(number)

    served: list[int] = []
    threading.Thread(target=serve, daemon=True).start()
    said: list[str] = []
    sink = connect(f"mqtt://127.0.0.1:{server.getsockname()[1]}", say=said.append)
    wait_until(lambda: len(served) > 2 * len(answers))
    sink.write(FRAME, result("happy"))
    server.close()
    assert 1 <= len(said) <= 3


def test_a_message_that_is_too_large_is_not_taken_into_memory() -> None:
    """paho itself takes 256 MB, whatever it told the broker when it connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                client.recv(4096)
                client.sendall(b"\x20\x03\x00\x00\x00\x30\xff\xff\xff\x7f" + b"x" * 100_000)

        threading.Thread(target=serve, daemon=True).start()
        link = Link(broker(f"mqtt://127.0.0.1:{server.getsockname()[1]}", "cam1"))
        assert link.open()
        end = time.monotonic() + 10
        while link.turn(0.1) and time.monotonic() < end:
            pass
        link.drop()
    assert link.accepted
    assert link.reason == "it sends a message of 268435455 bytes, at most 4096 are taken"


@pytest.mark.alone
def test_writing_never_waits_for_a_broker_that_has_stopped(
    mosquitto: Mosquitto, connect: Connect, observe: Observe
) -> None:
    observer = observe(mosquitto.port)
    sink = connect(mosquitto.url)
    wait_until(lambda: observer.of("edgefer/cam1/status"))
    mosquitto.process.send_signal(signal.SIGSTOP)
    try:
        times = []
        for number in range(2000):
            start = time.perf_counter()
            sink.write(FRAME, result("happy" if number % 2 else "sad"))
            sink.tell(UP if number % 20 else LOST)
            times.append(time.perf_counter() - start)
            time.sleep(0.0005)
        assert statistics.quantiles(times, n=100)[98] < 0.001
    finally:
        mosquitto.process.send_signal(signal.SIGCONT)
    observer.messages.clear()
    sink.write(FRAME, result("fear"))
    wait_until(lambda: any('"fear"' in state for state in observer.of("edgefer/cam1/state")))


def test_closing_does_not_wait_long_for_a_broker_that_has_stopped(mosquitto: Mosquitto, connect: Connect) -> None:
    sink = connect(mosquitto.url)
    sink.write(FRAME, result("sad"))
    wait_until(lambda: sink._outbox._state)
    mosquitto.process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 4
    mosquitto.process.send_signal(signal.SIGCONT)


def test_a_broker_that_is_away_costs_no_memory(connect: Connect) -> None:
    sink = connect(f"mqtt://127.0.0.1:{free_port()}")

    def write(frames: int) -> int:
        for number in range(frames):
            sink.write(FRAME, result("happy" if number % 2 else "sad"))
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = write(1000)
    assert write(10_000) - before < 1_000_000


def test_connecting_again_and_again_leaks_nothing(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Mosquitto(tmp_path, "allow_anonymous false")  # refuses everybody, after a whole handshake
    monkeypatch.setattr(mqtt, "LONGEST_WAIT", 0.01)
    monkeypatch.setattr(mqtt, "FIRST_WAIT", 0.01)
    attempts: list[int] = []
    opened = mqtt.Link.open

    def counted(link: mqtt.Link) -> bool:
        attempts.append(len(os.listdir("/proc/self/fd")))
        return opened(link)

    monkeypatch.setattr(mqtt.Link, "open", counted)
    gc.collect()
    gc.disable()
    try:
        sink = connect(server.url, username="nobody")
        wait_until(lambda: len(attempts) > 100)
        sink.close()
    finally:
        gc.enable()
        server.kill()
    assert max(attempts) <= attempts[0] + 1


def test_forgetting_a_device(mosquitto: Mosquitto, connect: Connect, observe: Observe) -> None:
    sink = connect(mosquitto.url)
    sink.write(FRAME, result("sad"))
    wait_until(lambda: sink._outbox._state)
    sink.close()
    before = observe(mosquitto.port)
    wait_until(lambda: len(before.retained) == 3)
    forget(mosquitto.url, device_id="cam1")
    wait_until(lambda: before.of("homeassistant/device/cam1/config") == [""])
    after = observe(mosquitto.port)
    mark = after.client.publish("mark", "", qos=1)
    mark.wait_for_publish(5)
    wait_until(lambda: after.of("mark"))
    assert after.retained == {}
    mosquitto.kill()
    with pytest.raises(SinkError, match="Connection refused; nothing was removed"):
        forget(mosquitto.url, device_id="cam1")


@pytest.mark.parametrize(
    "url",
    [
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://broker:0",
        "mqtt://broker:99999",
        "mqtt://broker/topic",
        "mqtt://broker?x=1",
        f"mqtt://{'a' * 64}.lan",
        "mqtt://a..b",
        "mqtt://[::1",
        "mqtt://bro ker",
    ],
)
def test_urls_of_no_broker_are_refused(url: str) -> None:
    with pytest.raises(SinkError, match="it must be mqtt://HOST"):
        Mqtt(url, device_id="cam1", labels=FER2013_LABELS)


def test_settings_that_can_never_work_are_refused_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for settings, words in (
        ({"url": "mqtt://me:hunter2@broker"}, "user name or password is refused"),
        ({"url": "mqtt://me:hunter2"}, "is no MQTT URL"),
        ({"url": "mqtt://me:hunter2/x"}, "is no MQTT URL"),
        ({"url": "mqtt://broker?password=hunter2"}, "is no MQTT URL"),
        ({"password": "hunter2"}, "needs a user name"),
        ({"username": "me", "password": "hunter2\0"}, "characters that MQTT does not know"),
        ({"ca": tmp_path / "ca.pem"}, "does not use TLS"),
        ({"url": "mqtts://broker", "ca": tmp_path / "gone.pem"}, "gone.pem cannot be used: No such file"),
        ({"url": "mqtts://broker", "ca": tmp_path / "ca.pem"}, "ca.pem cannot be used: holds no PEM"),
        ({"device_id": "a/b"}, "is no device id"),
        ({"device_id": "#"}, "is no device id"),
        ({"device_id": "x" * 65}, "is no device id"),
        ({"base": "a/#"}, "is no base topic"),
        ({"discovery_prefix": "/x"}, "is no discovery prefix"),
    ):
        arguments: dict[str, Any] = {"url": "mqtt://broker", "device_id": "cam1", "labels": FER2013_LABELS, **settings}
        with pytest.raises(SinkError, match=words) as raised:
            Mqtt(**arguments)
        assert "hunter" not in str(raised.value)


def test_a_password_in_clear_is_warned_about(connect: Connect) -> None:
    said: list[str] = []
    connect("mqtt://203.0.113.1", username="me", password="hunter2", say=said.append)
    assert "unencrypted; prefer mqtts://" in said[0]
    assert "hunter2" not in said[0]


def test_the_default_id_is_stable_and_gives_nothing_away(tmp_path: Path) -> None:
    machine = "0123456789abcdef" * 2
    with pytest.raises(SinkError, match="give this device an id"):
        default_device_id(tmp_path)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text(machine + "\n")
    first = default_device_id(tmp_path)
    assert first == default_device_id(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert first not in machine
    (tmp_path / "etc/machine-id").write_text("f" + machine[1:])
    assert default_device_id(tmp_path) != first
    (tmp_path / "etc/machine-id").write_text("uninitialized\n")
    with pytest.raises(SinkError, match="holds no machine id"):
        default_device_id(tmp_path)


def test_a_fault_of_ours_is_not_silent(mosquitto: Mosquitto, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homeassistant, "state", lambda *_: 1 / 0)
    sink = connect(mosquitto.url)
    sink.write(FRAME, result("sad"))
    wait_until(lambda: sink._failure)
    with pytest.raises(SinkError, match="ended: ZeroDivisionError"):
        sink.write(FRAME, result("sad"))


def test_without_paho_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho", None)
    for name in [name for name in sys.modules if name.startswith("paho.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(Exception, match=r"pip install 'edgefer\[mqtt\]'"):
        Mqtt("mqtt://broker", device_id="cam1", labels=FER2013_LABELS)
