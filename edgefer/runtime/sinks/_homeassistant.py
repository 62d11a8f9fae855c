"""What goes over MQTT: the states, and the description by which Home Assistant finds the device."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgefer.runtime.results import UNCERTAIN, FaceResult, FrameResult, Health

NOBODY = "none"
"""What Home Assistant shows as emotion while no face is seen."""
BIRTH_TOPIC = "homeassistant/status"
"""Where Home Assistant says that it has started, whatever its discovery prefix is."""
STATE_EXPIRES = 60
"""Seconds after which a state that was not sent again counts for nothing."""
HEALTH_EVERY = 30
CLEARLY_LARGER = 1.25
"""Times as large must a face be to become the main one; two of one size would take turns at it otherwise."""
LABEL_CHARACTERS = 32
COUNTED_LABELS = 12


@dataclass(frozen=True)
class Topics:
    """Where the messages of one device go."""

    base: str
    discovery_prefix: str
    device_id: str

    @property
    def status(self) -> str:
        """`online` while the program is connected; the broker says `offline` when it goes without a goodbye."""
        return f"{self.base}/{self.device_id}/status"

    @property
    def camera(self) -> str:
        """`online` while the camera gives frames."""
        return f"{self.base}/{self.device_id}/camera/status"

    @property
    def state(self) -> str:
        """What is seen."""
        return f"{self.base}/{self.device_id}/state"

    @property
    def health(self) -> str:
        """How the run is doing."""
        return f"{self.base}/{self.device_id}/health"

    @property
    def discovery(self) -> str:
        """The device's description; retained."""
        return f"{self.discovery_prefix}/device/{self.device_id}/config"


def encode(payload: object) -> str:
    """Return compact JSON that is valid UTF-8 whatever names hold."""
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def main_face(result: FrameResult, before: int | None) -> FaceResult | None:
    """Return the largest face; the one with the id `before` stays it until another is clearly larger."""

    def size(face: FaceResult) -> float:
        return face.box.width * face.box.height * (CLEARLY_LARGER if face.id == before else 1.0)

    return max(result.faces, key=size, default=None)


def state(result: FrameResult, main: FaceResult | None) -> dict[str, Any]:
    """Return what is seen, in less than 2 kB however many faces and labels there are; `main` is the main face."""
    shown = Counter(_short(face.shown) for face in result.faces)
    return {
        "faces": len(result.faces),
        "emotion": None if main is None else _short(main.shown),
        "confidence": None if main is None else round(float(main.confidence), 3),
        "emotions": dict(sorted(shown.most_common(COUNTED_LABELS))),
    }


def health(report: Health) -> dict[str, Any]:
    """Return how the run is doing."""
    return {
        "fps": round(float(report.fps), 2),
        "dropped": int(report.dropped),
        "reconnects": int(report.reconnects),
        "temperature": None if report.temperature is None else round(float(report.temperature), 1),
        "seconds": round(float(report.seconds)),
    }


def discovery(topics: Topics, labels: Sequence[str], name: str, version: str) -> dict[str, Any]:
    """Return Home Assistant's description of the device (MQTT device discovery, Home Assistant 2024.11 and later)."""
    alive = {"topic": topics.status}
    options = list(dict.fromkeys([*map(_short, labels), UNCERTAIN, NOBODY]))
    seen = {"platform": "sensor", "state_topic": topics.state, "expire_after": STATE_EXPIRES}
    # What concerns the run stays available while the camera is away.
    doing = {
        "platform": "sensor",
        "state_topic": topics.health,
        "entity_category": "diagnostic",
        "state_class": "measurement",
        "expire_after": 4 * HEALTH_EVERY,
        "availability": [alive],
    }
    components: dict[str, dict[str, Any]] = {
        "emotion": {
            **seen,
            "name": "Emotion",
            "device_class": "enum",
            "options": options,
            "value_template": f"{{{{ value_json.emotion or '{NOBODY}' }}}}",
        },
        "confidence": {
            **seen,
            "name": "Confidence",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "value_template": (
                "{{ (value_json.confidence * 100) | round(0) if value_json.confidence is not none else None }}"
            ),
        },
        "faces": {
            **seen,
            "name": "Faces",
            "state_class": "measurement",
            "value_template": "{{ value_json.faces }}",
        },
        "fps": {
            **doing,
            "name": "Frames per second",
            "unit_of_measurement": "fps",
            "value_template": "{{ value_json.fps }}",
        },
        "temperature": {
            **doing,
            "name": "Temperature",
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "value_template": "{{ value_json.temperature }}",
        },
        "camera": {
            "platform": "binary_sensor",
            "name": "Camera",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": topics.camera,
            "payload_on": "online",
            "payload_off": "offline",
            "availability": [alive],
        },
    }
    for key, component in components.items():
        component["unique_id"] = f"edgefer_{topics.device_id}_{key}"
    return {
        "device": {
            "identifiers": [f"edgefer_{topics.device_id}"],
            "name": name,
            "manufacturer": "edgefer",
            "model": "edgefer camera",
            "sw_version": version,
        },
        "origin": {"name": "edgefer", "sw_version": version},
        "availability": [alive, {"topic": topics.camera}],
        "availability_mode": "all",
        "components": components,
    }


def _short(label: str) -> str:
    return label[:LABEL_CHARACTERS]
