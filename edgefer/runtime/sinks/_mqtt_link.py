"""One connection to an MQTT broker, driven by the thread that opened it, over paho-mqtt.

Each connection has a client of its own, so nothing that an old one left unsent can come out late in a new one: a stale
`offline` sent after the fresh `online` is the classic fault of programs that stay up for months.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from edgefer import plugins
from edgefer.errors import SinkError
from edgefer.runtime.sources import shown

PORTS = {"mqtt": 1883, "mqtts": 8883}
KEEPALIVE = 15
"""Seconds of silence until the broker is asked whether it is there; after as many more without answer it is gone."""
CONNECT_TIMEOUT = 5.0
"""Seconds for TCP, and as many for TLS."""
MAX_PACKET = 4096
"""Bytes of the largest message that a broker may send us; nothing that we ask for is larger than `offline`."""
SESSION_TAKEN_OVER = 142
_ENDINGS = {"Keep alive timeout": "it does not answer any more", "Unspecified error": "connection lost"}
_HOST = re.compile(r"[A-Za-z0-9_.:%-]{1,253}")


@dataclass(frozen=True)
class Broker:
    """Where the broker is and who we are to it."""

    scheme: str
    host: str
    port: int
    client_id: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    keepalive: int = KEEPALIVE

    def __str__(self) -> str:
        """Return how messages name it; no secret is in it."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def broker(
    url: str,
    client_id: str,
    *,
    username: str | None = None,
    password: str | None = None,
    ca: Path | None = None,
    keepalive: int = KEEPALIVE,
) -> Broker:
    """Return the broker that `url` (`mqtt://host[:port]`, or `mqtts://` for TLS) names.

    Certificates and host names are always checked, against `ca` (PEM) or else the system's authorities. Raises
    SinkError for a URL of another form, a CA file that cannot be read, or settings that do not go together.
    """
    _paho("client")
    form = "it must be mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
    if "@" in url:  # not repeated in the message: it may hold a password
        raise SinkError(f"an MQTT URL with user name or password is refused; {form}, secrets come from elsewhere")
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:  # its text is not repeated, nor is a URL of another form: either may hold a password
        raise SinkError(f"{shown(url)!r} is no MQTT URL; {form}, with a port from 1 to 65535") from None
    if scheme not in PORTS or parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
        raise SinkError(f"{shown(url)!r} is no MQTT URL; {form}")
    if not _HOST.fullmatch(host) or any(not 1 <= len(part) <= 63 for part in host.removesuffix(".").split(".")):
        raise SinkError(f"{shown(url)!r} names no host that can be looked up; {form}")
    if password is not None and username is None:
        raise SinkError("an MQTT password needs a user name too")
    for what, text in (("user name", username), ("password", password)):
        if text is not None and not 0 < len(text.encode("utf-8", "replace")) <= MAX_PACKET:
            raise SinkError(f"an MQTT {what} has 1–{MAX_PACKET} bytes")
        if text is not None and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
            raise SinkError(f"the MQTT {what} holds characters that MQTT does not know; give UTF-8")
    if ca is not None and scheme != "mqtts":
        raise SinkError(f"{url!r} does not use TLS, so a CA file means nothing; write mqtts://, or leave the file out")
    tls = _tls(ca) if scheme == "mqtts" else None
    return Broker(scheme, host, port or PORTS[scheme], client_id, username, password, tls, keepalive)


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError is one
        reason = "holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise SinkError(f"the CA file {ca} cannot be used: {reason}; give the PEM file of your broker's CA") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Link:
    """One connection: `open`, then `turn` again and again until it says that the connection is over, then `drop`."""

    def __init__(
        self,
        broker: Broker,
        *,
        will: tuple[str, str] | None = None,
        listen: str | None = None,
        heard: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """Prepare a connection with a retained last will (topic, payload).

        `heard` gets what is sent to the topic `listen` while we are connected; never what the broker had retained.
        """
        paho = _paho("client")
        self.accepted = False
        """Whether the broker has taken us in."""
        self.reason = ""
        """Why the connection ended, for people."""
        self.refused = False
        """Whether the broker or its certificate is why, so that waiting alone will not help."""
        self.unheard = ""
        """Why the broker does not pass our messages on although it took us in, for people."""
        self.cut = False
        """Whether the broker ended it without a reason, or because of a namesake."""
        self.taken_over = False
        """Whether it ended because somebody else came with our client id; not every broker tells."""
        self._broker = broker
        self._listen, self._heard = listen, heard
        self._options = _paho("subscribeoptions").SubscribeOptions(qos=0, retainHandling=2)  # nothing retained, please
        self._properties = _paho("properties").Properties(_paho("packettypes").PacketTypes.CONNECT)
        self._properties.MaximumPacketSize = MAX_PACKET
        self._paho = paho
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, broker.client_id, protocol=paho.MQTTv5)
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_queued_messages_set(100)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        if will is not None:
            client.will_set(will[0], will[1], qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client._sock_recv = _bounded(client._sock_recv)
        self._client = client

    def open(self) -> bool:
        """Connect, in some 10 s at most where names are looked up quickly; False, with `reason`, when it failed."""
        broker = self._broker
        try:
            self._client.connect(
                broker.host, broker.port, broker.keepalive, clean_start=True, properties=self._properties
            )
        except (OSError, ValueError) as error:
            self.reason, self.refused = _words(error), isinstance(error, ssl.SSLCertVerificationError)
            return False
        return True

    def turn(self, timeout: float) -> bool:
        """Send and receive for `timeout` seconds at most; False, with `reason`, when the connection is over."""
        try:
            code = self._client.loop(timeout)
        except _TooMuch as error:
            self.reason = str(error)
            return False
        except Exception as error:  # paho raises whatever its parser stumbles over when a broker sends nonsense
            self.reason = f"what it sends is not MQTT ({type(error).__name__})"
            return False
        if code == self._paho.MQTT_ERR_SUCCESS and self._client.socket() is not None:
            return True
        self.reason = self.reason or self._paho.error_string(code)
        return False

    def publish(self, topic: str, payload: str, *, retain: bool = False, qos: int = 0) -> None:
        """Hand a message over; it is lost when the connection is."""
        self._client.publish(topic, payload, qos=qos, retain=retain)

    @property
    def busy(self) -> bool:
        """Whether something handed over has not left yet."""
        return bool(self._client.want_write())

    def deliver(self, topic: str, payload: str, seconds: float) -> bool:
        """Publish a retained message and wait until the broker has confirmed it; False when it did not."""
        info = self._client.publish(topic, payload, qos=1, retain=True)
        end = time.monotonic() + seconds
        while not info.is_published():
            if time.monotonic() > end or not self.turn(0.05):
                return False
        return True

    def leave(self, seconds: float = 1.0) -> None:
        """Say goodbye to the broker, so that it keeps the last will to itself."""
        self._client.disconnect()
        end = time.monotonic() + seconds
        while self._client.socket() is not None and time.monotonic() < end and self.turn(0.05):
            pass

    def drop(self) -> None:
        """Close the connection, if it is open still, and let go of everything."""
        client = self._client
        client.on_connect = client.on_disconnect = client.on_message = client.on_publish = None  # breaks the cycles
        vars(client).pop("_sock_recv", None)
        sock = client.socket()
        if sock is not None:
            sock.close()

    def _on_connect(self, client: Any, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            self.reason, self.refused = f"it refuses us: {reason}", True
            return
        if self._listen is not None:
            client.subscribe(self._listen, options=self._options)
        self.accepted = True

    def _on_disconnect(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        self.taken_over = reason.value == SESSION_TAKEN_OVER
        self.cut = self.taken_over or str(reason) == "Unspecified error"
        if not self.reason:
            self.reason = _ENDINGS.get(str(reason), str(reason))

    def _on_message(self, _: Any, __: Any, message: Any) -> None:
        if not message.retain and message.topic == self._listen:
            self._heard(message.payload)

    def _on_publish(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self.unheard = str(reason)


class _TooMuch(Exception):
    """The broker began a message that is larger than it was told to send."""


def _bounded(receive: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return paho's `receive`, for small messages alone: paho itself would take 256 MB into memory."""

    def bounded(most: int) -> bytes:
        if most > MAX_PACKET:
            raise _TooMuch(f"it sends a message of {most} bytes, at most {MAX_PACKET} are taken")
        return receive(most)

    return bounded


def _paho(module: str) -> ModuleType:
    return plugins.require(f"paho.mqtt.{module}", "mqtt", "MQTT")


def _words(error: Exception) -> str:
    """Return what the system said, without numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
