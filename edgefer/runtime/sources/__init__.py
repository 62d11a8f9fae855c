"""Where frames come from: one file a kind, chosen by the URI and imported only then.

A kind is a module with `FORM` (how its URIs look, for people), `matches(uri) -> bool` (cheap, opens nothing) and
`open_source(uri) -> FrameSource`; no two kinds match the same URI.
"""

from __future__ import annotations

from typing import cast

from edgefer import plugins
from edgefer.errors import SourceError
from edgefer.runtime.frames import FrameSource


def open_source(uri: str) -> FrameSource:
    """Open the source that `uri` names, and return it ready to iterate.

    Raises SourceError when it is of no known form (the forms are listed), is missing, or gives no picture.
    """
    kinds = [plugins.load(__name__, name, SourceError, "source") for name in plugins.names(__name__)]
    for kind in kinds:
        if kind.matches(uri):
            return cast(FrameSource, kind.open_source(uri))
    forms = "; ".join(f"{kind.FORM}" for kind in kinds)
    raise SourceError(f"{uri!r} is no source and no such file or folder exists; a source is one of: {forms}")
