"""MQTT: figures, and never a picture, for Home Assistant and others."""

from __future__ import annotations

import hashlib
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from edgefer import __version__
from edgefer.errors import SinkError
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import Sink
from edgefer.runtime.sinks import _homeassistant as homeassistant
from edgefer.runtime.sinks._mqtt_link import KEEPALIVE, Link, broker
from edgefer.runtime.sinks._mqtt_outbox import Outbox

TICK = 0.1
"""Seconds at most until a change is noticed; so no more than ten states a second however labels flicker."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds between two attempts to connect; doubled from the one to the other."""
STEADY = 10.0
"""Seconds that a connection must last to count as one."""
CUTS, CUTS_WITHIN = 4, 600.0
"""So many connections cut within so many seconds look like two clients with one id that push each other out."""
CLOSE_PATIENCE = 6.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PREFIX = re.compile(r"[a-zA-Z0-9_-]{1,64}(/[a-zA-Z0-9_-]{1,64}){0,3}")


def default_device_id(root: Path = Path("/")) -> str:
    """Return twelve characters that stay the same on this machine and do not give its machine id away.

    `root` is where /etc/machine-id is looked for. Raises SinkError when the machine has none.
    """
    path = root / "etc/machine-id"
    try:
        with path.open("rb") as file:
            machine = file.read(64).strip()
    except OSError as error:
        raise SinkError(f"{path} cannot be read ({error.strerror}), so give this device an id of its own") from error
    if not re.fullmatch(rb"[0-9a-f]{32}", machine):
        raise SinkError(f"{path} holds no machine id, so give this device an id of its own")
    return hashlib.sha256(b"edgefer mqtt " + machine).hexdigest()[:12]


