"""The server of the web preview: an event loop in a thread of its own, and a limit on everything that it holds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from edgefer.runtime.sinks._web.feed import Feed
from edgefer.runtime.sinks._web.routes import Routes
from edgefer.runtime.sinks._web.sending import limit

MAX_CONNECTIONS = 64
"""Whatever they are there for; the next one is closed at once."""
ASK_SECONDS = 5.0
"""In which a connection has to send its request."""
_END_SECONDS = 0.4
_ACCEPT_AGAIN_SECONDS = 0.2
_log = logging.getLogger(__name__)


class Server:
    """Serves `routes` on a listening socket until `stop`, which any thread may call."""

    def __init__(self, listener: socket.socket, routes: Routes, feed: Feed) -> None:
        self._listener = listener
        self._routes = routes
        self._feed = feed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._unasked: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until `stop`, and call `ready` once requests are answered. Raises what making a picture raises."""
        try:
            asyncio.run(self._serve(ready))
        finally:
            self._listener.close()

    def stop(self) -> None:
        """Ask `run` to return; it does within about a second."""
        if self._loop is None:
            self._stopping.set()  # it has not begun, and ends as soon as it does
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: it has ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        # aiohttp would log what clients send wrongly, with whatever secrets are in it: those records go nowhere.
        silent = logging.Logger("edgefer web preview", logging.CRITICAL + 1)
        server = web.Server(
            self._answer,
            handler_cancellation=True,
            access_log=None,
            logger=silent,
            lingering_time=0,
            max_line_size=4096,
        )
        with ThreadPoolExecutor(1, thread_name_prefix="edgefer jpeg") as pool:
            making = self._loop.create_task(self._feed.produce(pool))
            accepting = self._loop.create_task(self._accept(server))
            stopping = self._loop.create_task(self._stopping.wait())
            tasks: set[asyncio.Task[object]] = {making, accepting, stopping}
            ready()
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._end(server)
        for task in ended:
            task.result()  # raises what ended it, if it was not `stop`

    async def _end(self, server: web.Server) -> None:
        """Let answers come to their end, and cut off those that do not."""
        transports = [handler.transport for handler in server.connections]
        self._feed.close()
        await server.shutdown(_END_SECONDS)
        for timer in self._unasked.values():
            timer.cancel()
        for transport in transports:
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0.01)  # sockets are closed in the loop's next rounds

    async def _accept(self, server: web.Server) -> None:
        self._listener.setblocking(False)
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
                await self._let_in(server, connection)
            except OSError:  # the client has gone again, or this process has too many files open
                await asyncio.sleep(_ACCEPT_AGAIN_SECONDS)

    async def _let_in(self, server: web.Server, connection: socket.socket) -> None:
        """Take a connection if there is room; one that asks for nothing is closed after ASK_SECONDS."""
        if len(server.connections) >= MAX_CONNECTIONS:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        limit(connection)
        _, handler = await loop.connect_accepted_socket(server, connection)
        self._unasked[handler] = loop.call_later(ASK_SECONDS, self._close_door, handler)

    def _close_door(self, handler: web.RequestHandler) -> None:
        del self._unasked[handler]
        handler.force_close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        timer = self._unasked.pop(request.protocol, None)
        if timer is None or request.transport is None:
            raise ConnectionResetError  # too late: the connection is being closed
        timer.cancel()
        request.transport.set_write_buffer_limits(high=0)  # draining then waits until the kernel has everything
        try:
            return await self._routes.answer(request)
        except ConnectionError:
            raise
        except Exception:
            _log.exception("the web preview could not answer a request")
            raise
