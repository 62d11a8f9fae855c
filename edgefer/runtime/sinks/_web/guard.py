"""Who may ask: token, Host, Origin, method. Everything that is not plainly allowed is refused."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgefer.errors import SinkError

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

TOKEN_LENGTHS = range(12, 257)
METHODS = ("GET", "HEAD")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Server": "edgefer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Sent with every answer, beside the Content-Security-Policy."""
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy that lets nothing be loaded."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    text: str
    headers: dict[str, str] = field(default_factory=dict)


def check_token(token: str) -> str:
    """Return the token if it is fit for use; raises SinkError, without the token in the message."""
    if len(token) not in TOKEN_LENGTHS:
        raise SinkError(
            f"the token of the web preview has {len(token)} characters; it needs {TOKEN_LENGTHS[0]} to"
            f" {TOKEN_LENGTHS[-1]}, or leave it out and one is made"
        )
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise SinkError("the token of the web preview may have ASCII letters, digits and signs, and no spaces")
    return token


class Guard:
    """Judges each request; knows the token's digests only."""

    def __init__(self, token: str | None, host: str, port: int) -> None:
        """`host` is what the user asked to listen on: a name that a request may use."""
        self.guarded = token is not None
        self._digest = _digest(token or "")
        self._host = host.lower()
        # Cookies do not know ports: another server of this machine is sent this one, so the token itself is not in it.
        self.cookie_name = f"edgefer_{port}"
        self.cookie_value = hmac.new((token or "").encode(), b"cookie of the web preview", "sha256").hexdigest()

    def refuse(self, request: BaseRequest) -> Refusal | None:
        """Return why the request is refused, None if it may be answered."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or not request.raw_path.startswith("/"):
            return Refusal(400, "This is no request for the preview.")
        if self.guarded and not self._fits(request):
            advice = "Open the link with the token that belongs to this run."
            return Refusal(401, f"The token is missing or wrong. {advice}", {"WWW-Authenticate": "Bearer"})
        # A name that points here may be anybody's (DNS rebinding); who has the token has not been lured.
        if not self.guarded and not self._is_ours(hosts[0]):
            return Refusal(403, "The preview answers to localhost and 127.0.0.1, not to other names.")
        if not _same_site(request, hosts[0]):
            return Refusal(403, "Other pages may not use the preview.")
        if request.method not in METHODS:
            return Refusal(405, "The preview can be read, nothing else.", {"Allow": ", ".join(METHODS)})
        return None

    def _fits(self, request: BaseRequest) -> bool:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request.query.get("token", "")
        cookie = request.cookies.get(self.cookie_name, "")
        fits = hmac.compare_digest(_digest(given), self._digest)
        return hmac.compare_digest(_digest(cookie), _digest(self.cookie_value)) or fits

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name == "localhost" or name == self._host:
            return True
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


def _same_site(request: BaseRequest, host: str) -> bool:
    """Return whether the request comes from our own page, from a person, or from no browser at all."""
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return False
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return True
    return bool(request.path == "/" and request.headers.get("Sec-Fetch-Dest") == "document")  # a link was followed


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
