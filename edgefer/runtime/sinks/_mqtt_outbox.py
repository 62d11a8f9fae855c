"""What there is to publish, and when."""

from __future__ import annotations

from typing import Any

from edgefer.runtime.results import FrameResult, Health
from edgefer.runtime.sinks import _homeassistant as homeassistant
from edgefer.runtime.sinks._mqtt_link import Link

STATE_EVERY = 0.5
"""Seconds between two states while the shown labels stay the same."""


class Outbox:
    """What is known, and what of it was sent over the present connection."""

    def __init__(self, topics: homeassistant.Topics, description: dict[str, Any]) -> None:
        self.newest: tuple[float, FrameResult] | None = None
        """When the newest result came, and the result."""
        self.health: Health | None = None
        self._topics = topics
        self._description = homeassistant.encode(description)
        self._taken: tuple[float, FrameResult] | None = None
        self._state: dict[str, Any] = {}
        self._state_at = self._health_at = 0.0
        self._camera = ""
        self._main_id: int | None = None

    def announce(self, link: Link, now: float) -> None:
        """Send everything anew: the description, the states, and last that we are there."""
        link.publish(self._topics.discovery, self._description, retain=True, qos=1)
        self._state, self._camera = {}, ""
        self._taken, self._health_at = None, now - homeassistant.HEALTH_EVERY
        self.send_due(link, now)
        link.publish(self._topics.status, "online", retain=True, qos=1)

    def send_due(self, link: Link, now: float) -> None:
        """Send what has changed, and what its readers would otherwise take for gone."""
        if link.busy:
            return  # a stalled broker: only the newest state will do once it reads again
        camera = self._camera_status()
        if camera != self._camera:
            self._camera = camera
            link.publish(self._topics.camera, camera, retain=True)
        health = self.health
        if health is not None and now - self._health_at >= homeassistant.HEALTH_EVERY:
            self._health_at = now
            link.publish(self._topics.health, homeassistant.encode(homeassistant.health(health)))
        newest = self.newest
        if newest is None or newest is self._taken or now - newest[0] > homeassistant.STATE_EXPIRES:
            return  # a state counts only while frames come
        main = homeassistant.main_face(newest[1], self._main_id)
        self._main_id = None if main is None else main.id
        state = homeassistant.state(newest[1], main)
        age = now - self._state_at
        relabelled = any(state[key] != self._state.get(key, ...) for key in ("emotion", "emotions"))
        changed = state != self._state and age >= STATE_EVERY
        if relabelled or changed or age >= homeassistant.STATE_EXPIRES / 3:
            self._taken, self._state, self._state_at = newest, state, now
            link.publish(self._topics.state, homeassistant.encode(state))

    def _camera_status(self) -> str:
        if self.health is not None:
            return "online" if self.health.camera == "up" else "offline"
        return "offline" if self.newest is None else "online"
