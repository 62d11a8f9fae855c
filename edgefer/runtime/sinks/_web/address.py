"""Where the preview listens, and how people reach it."""

from __future__ import annotations

import errno
import ipaddress
import socket

from edgefer.errors import SinkError

_REASONS = {
    errno.EADDRINUSE: "another program listens there; choose another port, or 0 for a free one",
    errno.EADDRNOTAVAIL: "this machine has no such address; use 127.0.0.1, or 0.0.0.0 for every address it has",
    errno.EACCES: "that is not allowed; choose a port above 1023",
}


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` (name or address) and `port` (0: a free one).

    Raises SinkError when the address is not ours, cannot be found, or the port is taken.
    """
    place = f"{host}:{port}"
    if not 0 <= port <= 65535:
        raise SinkError(f"the web preview cannot listen on {place}: a port is a number from 0 to 65535")
    if not host:
        raise SinkError("the web preview needs an address to listen on: 127.0.0.1, or 0.0.0.0 for every address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise SinkError(f"the web preview cannot listen on {place}: no address is known for that name") from error
    family, kind, protocol, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        reason = _REASONS.get(error.errno or 0, error.strerror or "it failed")
        raise SinkError(f"the web preview cannot listen on {place}: {reason}") from error
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Return whether nobody outside this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def shown_host(listener: socket.socket) -> str:
    """Return the address that people put into a browser; for `every address`, the one that other machines see."""
    address = ipaddress.ip_address(listener.getsockname()[0])
    if not address.is_unspecified:
        return str(address)
    # A datagram socket that is connected sends nothing; it only learns which address it would send from.
    target = "192.0.2.1" if address.version == 4 else "2001:db8::1"
    with socket.socket(listener.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
        except OSError:  # no network yet
            return socket.gethostname()


def url(host: str, port: int) -> str:
    """Return the http address of a host (name or address) and port."""
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
