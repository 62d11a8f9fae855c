"""Fetching a known model: https, bounded, resumed where it stopped, and in place only once its hash is right."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from edgefer import __version__
from edgefer.errors import DetectorError
from edgefer.files import HeldError, alone, sync_folder
from edgefer.runtime import models
from edgefer.runtime.models import KnownModel

MIRROR = "EDGEFER_MODELS_URL"
"""Environment variable: the folder of a mirror that has the files under their own names."""

_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server; seconds."""

    read: float = 15.0
    """For a connection, and for every piece."""
    slowest: float = 1024.0
    """Bytes a second below which a transfer is given up, ..."""
    slow_after: float = 20.0
    """... once it has had so long."""
    attempts: int = 3
    """At one address, each going on where the last stopped."""
    pause: float = 0.5
    """Between attempts."""
    lock: float = 60.0
    """For another edgefer that fetches the same model."""


class _TryAgain(Exception):
    """The connection failed; what came is kept, and the next attempt goes on from there."""


class _GiveUp(Exception):
    """This address will not give the file."""


def pull(
    model: KnownModel,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
    patience: Patience = Patience(),
) -> Path:
    """Return the cached file of `model`, fetched if it is not there or is not what it should be.

    `progress(done, total)` counts bytes, `say` takes what a person should know. Raises DetectorError when it cannot be
    had, with what to do, and OSError when the cache cannot be written. What came so far is kept for the next time.
    """
    target = models.path(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    addresses = _addresses(model)
    faults = []
    try:
        with alone(target.with_name(f".{target.name}.lock"), patience.lock):
            try:
                if models.read(model) is not None:
                    return target
            except DetectorError as error:
                say(f"note: {error}")
            for url in addresses:
                try:
                    return _fetch(url, model, target, progress, patience)
                except _GiveUp as fault:
                    faults.append(f"{urllib.parse.urlsplit(url).hostname}: {fault}")
    except HeldError as error:
        raise DetectorError(
            f"another edgefer has been fetching {model.name} for {patience.lock:.0f} s: wait for it, or end it"
        ) from error
    raise DetectorError(
        f"{model.name} cannot be fetched ({'; '.join(faults)}); get {addresses[0]} ({model.bytes} bytes,"
        f" SHA-256 {model.sha256}) by other means and name it with --detector-model FILE"
    )


def _addresses(model: KnownModel) -> tuple[str, ...]:
    """Return where to ask: the mirror alone, if there is one; raises DetectorError for a mirror that is not safe."""
    base = os.environ.get(MIRROR)
    if not base:
        return model.urls
    try:
        parts = urllib.parse.urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text is not repeated: it may hold half a password
        raise DetectorError(f"{MIRROR} is no URL; it must be https://HOST[:PORT]/FOLDER") from None
    if "@" in base or parts.query or parts.fragment:
        raise DetectorError(f"{MIRROR} must have no user name, password, query or fragment in it")
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))):
        raise DetectorError(f"{MIRROR} is {base!r}; it must begin with https:// (http:// only for this machine itself)")
    return (f"{base.rstrip('/')}/{model.file}",)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fetch(url: str, model: KnownModel, target: Path, progress: Callable[[int, int], None], patience: Patience) -> Path:
    """Bring the file from one address into place; raises _GiveUp."""
    part = target.with_name(f"{target.name}.part")
    for attempt in range(1, patience.attempts + 1):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            with part.open("ab") as file:
                _receive(url, model, file, progress, patience)
                file.flush()
                os.fsync(file.fileno())
            if _sha256(part) == model.sha256:
                os.replace(part, target)
                sync_folder(target.parent)
                return target
            part.unlink()
            if not resumed:  # what stood there before may have been the wrong half
                raise _GiveUp("what it gives has another SHA-256")
        except _TryAgain as fault:
            if attempt == patience.attempts:
                raise _GiveUp(str(fault)) from fault
            time.sleep(patience.pause)
    raise _GiveUp("what it gives has another SHA-256")


def _receive(
    url: str, model: KnownModel, file: IO[bytes], progress: Callable[[int, int], None], patience: Patience
) -> None:
    """Append what is missing of the file, all of it; raises _TryAgain or _GiveUp."""
    have = file.tell()
    if have > model.bytes:
        have = _emptied(file)
    if have == model.bytes:
        return
    try:
        with _open(url, have, patience.read) as response:
            if response.status == 200:
                have = _emptied(file)
            elif not str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
                _emptied(file)
                raise _TryAgain("it goes on at another place than it was asked to")
            offered = response.headers.get("Content-Length", "")
            if offered.isdecimal() and offered != str(model.bytes - have):
                _emptied(file)
                raise _GiveUp(f"it offers {offered[:20]} bytes where {model.bytes - have} are missing")
            for piece in _pieces(response, patience):
                have += len(piece)
                if have > model.bytes:
                    _emptied(file)
                    raise _GiveUp(f"it gives more than the {model.bytes} bytes expected")
                file.write(piece)
                progress(have, model.bytes)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            _emptied(file)
        again = error.code in (408, 416, 429) or error.code >= 500
        raise (_TryAgain if again else _GiveUp)(
            f"HTTP {error.code} {http.client.responses.get(error.code, '')}"
        ) from error
    except TimeoutError as error:
        raise _TryAgain(f"no answer within {patience.read:g} s") from error
    except urllib.error.URLError as error:
        raise _TryAgain(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (ConnectionError, http.client.HTTPException) as error:
        raise _TryAgain(f"the connection broke: {type(error).__name__}") from error
    if have < model.bytes:
        raise _TryAgain(f"the connection ended after {have} of {model.bytes} bytes")


def _pieces(response: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """Yield what comes, as it comes; raises _TryAgain when it only trickles."""
    start, got = time.monotonic(), 0
    while piece := _read(response, patience):
        got += len(piece)
        yield piece
        seconds = time.monotonic() - start
        if seconds > patience.slow_after and got / seconds < patience.slowest:
            raise _TryAgain(f"too slow: {got} bytes in {seconds:.0f} s")


def _read(response: http.client.HTTPResponse, patience: Patience) -> bytes:
    try:
        return response.read1(_CHUNK)
    except TimeoutError as error:
        raise _TryAgain(f"nothing came for {patience.read:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(f"the connection broke: {type(error).__name__}") from error


def _open(url: str, have: int, timeout: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": f"edgefer/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if _loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers)
    response: http.client.HTTPResponse = urllib.request.build_opener(*handlers).open(request, timeout=timeout)
    return response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https alone; urllib bounds how many."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Any:
        """Return the next request; raises _GiveUp for an address that is not https."""
        if urllib.parse.urlsplit(newurl).scheme != "https":
            fp.close()
            shown = re.sub(r"[?#].*|//[^/]*@", "", newurl)[:80]
            raise _GiveUp(f"it redirects to {shown!r}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _emptied(file: IO[bytes]) -> int:
    """Throw away what is in the file; 0 bytes are left."""
    file.seek(0)
    file.truncate()
    return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