class Mqtt(Sink):
    """Publishes what is seen and how the run is doing, described for Home Assistant; see docs/home-assistant.md.

    A thread of its own does all that touches the network and connects again for ever, so a broker that is away stops
    nothing. It listens to nothing but Home Assistant's birth message. `say` is told once when the broker goes, once
    when it is back.
    """

    def __init__(
        self,
        url: str,
        *,
        device_id: str,
        labels: Sequence[str],
        name: str | None = None,
        username: str | None = None,
        password: str | None = None,
        ca: Path | None = None,
        discovery_prefix: str = "homeassistant",
        base: str = "edgefer",
        say: Callable[[str], None] = lambda _: None,
        keepalive: int = KEEPALIVE,
        delay: Callable[[], float] = lambda: random.uniform(0, 10),
    ) -> None:
        """Begin to connect, and return at once.

        `name` is how Home Assistant calls the device ["edgefer ID"], `delay` gives the seconds until Home Assistant's
        birth message is answered.
        Raises SinkError for settings that can never work, MissingDependencyError without paho-mqtt.
        """
        self._topics = _topics(base, discovery_prefix, device_id)
        self._broker = broker(
            url, f"edgefer-{device_id}", username=username, password=password, ca=ca, keepalive=keepalive
        )
        self.name = f"--mqtt {self._broker}"
        description = homeassistant.discovery(self._topics, labels, name or f"edgefer {device_id}", __version__)
        self._say, self._delay = say, delay
        if password is not None and self._broker.tls is None and self._broker.host not in LOOPBACK:
            say(f"{self._broker}: the password goes over the network unencrypted; prefer mqtts://")
        self._outbox = Outbox(self._topics, description)
        self._outage = _Outage(str(self._broker), say)
        self._cuts: deque[float] = deque(maxlen=CUTS)
        self._rivals_said = False
        self._announce_at: float | None = None
        self._failure: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
        self._thread.start()

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Take note of the newest result; the picture is not looked at. Raises SinkError when the thread has died."""
        self._check()
        self._outbox.newest = (time.monotonic(), result)

    def tell(self, health: Health) -> None:
        """Take note of how the run is doing. Raises SinkError when the thread has died."""
        self._check()
        self._outbox.health = health

    def close(self) -> None:
        """Say `offline` and goodbye, for some seconds at most; what a dead broker misses its last will makes up for."""
        self._closing.set()
        self._thread.join(CLOSE_PATIENCE)

    def _check(self) -> None:
        if self._failure is not None:
            raise SinkError(f"MQTT to {self._broker} ended: {self._failure}")

    def _work(self) -> None:
        wait = 0.0
        try:
            while not self._closing.wait(wait):
                lasted, cut = self._connection()
                if cut and self._has_rival():
                    wait = LONGEST_WAIT  # two that push each other out should not do it every second
                else:
                    wait = FIRST_WAIT if lasted >= STEADY else min(max(FIRST_WAIT, 2 * wait), LONGEST_WAIT)
        except Exception as error:  # a fault of ours: the run hears of it at the next write
            self._failure = f"{type(error).__name__}: {error}"

    def _connection(self) -> tuple[float, bool]:
        """Serve one connection; return the seconds that it lasted and whether the broker cut it."""
        link = Link(
            self._broker,
            will=(self._topics.status, "offline"),
            listen=homeassistant.BIRTH_TOPIC,
            heard=self._home_assistant_says,
        )
        try:
            since = self._serve(link) if link.open() else None
        finally:
            link.drop()
        if self._closing.is_set():
            return 0.0, False
        if since is None or not link.cut:
            self._outage.begins(link.reason, link.refused)
            return 0.0, False
        now = time.monotonic()
        self._cuts.append(now)
        if self._has_rival():
            self._say_once_about_rivals(link.taken_over)
        elif not link.taken_over:
            self._outage.begins(link.reason, link.refused)
        return now - since, True

    def _has_rival(self) -> bool:
        """Return whether connections are cut so often that another client with our id may be why."""
        return len(self._cuts) == CUTS and self._cuts[-1] - self._cuts[0] < CUTS_WITHIN

    def _say_once_about_rivals(self, sure: bool) -> None:
        if self._rivals_said:
            return
        self._rivals_said = True
        who = self._broker.client_id
        seen = (
            f"another client is called {who} too and pushes this one out"
            if sure
            else f"it cuts the connection again and again, as it does when another client is called {who} too"
        )
        self._say(f"{self._broker}: {seen}; give each device an id of its own")

    def _serve(self, link: Link) -> float | None:
        """Publish until the connection ends or we close; return when the broker took us in, None if it did not."""
        since: float | None = None
        while link.turn(TICK):
            now = time.monotonic()
            if self._closing.is_set():
                if link.accepted:
                    link.deliver(self._topics.status, "offline", seconds=2.0)
                link.leave()
                break
            if not link.accepted:
                continue
            if since is None or (self._announce_at is not None and now >= self._announce_at):
                since = now if since is None else since
                self._announce_at = None
                self._outbox.announce(link, now)
            self._outbox.send_due(link, now)
            if link.unheard:
                self._outage.begins(f"it takes us in but not our messages ({link.unheard})", refused=True)
            elif now - since >= STEADY:
                self._outage.ends()
        return since

    def _home_assistant_says(self, payload: bytes) -> None:
        if payload == b"online" and self._announce_at is None:
            self._announce_at = time.monotonic() + self._delay()  # not all devices at the same moment


class _Outage:
    """Says once what is wrong, and once that it is over."""

    def __init__(self, who: str, say: Callable[[str], None]) -> None:
        self._who, self._say = who, say
        self._since: float | None = None
        self._said: set[bool] = set()

    def begins(self, reason: str, refused: bool) -> None:
        """Take note of trouble; that it is away is said once in an outage, and that it refuses us once."""
        if self._since is None:
            self._since = time.monotonic()
        if refused not in self._said:
            self._said.add(refused)
            self._say(f"{self._who}: {reason}; the run goes on, and it is tried again and again")

    def ends(self) -> None:
        """Take note that all is well."""
        if self._since is not None:
            self._say(f"{self._who}: back after {time.monotonic() - self._since:.0f} s")
            self._since = None
            self._said.clear()


def forget(
    url: str,
    *,
    device_id: str,
    username: str | None = None,
    password: str | None = None,
    ca: Path | None = None,
    discovery_prefix: str = "homeassistant",
    base: str = "edgefer",
) -> None:
    """Remove the device from Home Assistant, and what the broker holds of it; the device itself must not be running.

    Raises SinkError when the broker cannot be reached or refuses.
    """
    topics = _topics(base, discovery_prefix, device_id)
    target = broker(url, f"edgefer-{device_id}-forget", username=username, password=password, ca=ca)
    link = Link(target)
    try:
        alive = link.open()
        end = time.monotonic() + KEEPALIVE
        while alive and not link.accepted and time.monotonic() < end:
            alive = link.turn(TICK)
        if not link.accepted:
            raise SinkError(f"{target}: {link.reason or 'it does not answer'}; nothing was removed")
        for topic in (topics.discovery, topics.status, topics.camera):
            if not link.deliver(topic, "", seconds=5.0) or link.unheard:
                reason = link.unheard or link.reason or "it does not confirm"
                raise SinkError(f"{target}: {topic} could not be removed: {reason}")
        link.leave()
    finally:
        link.drop()


def _topics(base: str, discovery_prefix: str, device_id: str) -> homeassistant.Topics:
    """Return the topics; raises SinkError for a name that could reach into those of others."""
    if not _ID.fullmatch(device_id):
        raise SinkError(f"{device_id[:80]!r} is no device id; take 1–64 of the characters a–z A–Z 0–9 _ -")
    for what, prefix in (("base topic", base), ("discovery prefix", discovery_prefix)):
        if not _PREFIX.fullmatch(prefix):
            raise SinkError(f"{prefix[:80]!r} is no {what}; take names of a–z A–Z 0–9 _ - with / between them")
    return homeassistant.Topics(base, discovery_prefix, device_id)
