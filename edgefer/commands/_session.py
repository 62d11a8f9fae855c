"""One run from its settings: what is opened, in which order, and what ends it."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import FrameType

import click

from edgefer.bundle import Bundle, open_bundle
from edgefer.commands._config import parameters
from edgefer.commands._shared import open_preferred, profile_for
from edgefer.commands._summary import summary_lines
from edgefer.devices.board import temperature
from edgefer.devices.profile import DeviceProfile
from edgefer.errors import EdgeferError, SinkError, SourceError
from edgefer.files import write_text
from edgefer.runtime import sources
from edgefer.runtime.detectors import open_detector
from edgefer.runtime.engines import Engine, LoadedEngine, open_engine
from edgefer.runtime.frames import CaptureOptions, FrameSource
from edgefer.runtime.live import Live, Retry
from edgefer.runtime.loop import run
from edgefer.runtime.pace import Pace
from edgefer.runtime.pipeline import Pipeline
from edgefer.runtime.revive import Reviving
from edgefer.runtime.secret import secret
from edgefer.runtime.sinks import Sink, StopRun, write_line
from edgefer.runtime.smooth import Smoothing
from edgefer.runtime.supervisor import Supervisor
from edgefer.runtime.tally import Summary
from edgefer.runtime.tracker import Tracker

LABEL_MARGIN = 0.1
"""By how much another label must lead a smoothed face's before it takes over."""
ASSUMED_FPS = 15.0
"""Frame rate to keep up with when a camera states none."""
STUCK = 120.0
"""Seconds without a sign of life from the run, after which the process ends itself."""

Camera = tuple[str, CaptureOptions]
"""A live source, as it was asked for."""


def say(message: str) -> None:
    """Talk to a person on standard error; when nobody reads that any more, the run goes on."""
    with contextlib.suppress(StopRun, OSError):
        write_line(sys.stderr, message)


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


class Signals:
    """Notes SIGINT, SIGTERM (stop after this frame) and SIGHUP (read the configuration again).

    Without a configuration SIGHUP means that the terminal has closed, and stops too, unless it is ignored (nohup).
    """

    def __init__(self, *, configured: bool) -> None:
        self.stop: int | None = None
        self.reload = False
        self.opening = True
        """Whether there is nothing yet to be finished: a signal then ends the process at once."""
        self._configured = configured
        self._previous = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        if not configured and self._previous[signal.SIGHUP] == signal.SIG_IGN:
            del self._previous[signal.SIGHUP]

    def __enter__(self) -> Signals:
        for number in self._previous:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and self._configured:
            self.reload = True
        elif self.stop is not None or (self.opening and number == signal.SIGINT):  # a second one interrupts at once
            raise KeyboardInterrupt
        elif self.opening:
            raise SystemExit(0)
        else:
            self.stop = number


def run_sessions(settings: Settings, signals: Signals, reread: Callable[[], Settings]) -> bool:
    """Run, and run anew with what `reread` returns after each SIGHUP; return whether an output failed.

    When the new settings, or what they name, are wrong, that is said and the run goes on with those before. Raises
    EdgeferError for what cannot be opened, and when the camera is given up on.
    """
    failed, frames = False, 0
    before: Settings | None = None
    camera: Camera | None = None
    while True:
        session = _Session(settings, signals, reread)
        with contextlib.ExitStack() as stack:
            signals.opening = True
            try:
                session.open(stack, camera)
            except EdgeferError as error:
                if before is None or before is settings:
                    raise
                say(f"not reloaded, going on as before: {error}")
                if before.record is not None and (done := _recording(before.record)).exists():
                    say(f"{done} ended with the reload, and is not replaced: nothing is recorded any more")
                    before = replace(before, record=None)
                settings = before
                continue
            finally:
                signals.opening = False
            session.run(None if settings.frames is None else settings.frames - frames)
        failed |= session.failed
        frames += session.frames
        after = session.reloaded
        if after is None or signals.stop is not None or (after.frames is not None and frames >= after.frames):
            return failed
        before, settings, camera = settings, after, session.camera


class _Session:
    """A run with one set of settings."""

    def __init__(self, settings: Settings, signals: Signals, reread: Callable[[], Settings]) -> None:
        self.failed = False
        """Whether an output gave up."""
        self.frames = 0
        self._settings = settings
        self._signals = signals
        self._recording = settings.record
        self._reload = _Reload(signals, reread)

    @property
    def reloaded(self) -> Settings | None:
        """New settings to go on with, when they are why it ended."""
        return self._reload.settings

    @property
    def camera(self) -> Camera | None:
        """The camera that it has; None for files."""
        return (self._settings.source, self._settings.capture) if self._source.live else None

    def open(self, stack: contextlib.ExitStack, camera: Camera | None) -> None:
        """Open everything; `stack` closes it. Raises EdgeferError for what cannot be opened.

        `camera` is the one that the session before had: that one may be away just now.
        """
        settings = self._settings
        profile = profile_for(settings.device, settings.strict)
        bundle = open_bundle(settings.bundle)
        self._supervisor = supervisor = Supervisor(stuck_after=STUCK)
        stack.callback(supervisor.stop)
        if camera is not None:  # the watchdog counts on through a reload
            supervisor.moved()
        self._source = source = _source(settings, profile, camera)
        stack.callback(source.__exit__, None, None, None)
        loaded = _engine(settings, bundle, profile)
        self._engine = engine = Reviving(
            loaded.engine, lambda: _engine(settings, bundle, profile, again=loaded).engine, say
        )
        stack.callback(engine.close)
        say(
            f"{bundle.name} ({loaded.artifact.precision}) on {loaded.name} {engine.version} / {engine.provider},"
            f" profile {profile.name}"
        )
        self._pipeline = _pipeline(settings, bundle, engine, source)
        self._temperature = partial(temperature, profile)
        self._recording = settings.record and _recording(settings.record)
        self._sinks = _sinks(settings, bundle, source, self._recording)
        supervisor.ready()

    def run(self, max_frames: int | None) -> None:
        """Run to the end, and say how it went. Raises EdgeferError when the camera is given up on."""
        run(
            self._source,
            self._pipeline,
            self._sinks,
            max_frames=max_frames,
            keep_going=self._keep_going,
            temperature=self._temperature,
            engine_restarts=lambda: self._engine.restarts,
            say=say,
            report=self._report,
        )

    def _keep_going(self) -> bool:
        self._supervisor.moved()
        return self._signals.stop is None and not self._reload.wanted(self._recording)

    def _report(self, summary: Summary) -> None:
        if self._reload.settings is not None and self._signals.stop is None:
            self._supervisor.reloading()
        else:
            self._supervisor.stopping()
        for line in summary_lines(summary):
            say(line)
        self.frames = summary.frames
        self.failed = bool(summary.sink_failures)
        path = self._settings.summary
        if path is not None:
            try:
                write_text(path, json.dumps(summary.to_json(), indent=2) + "\n")
            except OSError as error:
                say(f"--summary {path} cannot be written: {error.strerror or error}")
                self.failed = True


