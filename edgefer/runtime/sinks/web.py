"""The web preview: one page with the live picture, the faces and their emotions over time, read-only."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

from edgefer import plugins
from edgefer.errors import SinkError
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import Sink

_START_SECONDS = 10.0
_END_SECONDS = 3.0


class WebPreview(Sink):
    """Serves the preview on `host` (name or address) and `port` (0: a free one) from a thread of its own.

    An address that other machines reach needs a token; without one, one is made. Pictures are made only while somebody
    watches, and nothing is kept.
    """

    name = "--serve"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        token: str | None,
        picture: bool = True,
        blur: bool = False,
        labels: Sequence[str],
        title: str,
    ) -> None:
        """Listen, and answer from now on; raises SinkError when that is not possible, or the token is of no use.

        `labels` are the model's, in order. Without `picture` the page shows figures alone; with `blur` faces are
        blurred before anything is encoded.
        """
        plugins.require("aiohttp", "web", "the web preview")
        from edgefer.runtime.sinks._web import address, guard, page, pictures
        from edgefer.runtime.sinks._web.feed import Feed
        from edgefer.runtime.sinks._web.figures import hello
        from edgefer.runtime.sinks._web.routes import Routes
        from edgefer.runtime.sinks._web.server import Server

        def draw(frame: Frame, result: FrameResult) -> bytes:
            return pictures.jpeg(frame.image, result.faces, blur)

        if token is not None:
            guard.check_token(token)
        listener = address.listen(host, port)
        made = secrets.token_urlsafe(24) if token is None and not address.is_loopback(listener) else None
        token = token or made
        port = int(listener.getsockname()[1])
        self.guarded = token is not None
        """Whether a token is needed."""
        self.address = address.url(address.shown_host(listener), port)
        """Where the page is, without token."""
        self.link = f"{self.address}?token={made}" if made else self.address
        """What to open: with the token if it was made here, for nobody knows it otherwise."""
        self._fault: str | None = None
        self._feed = Feed(draw if picture else None)
        first = hello(title, labels, picture, blur)
        routes = Routes(guard.Guard(token, host, port), page.load(), first, self._feed, picture)
        self._server = Server(listener, routes, self._feed)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), name="edgefer web", daemon=True)
        self._thread.start()
        if not ready.wait(_START_SECONDS) or self._fault is not None:
            self._server.stop()
            raise SinkError(f"the web preview did not start: {self._fault or 'the machine is too busy; try again'}")

    def write(self, frame: Frame, result: FrameResult) -> None:
        """Put the frame where the server finds it, and return at once; raises SinkError when the server has failed."""
        self._check()
        self._feed.show(frame, result)

    def tell(self, health: Health) -> None:
        """Pass on how the run is doing; raises as `write` does."""
        self._check()
        self._feed.tell(health)

    def close(self) -> None:
        """Stop the server, whoever is watching; raises SinkError when it does not stop."""
        self._server.stop()
        self._thread.join(_END_SECONDS)
        if self._thread.is_alive():
            raise SinkError(f"the web preview did not stop within {_END_SECONDS:.0f} s")

    def _check(self) -> None:
        if self._fault is not None:
            raise SinkError(f"the web preview has failed: {self._fault}")

    def _serve(self, ready: threading.Event) -> None:
        try:
            self._server.run(ready.set)
        except Exception as error:  # it cannot leave the thread: `write` raises it
            self._fault = str(error) if isinstance(error, SinkError) else f"{type(error).__name__}: {error}"
            ready.set()
