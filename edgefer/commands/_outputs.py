"""The outputs of a run, opened as its settings say."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from edgefer.bundle import Bundle
from edgefer.commands._settings import Settings
from edgefer.errors import SinkError
from edgefer.runtime.frames import FrameSource
from edgefer.runtime.live import Live
from edgefer.runtime.secret import secret
from edgefer.runtime.sinks import Sink, StopRun, write_line


def say(message: str) -> None:
    """Talk to a person on standard error; when nobody reads that any more, the run goes on."""
    with contextlib.suppress(StopRun, OSError):
        write_line(sys.stderr, message)


def open_sinks(settings: Settings, bundle: Bundle, source: FrameSource | Live, recording: Path | None) -> list[Sink]:
    """Open every output that was asked for; when one cannot be opened, those before it are closed."""
    result: list[Sink] = []
    with contextlib.ExitStack() as opening:
        for open_it in _openers(settings, bundle, source, recording):
            result.append(open_it())
            opening.callback(result[-1].close)
        opening.pop_all()  # from here on the run closes them
    return result


def _openers(
    settings: Settings, bundle: Bundle, source: FrameSource | Live, recording: Path | None
) -> Iterator[Callable[[], Sink]]:
    if settings.as_json:
        from edgefer.runtime.sinks.jsonl import JsonLines

        yield partial(JsonLines, sys.stdout)
    else:
        from edgefer.runtime.sinks.text import TextLines

        yield partial(TextLines, sys.stdout)
    if settings.csv:
        from edgefer.runtime.sinks.csv import CsvFile

        yield partial(CsvFile, settings.csv, bundle.labels)
    if recording:
        from edgefer.runtime.sinks.video import VideoFile

        yield partial(VideoFile, recording, source.fps or 25.0, blur=settings.blur_faces, by_time=source.live)
    if settings.show:
        from edgefer.runtime.sinks.window import Window

        yield partial(Window, blur=settings.blur_faces)
    if settings.serve:
        yield partial(_preview, settings, settings.serve, bundle)
    if settings.mqtt:
        yield partial(_mqtt, settings, settings.mqtt, bundle)


def recording_path(path: Path) -> Path:
    """Return the name of a recording that begins now; raises SinkError when the time makes none of it."""
    try:
        return path.with_name(time.strftime(path.name))
    except ValueError as error:
        raise SinkError(f"--record {path}: the time makes no file's name of it; use %Y%m%d-%H%M%S") from error


def _preview(settings: Settings, address: str, bundle: Bundle) -> Sink:
    from edgefer.runtime.sinks.web import WebPreview

    host, port = host_and_port(address)
    preview = WebPreview(
        host,
        port,
        token=secret("EDGEFER_TOKEN", settings.token_file),
        picture=not settings.no_picture,
        blur=settings.blur_faces,
        labels=bundle.labels,
        title=f"edgefer: {bundle.name}",
    )
    known = preview.guarded and preview.link == preview.address
    say(f"preview: {preview.link}{'?token=YOUR-TOKEN' if known else ''}")
    return preview


def _mqtt(settings: Settings, url: str, bundle: Bundle) -> Sink:
    from edgefer.runtime.sinks.mqtt import Mqtt, default_device_id

    return Mqtt(
        url,
        device_id=settings.device_id or default_device_id(),
        labels=bundle.labels,
        username=settings.mqtt_user,
        password=secret("EDGEFER_MQTT_PASSWORD", settings.mqtt_password_file),
        ca=settings.mqtt_ca,
        say=say,
    )


def host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of `8377`, `0.0.0.0:8377` or `[::1]:8377`; without a host, loopback."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise SinkError(f"--serve {address}: give a port, or an address and a port, as in 8377 or 0.0.0.0:8377")
    return host.strip("[]") or "127.0.0.1", int(port)