class _Reload:
    """Turns SIGHUP into new settings, if those are sound."""

    def __init__(self, signals: Signals, reread: Callable[[], Settings]) -> None:
        self.settings: Settings | None = None
        self._signals = signals
        self._reread = reread

    def wanted(self, recording: Path | None) -> bool:
        """Return whether the run, which writes `recording`, should end for new settings."""
        if self._signals.reload:
            self._signals.reload = False
            try:
                settings = self._reread()
                open_bundle(settings.bundle)
                if settings.record and _recording(settings.record) == recording:
                    raise SinkError(
                        f"{recording} is being written, and a reload begins a new recording: let the time be part"
                        " of its name, as in clip-%Y%m%d-%H%M%S.mp4"
                    )
            except (EdgeferError, click.ClickException) as error:
                say(f"not reloaded, going on as before: {error.message if hasattr(error, 'message') else error}")
            else:
                say("reloading")
                self.settings = settings
        return self.settings is not None


def _source(settings: Settings, profile: DeviceProfile, camera: Camera | None) -> FrameSource | Live:
    """Open the source; when it is the `camera` that was there before a reload, it may be away just now."""
    uri, options = settings.source, settings.capture
    source: FrameSource | None = None
    try:
        if uri == "auto":
            uri, source = sources.open_first(profile.cameras, options)
            say(f"source: {sources.shown(uri)}")
        else:
            source = sources.open_source(uri, options)
    except SourceError:
        if (settings.source, options) != camera:
            raise
    if source is not None and not source.live:
        return source

    def reopen() -> FrameSource:
        return sources.open_first(profile.cameras, options)[1] if uri == "auto" else sources.open_source(uri, options)

    retry = Retry(stall=settings.stall, most=settings.max_retries)
    return Live(source, reopen, where=sources.shown(uri), retry=retry, say=say)


def _engine(
    settings: Settings, bundle: Bundle, profile: DeviceProfile, again: LoadedEngine | None = None
) -> LoadedEngine:
    """Open the engine that is asked for or preferred; `again`: the same as before, without a choice."""
    if again is not None:
        threads = settings.threads or profile.threads
        return open_engine(bundle, again.name, again.artifact.precision, threads, profile.providers)
    return open_preferred(bundle, profile, settings.engine, settings.precision, settings.threads)


def _pipeline(settings: Settings, bundle: Bundle, engine: Engine, source: FrameSource | Live) -> Pipeline:
    rate = (source.fps or settings.fps or ASSUMED_FPS) if source.live else None
    every = settings.detect_every
    if every is None and settings.blur_faces:
        every = 1  # a face that moves on from a box that is carried would be seen
    moving = source.live or source.fps is not None  # else pictures that have nothing to do with one another
    smoothing = Smoothing(settings.smooth, LABEL_MARGIN if settings.smooth else 0.0, settings.min_confidence)
    return Pipeline(
        engine,
        bundle.labels,
        bundle.preprocess,
        open_detector(settings.detector, settings.detector_model, continuous=moving),
        Tracker(),
        smoothing,
        Pace(every, rate),
    )


def _sinks(settings: Settings, bundle: Bundle, source: FrameSource | Live, recording: Path | None) -> list[Sink]:
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


def _recording(path: Path) -> Path:
    """Return the name of a recording that begins now; raises SinkError when the time makes none of it."""
    try:
        return path.with_name(time.strftime(path.name))
    except ValueError as error:
        raise SinkError(f"--record {path}: the time makes no file's name of it; use %Y%m%d-%H%M%S") from error


def _preview(settings: Settings, address: str, bundle: Bundle) -> Sink:
    from edgefer.runtime.sinks.web import WebPreview

    host, port = _host_and_port(address)
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


def _host_and_port(address: str) -> tuple[str, int]:
    """Return host and port of `8377`, `0.0.0.0:8377` or `[::1]:8377`; without a host, loopback."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise SinkError(f"--serve {address}: give a port, or an address and a port, as in 8377 or 0.0.0.0:8377")
    return host.strip("[]") or "127.0.0.1", int(port)
