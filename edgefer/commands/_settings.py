"""What `edgefer run` was asked for, checked as a whole."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import click

from edgefer.commands._config import parameters
from edgefer.runtime.frames import CaptureOptions


@dataclass(frozen=True)
class Settings:
    """The parameters of `edgefer run`, by their names there."""

    bundle: Path | None
    source: str
    size: tuple[int, int] | None
    fps: float | None
    rotate: str
    flip: str
    device: str | None
    strict: bool
    engine: str | None
    precision: str | None
    threads: int | None
    detector: str
    detector_model: Path | None
    detector_size: int | None
    detect_every: int | None
    smooth: float
    min_confidence: float
    as_json: bool
    csv: Path | None
    record: Path | None
    show: bool
    serve: str | None
    no_picture: bool
    token_file: Path | None
    mqtt: str | None
    mqtt_user: str | None
    mqtt_password_file: Path | None
    mqtt_ca: Path | None
    device_id: str | None
    blur_faces: bool
    summary: Path | None
    frames: int | None
    stall: float
    max_retries: int | None

    @property
    def capture(self) -> CaptureOptions:
        """How pictures are wanted; raises SourceError for a size out of range."""
        width, height = self.size or (None, None)
        return CaptureOptions(width, height, self.fps, int(self.rotate), self.flip)


def settings_from(context: click.Context, config: Path | None) -> Settings:
    """Return the settings of a call; raises ConfigError, and click's errors for what does not go together."""
    values = parameters(context, config)
    settings = Settings(**{each.name: values[each.name] for each in fields(Settings)})
    for needs, given, other in [
        ("--strict", settings.strict, settings.device),
        ("--no-picture", settings.no_picture, settings.serve),
        ("--token-file", settings.token_file, settings.serve),
        ("--mqtt-user", settings.mqtt_user, settings.mqtt),
        ("--mqtt-password-file", settings.mqtt_password_file, settings.mqtt),
        ("--mqtt-ca", settings.mqtt_ca, settings.mqtt),
        ("--device-id", settings.device_id, settings.mqtt),
        (
            "--blur-faces",
            settings.blur_faces,
            settings.record or settings.show or (settings.serve and not settings.no_picture),
        ),
    ]:
        if given and not other:
            raise click.UsageError(f"{needs} does nothing here: what it belongs to was not asked for")
    return settings
