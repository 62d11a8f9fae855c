"""What the runtime says of a frame, and the JSON form of it that scripts may rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgefer.preprocess import Box


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
    """Label → probability, in the order of the model."""


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
            "frame": int(self.frame),
            "time": round(float(self.time), 4),
            "faces": [
                {
                    "box": [int(n) for n in (face.box.x, face.box.y, face.box.width, face.box.height)],
                    "id": int(face.id),
                    "label": face.label,
                    "confidence": round(float(face.confidence), 6),
                    "scores": {label: round(float(score), 6) for label, score in face.scores.items()},
                }
                for face in self.faces
            ],
            "stages_ms": {stage: round(float(ms), 4) for stage, ms in self.stage_ms.items()},
        }
        if self.name is not None:
            data["name"] = self.name
        return data
