"""What a person should know before pointing this at people: said at the first run of each user."""

from __future__ import annotations

import contextlib

from edgefer import places
from edgefer.commands._shared import say

NOTICE = """\
note: edgefer finds faces and estimates emotions from them: biometric processing of people. In the EU it is prohibited
      at work and in education (AI Act, Article 5). Tell the people whom the camera sees. No picture is kept or sent
      unless --record or --serve ask for it. More: docs/privacy.md. This is said once."""


def show_once() -> None:
    """Say the notice unless this user was told before; where that cannot be remembered, say it each time."""
    folder = places.state()
    if folder is None:
        say(NOTICE)
        return
    mark = folder / "notice-1"
    with contextlib.suppress(OSError):  # a folder of another user
        if mark.exists():
            return
    say(NOTICE)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        mark.touch()
