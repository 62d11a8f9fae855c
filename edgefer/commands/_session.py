"""One run from its settings: what is opened, in which order, and what ends it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from edgefer.bundle import Bundle, open_bundle
from edgefer.commands._outputs import open_sinks, recording_path, say
from edgefer.commands._settings import Settings
from edgefer.commands._shared import open_preferred, profile_for
from edgefer.commands._signals import Signals
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
                if before.record is not None and (done := recording_path(before.record)).exists():
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
        self._recording = settings.record and recording_path(settings.record)
        self._sinks = open_sinks(settings, bundle, source, self._recording)
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
                if settings.record and recording_path(settings.record) == recording:
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
        open_detector(settings.detector, settings.detector_model, continuous=moving, size=settings.detector_size),
        Tracker(),
        smoothing,
        Pace(every, rate),
    )
