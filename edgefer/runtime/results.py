"""What the runtime says of a frame and of itself, and the JSON form that scripts may rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgefer.preprocess import Box

SCHEMA = 1
"""Version of the JSON of a frame; it grows when a field is taken away or changes its meaning, not when one is added."""

UNCERTAIN = "uncertain"
"""What people are shown in place of a label that is not certain."""


@dataclass(frozen=True)
class FaceResult:
    """One face of a frame and its emotion."""

    box: Box
    id: int
    """The same number in every frame in which the tracker knows the face."""
    label: str
    confidence: float
    """The probability of `label`, 0–1."""
    scores: dict[str, float]
    """Label → probability, in the order of the model; smoothed over time where that was asked for."""
    certain: bool = True
    """Whether the confidence reaches the threshold of the run; once it has, whether it stays near enough to it."""
    raw_label: str = ""
    """The label of this frame alone, before smoothing; for figures on flicker, not in the JSON."""
    detected: bool = True
    """Whether the detector saw the face in this very frame; otherwise the box is where it was last seen."""

    @property
    def shown(self) -> str:
        """The label as people should read it: `uncertain` when it is not certain."""
        return self.label if self.certain else UNCERTAIN


@dataclass(frozen=True)
class FrameResult:
    """All faces of one frame."""

    frame: int
    time: float
    """Seconds, as in Frame."""
    faces: tuple[FaceResult, ...]
    stage_ms: dict[str, float]
    """Stage of the pipeline → milliseconds."""
    name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain Python data for `json.dumps`; boxes are [x, y, width, height] in whole pixels."""
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "frame": int(self.frame),
            "time": round(float(self.time), 4),
            "faces": [
                {
                    "box": [int(n) for n in (face.box.x, face.box.y, face.box.width, face.box.height)],
                    "id": int(face.id),
                    "label": face.label,
                    "confidence": round(float(face.confidence), 6),
                    "certain": face.certain,
                    "detected": face.detected,
                    "scores": {label: round(float(score), 6) for label, score in face.scores.items()},
                }
                for face in self.faces
            ],
            "stages_ms": {stage: round(float(ms), 4) for stage, ms in self.stage_ms.items()},
        }
        if self.name is not None:
            data["name"] = self.name
        return data


@dataclass(frozen=True)
class Health:
    """How a run is doing: told to every sink about once a second, and at once when the camera goes or comes back."""

    camera: str
    """`up`, or `lost` while it is tried again."""
    seconds: float
    """Since the run began."""
    frames: int
    fps: float
    """Frames a second over the last seconds; 0 while the camera is lost."""
    dropped: int
    """Frames that a newer one replaced before they were looked at."""
    reconnects: int
    stage_ms: dict[str, float]
    """Stage → median milliseconds over the last seconds, `capture` and `emit` among them."""
    temperature: float | None
    """Of the hottest zone of the board, °C."""
