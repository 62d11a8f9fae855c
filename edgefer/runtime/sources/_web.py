"""A GET whose every byte has a deadline: a server that trickles cannot hold us."""

from __future__ import annotations

import base64
import http.client
import io
import socket
import ssl
import time
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from edgefer.errors import SourceError
from edgefer.runtime.sources._uris import shown

MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)


class Answer:
    """The answer to a request, its body still to be read. `allow` gives the time for what is read next."""

    def __init__(self, wire: _Wire, response: http.client.HTTPResponse, uri: str) -> None:
        self.uri = uri
        """Where it came from in the end, after redirections; with the password, if any."""
        self.status = response.status
        self.headers = response.headers
        self._wire = wire
        self._response = response

    def allow(self, seconds: float) -> None:
        """Let everything that is read from now on take so many seconds in all."""
        self._wire.deadline = time.monotonic() + seconds

    def read(self, most: int) -> bytes:
        """Return what has come, at most so many bytes; b"" at the end. Raises OSError or HTTPException."""
        return self._response.read1(most)

    def close(self) -> None:
        """Let go of the connection."""
        self._response.close()
        self._wire.hang_up()


def ask(uri: str, timeout: float) -> Answer:
    """Ask for an http or https address and return the answer; the caller closes it.

    Redirections are followed to http and https only, and the password goes to no other host. Raises SourceError when
    nothing answers within `timeout` seconds, or with anything but 200.
    """
    try:
        return _ask(uri, timeout)
    except ssl.SSLCertVerificationError as error:
        raise SourceError(
            f"{shown(uri)} shows a certificate that cannot be verified ({error.verify_message}); install its authority"
            " on this machine, or use http:// inside your own network"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise SourceError(f"no camera at {shown(uri)}: {reason(error)}; check address, power and network") from error


def _ask(uri: str, timeout: float) -> Answer:
    deadline = time.monotonic() + timeout
    for _ in range(MOST_REDIRECTS + 1):
        answer = _ask_once(uri, deadline)
        if answer.status == 200:
            return answer
        answer.close()
        if answer.status not in _REDIRECTS:
            raise SourceError(_refusal(answer))
        uri = _redirected(uri, answer.headers.get("Location", ""))
    raise SourceError(f"{shown(uri)}: more than {MOST_REDIRECTS} redirections; give the address where they end")


def _ask_once(uri: str, deadline: float) -> Answer:
    parts = _split(uri)
    if not parts.hostname:
        raise ValueError("the address names no host")
    secure = parts.scheme.lower() == "https"
    port = parts.port or (443 if secure else 80)
    connection: socket.socket = socket.create_connection((parts.hostname, port), max(0.01, deadline - time.monotonic()))
    try:
        if secure:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        connection.sendall(_request(parts))
        wire = _Wire(connection, deadline)
        response = http.client.HTTPResponse(cast(socket.socket, wire), method="GET")
        response.begin()
        return Answer(wire, response, uri)
    except BaseException:
        connection.close()
        raise


def _split(uri: str) -> SplitResult:
    """Return the parts of an address; raises ValueError, in words of our own: Python's would repeat a password."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        raise ValueError("the address is no URL; in a password write @ : / ? # as %40 %3A %2F %3F %23") from None
    return parts


def _request(parts: SplitResult) -> bytes:
    path = quote(parts.path or "/", safe="/%:=&~+!$,;'@()*")
    query = "?" + quote(parts.query, safe="/%:=&?~+!$,;'@()*[]") if parts.query else ""
    host = parts.netloc.rpartition("@")[2]
    if not host.isascii() and parts.hostname:
        host = parts.hostname.encode("idna").decode("ascii") + (f":{parts.port}" if parts.port else "")
    lines = [f"GET {path}{query} HTTP/1.1", f"Host: {host}", "User-Agent: edgefer", "Accept: */*", "Connection: close"]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append("Authorization: Basic " + base64.b64encode(pair.encode()).decode("ascii"))
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _redirected(uri: str, location: str) -> str:
    before, target = _split(uri), urljoin(uri, location)
    after = _split(target)
    if not location or after.scheme.lower() not in ("http", "https"):
        raise SourceError(f"{shown(uri)} sends us on to {after.scheme or 'nothing'}, where no camera is looked for")
    same = (before.scheme, before.hostname, before.port) == (after.scheme, after.hostname, after.port)
    if same and before.username is not None and after.username is None:
        return after._replace(netloc=before.netloc).geturl()
    return target


def _refusal(answer: Answer) -> str:
    where = shown(answer.uri)
    if answer.status == 401:
        scheme = (answer.headers.get("WWW-Authenticate") or "none").split()[0]
        return (
            f"{where} asks for a user and a password ({scheme[:20]}); write http://USER:PASSWORD@HOST/…, which is sent"
            " as Basic, and allow that in the camera's settings"
        )
    return f"{where} answered {answer.status}; check the address in a browser"


def reason(error: Exception) -> str:
    """Return what a fault of the network is, in one line; what a server sent may be part of it."""
    if isinstance(error, TimeoutError):
        return "nothing came in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "".join(c if c.isprintable() else "�" for c in str(text)[:200])


class _Wire(io.RawIOBase):
    """What HTTPResponse reads from, in place of a socket: each wait ends at the deadline."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline
        self._connection = connection

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return the reader that HTTPResponse asks a socket for."""
        return io.BufferedReader(self, 65_536)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; raises TimeoutError past the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("nothing came in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)

    def hang_up(self) -> None:
        """Close the connection itself."""
        self._connection.close()
