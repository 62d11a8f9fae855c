"""Writing to a client, with a limit on how long it may take: who does not read is dropped."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable

from aiohttp import web

from edgefer.runtime.sinks._web.guard import HEADERS, NOTHING

WRITE_SECONDS = 5.0
"""In which a client has to take what it is sent."""
SEND_BUFFER = 64 * 1024
"""About one picture: what waits in the kernel is old when it arrives."""


def limit(connection: socket.socket) -> None:
    """Make the kernel hold little of what a client has not taken, and notice a client that takes nothing or is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * WRITE_SECONDS))


async def line(
    request: web.BaseRequest, status: int, text: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Answer with a line of text."""
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    return await whole(request, status, f"{text}\n".encode(), plain | (headers or {}))


async def whole(request: web.BaseRequest, status: int, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Answer with all of it, and close the connection."""
    response = web.Response(status=status, body=body, headers=_safe(headers))
    response.force_close()
    await response.prepare(request)
    await _in_time(request, response.write_eof())
    return response


async def begin(request: web.BaseRequest, kind: str, first: bytes) -> web.StreamResponse:
    """Begin an answer of content type `kind` that goes on until the connection is closed."""
    response = web.StreamResponse(headers=_safe({"Content-Type": kind}))
    response.force_close()
    await response.prepare(request)
    await send(request, response, first)
    return response


async def send(request: web.BaseRequest, response: web.StreamResponse, data: bytes) -> None:
    """Send more of an answer that was begun; raises ConnectionError when the client is gone or does not read."""
    await _in_time(request, response.write(data))


async def _in_time(request: web.BaseRequest, writing: Awaitable[None]) -> None:
    async def drained() -> None:
        await writing
        await request.writer.drain()

    try:
        await asyncio.wait_for(drained(), WRITE_SECONDS)
    except asyncio.TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError from None


def _safe(headers: dict[str, str]) -> dict[str, str]:
    return HEADERS | {"Content-Security-Policy": NOTHING} | headers
