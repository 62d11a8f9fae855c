"""What the preview answers: a page, its figures, its picture, and health for monitors. There is nothing else."""

from __future__ import annotations

import json
import time

from aiohttp import web

from edgefer.runtime.sinks._web.feed import Feed
from edgefer.runtime.sinks._web.figures import health_json, number
from edgefer.runtime.sinks._web.guard import Guard
from edgefer.runtime.sinks._web.page import Page
from edgefer.runtime.sinks._web.sending import begin, line, send, whole

MAX_CLIENTS = 16
"""Of the picture, and as many of the figures; an open page is one of each."""
QUIET_SECONDS = 5.0
"""After which a client without news is sent a sign of life."""
STALE_SECONDS = 10.0
"""Without a frame for so long, the run is not healthy."""
_EVENTS = "text/event-stream"
_MJPEG = "multipart/x-mixed-replace; boundary=frame"
_BOUNDARY = b"--frame\r\n"


class Routes:
    """Answers requests."""

    def __init__(self, guard: Guard, page: Page, hello: bytes, feed: Feed, picture: bool) -> None:
        """`hello` is the first event of every connection."""
        self._guard = guard
        self._page = page
        self._hello = hello
        self._feed = feed
        self._routes = {"/": self._show_page, "/events": self._events, "/health": self._health}
        if picture:
            self._routes["/stream"] = self._stream

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or refuse it."""
        refusal = self._guard.refuse(request)
        if refusal is not None:
            return await line(request, refusal.status, refusal.text, refusal.headers)
        route = self._routes.get(request.path)
        if route is None:
            return await line(request, 404, "There is no such page.")
        return await route(request)

    async def _show_page(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {"Content-Security-Policy": self._page.policy, "Content-Type": "text/html; charset=utf-8"}
        if self._guard.guarded:
            cookie = f"{self._guard.cookie_name}={self._guard.cookie_value}"
            headers["Set-Cookie"] = f"{cookie}; Path=/; HttpOnly; SameSite=Strict"
        return await whole(request, 200, self._page.body, headers)

    async def _health(self, request: web.BaseRequest) -> web.StreamResponse:
        feed = self._feed
        age = None if feed.last_frame is None else time.monotonic() - feed.last_frame
        lost = feed.health is not None and feed.health.camera != "up"
        healthy = age is not None and age <= STALE_SECONDS and not lost
        data = {"healthy": healthy, "frame_age": number(age)} | (health_json(feed.health) if feed.health else {})
        body = json.dumps(data, allow_nan=False).encode() + b"\n"
        return await whole(request, 200 if healthy else 503, body, {"Content-Type": "application/json"})

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "HEAD":
            return await whole(request, 200, b"", {"Content-Type": _MJPEG})
        pictures = self._feed.pictures
        if pictures.watchers >= MAX_CLIENTS:
            return await _full(request)
        with self._feed.watch(pictures):
            response = await begin(request, _MJPEG, _BOUNDARY)
            seen = pictures.number
            while not pictures.closed:
                picture = await pictures.after(seen, QUIET_SECONDS)
                if picture is not None:
                    seen = pictures.number
                    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
                    # The boundary comes at once, so that nobody waits for the next picture to show this one.
                    await send(request, response, head + picture + b"\r\n" + _BOUNDARY)
            return response

    async def _events(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "HEAD":
            return await whole(request, 200, b"", {"Content-Type": _EVENTS})
        events = self._feed.events
        if events.watchers >= MAX_CLIENTS:
            return await _full(request)
        with self._feed.watch(events):
            self._feed.refresh()
            number, seen = events.number, self._feed.news
            response = await begin(request, _EVENTS, self._hello + seen.health)
            while not events.closed:
                news = await events.after(number, QUIET_SECONDS)
                if news is None:
                    await send(request, response, b": no news\n\n")
                    continue
                text = news.since(seen)
                number, seen = events.number, news
                await send(request, response, text)
            return response


async def _full(request: web.BaseRequest) -> web.StreamResponse:
    text = f"{MAX_CLIENTS} people are watching already; try again later."
    return await line(request, 503, text, {"Retry-After": "10"})
