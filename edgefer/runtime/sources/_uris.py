"""What the kinds of sources share about URIs: what is a path, and what a message may show."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NO_PATHS = ("gst:", "loop:", "demo:", "/dev/")
_SECRET = re.compile(r"(?i)\b([\w-]*(?:pass|pw|token|secret|key|auth)[\w-]*)\s*=\s*(?:\(\w+\))?(?:\\*\"[^\"]*\"?|\S+)")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"']*")


def is_path(uri: str) -> bool:
    """Return whether `uri` can only be a file, folder or pattern."""
    return bool(uri) and "\0" not in uri and not _SCHEME.match(uri) and not uri.startswith(_NO_PATHS)


def shown(uri: str) -> str:
    """Return a URI fit for a message: one line, without user, password and query.

    `rtsp://me:secret@host/live?token=x` → `rtsp://…@host/live?…`. Where it is not certain what is password and what is
    not, all but the scheme is left out.
    """
    if uri.startswith("gst:"):
        uri = _SECRET.sub(r"\1=…", _ADDRESS.sub(lambda found: _shown_address(found[0]), uri))
    elif _SCHEME.match(uri):
        uri = _shown_address(uri)
    elif re.search(r":.*@", uri):  # an address with its scheme forgotten or misspelt
        uri = "…@" + uri.rpartition("@")[2]
    uri = re.sub(r"\?[^/]*=.*", "?…", uri, flags=re.DOTALL)  # what is left of a query, where the address is misspelt
    return "".join(c if c.isprintable() else "�" for c in uri[:300])


def _shown_address(address: str) -> str:
    scheme, _, rest = address.partition("://")
    authority, rest = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if "@" in rest:  # a password with a slash in it looks like this, and so does a path with an @
        return f"{scheme}://…"
    host = authority.rpartition("@")[2]
    if re.search(r":(?![^\]]*\])\D", host):  # no port: the first half of a password with a slash, # or ? in it
        return f"{scheme}://…"
    user = "…@" if "@" in authority else ""
    path, question, _ = rest.partition("?")
    return f"{scheme}://{user}{host}{path.partition('#')[0]}{'?…' if question else ''}"
