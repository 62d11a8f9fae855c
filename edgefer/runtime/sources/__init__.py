"""Where frames come from: one file a kind, chosen by the URI and imported only then.

A kind is a module with

- `FORM`: how its URIs look, for people;
- `ADJUSTABLE`: whether a size and a rate can be asked for;
- `matches(uri) -> bool`: cheap, opens nothing; no two kinds match the same URI;
- `open_source(uri, options) -> FrameSource`: gives pictures as they come. Rotating and flipping is done here.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import cast

from edgefer import plugins
from edgefer.errors import EdgeferError, SourceError
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.sources._uris import shown

__all__ = ["open_first", "open_source", "shown"]


def open_source(uri: str, options: CaptureOptions = CaptureOptions()) -> FrameSource:
    """Open the source that `uri` names, and return it ready to iterate.

    Raises SourceError when it is of no known form (the forms are listed), is missing, gives no picture, or cannot be
    asked for the size or rate that `options` has.
    """
    kind = _kind(uri)
    wishes = [name for name in ("width", "height", "fps") if getattr(options, name) is not None]
    if wishes and not kind.ADJUSTABLE:
        raise SourceError(
            f"{shown(uri)} cannot be asked for {' and '.join(wishes)}: it gives its pictures as they are; leave it out"
        )
    source = cast(FrameSource, kind.open_source(uri, options))
    if options.rotate == 0 and options.flip == "none":
        return source
    from edgefer.runtime.sources._turned import Turned

    return Turned(source, options)


def open_first(
    uris: Iterable[str],
    options: CaptureOptions = CaptureOptions(),
) -> tuple[str, FrameSource]:
    """Open the first of `uris` that can be opened, and return which one it is, and the source.

    Raises SourceError when none can, with what each try found.
    """
    found = []
    for uri in uris:
        try:
            return uri, open_source(uri, options)
        except EdgeferError as error:  # a package that is missing is a finding too
            found.append(f"{shown(uri)}: {error}")
    raise SourceError("no source could be opened; " + ("; ".join(found) if found else "there was none to try"))


def _kind(uri: str) -> ModuleType:
    kinds = [plugins.load(__name__, name, SourceError, "source") for name in plugins.names(__name__)]
    for kind in kinds:
        if kind.matches(uri):
            return kind
    forms = "; ".join(f"{kind.FORM}" for kind in kinds)
    raise SourceError(f"{shown(uri)!r} is no source and no such file or folder exists; a source is one of: {forms}")
