"""`edgefer run`: a camera, a video or pictures in; faces with emotions out."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from types import FrameType

import click

from edgefer.commands._shared import (
    bundle_argument,
    device_option,
    json_flag,
    open_preferred,
    precision_option,
    profile_for,
    say,
)


@click.command()
@bundle_argument
@click.option(
    "--source",
    metavar="URI",
    help="Camera (0, /dev/video0), stream (rtsp://, http://), video, picture, folder, demo [default: the device's]",
)
@device_option
@click.option(
    "--engine", metavar="NAME", help="litert, onnxruntime, openvino or tflite-runtime [default: the device's choice]"
)
@precision_option
@click.option("--threads", type=click.IntRange(1, 256), help="Threads of the engine [default: the device's choice]")
@click.option(
    "--detector", default="haar", show_default=True, help="haar, or none for pictures that are faces already."
)
@json_flag
@click.option(
    "--record", metavar="FILE.mp4", type=click.Path(path_type=Path, dir_okay=False), help="Write the annotated video."
)
@click.option("--show", is_flag=True, help="Show a window (needs opencv-python and a display).")
@click.option("--frames", type=click.IntRange(min=1), help="Stop after so many frames.")
def command(
    bundle: Path | None,
    source: str | None,
    device: str | None,
    engine: str | None,
    precision: str | None,
    threads: int | None,
    detector: str,
    as_json: bool,
    record: Path | None,
    show: bool,
    frames: int | None,
) -> None:
    """Read emotions from a camera, a video or pictures. Without BUNDLE, the model that ships is used.

    With --json, each frame is one object on standard output:
    {"frame": n, "time": s, "faces": [{"box": [x, y, w, h], "id": n, "label": "happy", "confidence": p, "scores": {…}}]}

    \b
    Examples:
      edgefer run --source 0 --show
      edgefer run --source party.jpg --json
      edgefer run --device jetson --source clip.mp4 --record annotated.mp4

    Frames are not kept unless you ask for --record. Ctrl-C ends the run (exit code 130), SIGTERM too (0).
    """
    from edgefer.bundle import open_bundle
    from edgefer.runtime.detectors import open_detector
    from edgefer.runtime.pipeline import Pipeline, run
    from edgefer.runtime.sinks import Sink
    from edgefer.runtime.sources import open_source
    from edgefer.runtime.tracker import Tracker

    profile = profile_for(device)
    opened = open_bundle(bundle)
    stop = _StopOnSignals()
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop)
        frames_in = stack.enter_context(open_source(source or profile.camera))
        loaded = open_preferred(opened, profile, engine, precision, threads)
        stack.callback(loaded.engine.close)
        say(
            f"{opened.name} ({loaded.artifact.precision}) on {loaded.name} {loaded.engine.version}"
            f" / {loaded.engine.provider}, profile {profile.name}"
        )
        sinks: list[Sink] = []

        def add(sink: Sink) -> None:
            sinks.append(sink)
            stack.callback(sink.close)  # at once: the next sink may fail to open

        if as_json:
            from edgefer.runtime.sinks.jsonl import JsonLines

            add(JsonLines(sys.stdout))
        else:
            from edgefer.runtime.sinks.text import TextLines

            add(TextLines(sys.stdout))
        if record:
            from edgefer.runtime.sinks.video import VideoFile

            add(VideoFile(record, frames_in.fps or 25.0))
        if show:
            from edgefer.runtime.sinks.window import Window

            add(Window())
        pipeline = Pipeline(loaded.engine, opened.labels, opened.preprocess, open_detector(detector), Tracker())
        summary = run(frames_in, pipeline, sinks, max_frames=frames, stopped=stop.asked)
    stages = ", ".join(f"{stage} {ms:.2f}" for stage, ms in summary.stage_p50_ms.items())
    skipped = f", {summary.skipped} unreadable and skipped" if summary.skipped else ""
    say(
        f"{summary.frames} frames{skipped}, {summary.frames_per_second:.1f} frames/s, {summary.faces} faces;"
        f" ms p50: {stages}"
    )
    if record:
        say(f"annotated video: {record}")
    if stop.signal == signal.SIGINT:
        raise click.exceptions.Exit(130)


class _StopOnSignals:
    """Turns the first SIGINT or SIGTERM into a wish to stop after this frame; a second one interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> _StopOnSignals:
        for number in self._previous:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Return whether a signal came."""
        return self.signal is not None

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
