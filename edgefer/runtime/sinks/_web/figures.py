"""Results and health as the page gets them: server-sent events with JSON in which every number is finite."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from edgefer.runtime.annotate import COLOURS
from edgefer.runtime.frames import Frame
from edgefer.runtime.results import UNCERTAIN, FaceResult, FrameResult, Health

_OTHERS = ("#5ad1c8", "#f28fb1", "#a5c84c", "#8f9bf0", "#d9a066", "#6fc3f7", "#e0e07a", "#c792ea")
"""For labels that the picture has no colour of its own for."""
_RETRY_MS = 2000


def hello(title: str, labels: Sequence[str], picture: bool, blur: bool) -> bytes:
    """Return the first event of a connection: what does not change while the run goes on."""
    data = {
        "title": title,
        "labels": list(labels),
        "colours": [_colour(label, index) for index, label in enumerate(labels)],
        "uncertain": _colour(UNCERTAIN, 0),
        "picture": picture,
        "blur": blur,
    }
    return f"retry: {_RETRY_MS}\n".encode() + event("hello", data)


def frame_event(frame: Frame, result: FrameResult) -> bytes:
    """Return the event of one frame; boxes are [x, y, width, height] in pixels of `size`, the camera's picture."""
    height, width = frame.image.shape[:2]
    data = {
        "frame": int(result.frame),
        "time": number(result.time),
        "size": [int(width), int(height)],
        "faces": [_face(face) for face in result.faces],
    }
    return event("frame", data, int(result.frame))


def health_event(health: Health) -> bytes:
    """Return the event that says how the run is doing."""
    return event("health", health_json(health))


def health_json(health: Health) -> dict[str, Any]:
    """Return plain data of a Health."""
    return {
        "camera": health.camera,
        "seconds": number(health.seconds),
        "frames": int(health.frames),
        "fps": number(health.fps),
        "dropped": int(health.dropped),
        "reconnects": int(health.reconnects),
        "stage_ms": {stage: number(ms) for stage, ms in health.stage_ms.items()},
        "temperature": number(health.temperature),
    }


def event(name: str, data: dict[str, Any], number: int | None = None) -> bytes:
    """Return a server-sent event; the JSON is ASCII and has no line breaks, so nothing in it can end the event."""
    identity = "" if number is None else f"id: {number}\n"
    return f"event: {name}\n{identity}data: {json.dumps(data, allow_nan=False)}\n\n".encode()


def number(value: float | None) -> float | None:
    """Return the number for JSON, which knows neither NaN nor infinity: None then."""
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _face(face: FaceResult) -> dict[str, Any]:
    box = face.box
    return {
        "box": [int(n) for n in (box.x, box.y, box.width, box.height)],
        "id": int(face.id),
        "label": face.shown,
        "confidence": number(face.confidence),
        "certain": bool(face.certain),
        "scores": {label: number(score) for label, score in face.scores.items()},
    }


def _colour(label: str, index: int) -> str:
    if label not in COLOURS:
        return _OTHERS[index % len(_OTHERS)]
    blue, green, red = COLOURS[label]
    return f"#{red:02x}{green:02x}{blue:02x}"
