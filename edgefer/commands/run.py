"""`edgefer run`: a camera, a video or pictures in; faces with emotions out."""

from __future__ import annotations

import math
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgefer.commands._sections import Command, Option
from edgefer.commands._shared import bundle_argument
from edgefer.errors import EdgeferError

_source = partial(click.option, cls=Option, section="Source")
_model = partial(click.option, cls=Option, section="Model and device")
_faces = partial(click.option, cls=Option, section="Faces and emotions")
_output = partial(click.option, cls=Option, section="Output, any number at once")
_long = partial(click.option, cls=Option, section="Long runs")

_file = click.Path(path_type=Path, dir_okay=False)


class _Size(click.ParamType):  # type: ignore[type-arg]
    """`1280x720`."""

    name = "WxH"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return (width, height)."""
        if isinstance(value, tuple):
            return value
        width, x, height = str(value).lower().partition("x")
        if not (x and width.isdecimal() and height.isdecimal() and width.isascii() and height.isascii()):
            self.fail(f"{value!r} is no size; give width and height as in 1280x720", parameter, context)
        return int(width), int(height)


class _Range(click.FloatRange):
    """A number within limits; `nan` is within all of them, and would switch off what it is for."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, parameter, context)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", parameter, context)
        return number


class _Every(click.ParamType):  # type: ignore[type-arg]
    """`auto` or a number."""

    name = "auto|N"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the number; None for `auto`."""
        if value is None or value == "auto":
            return None
        if not (str(value).isascii() and str(value).isdecimal() and 1 <= int(value) <= 1000):
            self.fail(f"{value!r} is neither auto nor a number from 1 to 1000", parameter, context)
        return int(value)


class _DetectorSize(click.ParamType):  # type: ignore[type-arg]
    """`auto` or a width."""

    name = "auto|160|320|640"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the width; None for `auto`."""
        if value is None or value == "auto":
            return None
        if str(value) not in ("160", "320", "640"):
            self.fail(f"{value!r} is none of auto, 160, 320, 640", parameter, context)
        return int(value)


@click.command(cls=Command)
@bundle_argument
@_source(
    "--source",
    metavar="URI",
    default="auto",
    show_default=True,
    help="auto (what the device prefers), 0, /dev/video0, picamera2://, csi://0, gst:PIPELINE, rtsp://…, http://…,"
    " clip.mp4, party.jpg, photos/, 'photos/*.jpg', demo",
)
@_source("--size", type=_Size(), help="Size to ask the camera for.")
@_source("--fps", type=_Range(0, 1000, min_open=True), metavar="RATE", help="Frame rate to ask the camera for.")
@_source("--rotate", type=click.Choice(["0", "90", "180", "270"]), default="0", help="Turn the picture clockwise.")
@_source("--flip", type=click.Choice(["none", "h", "v"]), default="none", help="Mirror the picture.")
@_model(
    "--device",
    metavar="NAME",
    help="Device profile, such as rpi5 or jetson [default: this machine's; see edgefer devices]",
)
@_model("--strict", is_flag=True, help="Refuse a --device that this machine is not.")
@_model(
    "--engine", metavar="NAME", help="litert, onnxruntime, openvino or tflite-runtime [default: the device's choice]"
)
@_model(
    "--precision",
    type=click.Choice(["int8", "dynamic", "fp16", "fp32"]),
    help="[default: what the device prefers, if the bundle has it]",
)
@_model("--threads", type=click.IntRange(1, 256), help="Threads of the engine [default: the device's choice]")
@_faces(
    "--detector",
    metavar="NAME",
    default="edge",
    show_default=True,
    help="edge, haar, yunet, or none for pictures that are faces already.",
)
@_faces(
    "--detector-model",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Another detector's bundle for edge, or the file of yunet [default: the one that ships; what edgefer models"
    " pull fetched]",
)
@_faces(
    "--detector-size",
    type=_DetectorSize(),
    default="auto",
    show_default=True,
    help="Width of the picture that edge looks at: the larger, the smaller the faces that it finds, and the longer it"
    " takes; auto: 320 for videos and cameras, 640 for pictures.",
)
@_faces(
    "--detect-every",
    type=_Every(),
    default="auto",
    show_default=True,
    help="Look for faces in every Nth frame, and carry them in between; auto: as often as a camera's rate allows,"
    " in files and with --blur-faces always.",
)
@_faces(
    "--smooth",
    type=_Range(0, 60),
    metavar="SECONDS",
    default=0.5,
    show_default=True,
    help="Average each face over about so long, and hold its label until another leads clearly; 0: each frame alone."
    " Pictures are never averaged.",
)
@_faces(
    "--min-confidence",
    type=_Range(0, 1),
    metavar="P",
    default=0.4,
    show_default=True,
    help="People are shown 'uncertain' below this, or, with --smooth, once a label that reached it falls 0.1 below it;"
    ' JSON has the label all the same, with "certain": false.',
)
@_output("--json", "as_json", is_flag=True, help="One JSON object a frame on standard output, nothing else.")
@_output("--csv", metavar="FILE", type=_file, help="A row a face; goes on with a file that is there.")
@_output(
    "--record",
    metavar="FILE.mp4",
    type=_file,
    help="The annotated video, a new file; %Y%m%d-%H%M%S in its name become the time.",
)
@_output("--show", is_flag=True, help="A window (needs opencv-python and a display); q closes it and ends the run.")
@_output(
    "--serve",
    metavar="[HOST:]PORT",
    is_flag=False,
    flag_value="127.0.0.1:8377",
    help="A page with picture, emotions and figures [without a value: 127.0.0.1:8377]. Other addresses need a token:"
    " EDGEFER_TOKEN, --token-file, or one that is made and printed.",
)
@_output("--no-picture", is_flag=True, help="--serve without the picture: figures alone.")
@_output("--token-file", metavar="FILE", type=_file, help="Where the token of --serve stands.")
@_output(
    "--mqtt",
    metavar="URL",
    help="Publish to mqtt://HOST[:PORT] or mqtts://…, with Home Assistant discovery. Password: EDGEFER_MQTT_PASSWORD or"
    " --mqtt-password-file.",
)
@_output("--mqtt-user", metavar="NAME", help="User of the broker.")
@_output("--mqtt-password-file", metavar="FILE", type=_file, help="Where the broker's password stands.")
@_output("--mqtt-ca", metavar="FILE", type=_file, help="Certificate that the broker's is checked with.")
@_output("--device-id", metavar="ID", help="Name of this device in MQTT [default: made from the machine's]")
@_output(
    "--blur-faces",
    is_flag=True,
    help="Make the faces that are found unrecognisable in --record, --show, --serve. With --detect-every N a face that"
    " moves is seen beside its blurred place.",
)
@_output("--summary", metavar="FILE.json", type=_file, help="Write the figures of the run when it ends.")
@_long("--frames", type=click.IntRange(min=1), help="Stop after so many frames.")
@_long(
    "--stall",
    type=_Range(1, 3600),
    metavar="SECONDS",
    default=20.0,
    show_default=True,
    help="Open a camera anew when it gives nothing for so long.",
)
@_long(
    "--max-retries", type=click.IntRange(min=0), metavar="N", help="Give up on a lost camera after N failures in a row."
)
@_long("--config", metavar="FILE.toml", type=_file, help="Options from a file; SIGHUP reads it again.")
@click.pass_context
def command(context: click.Context, /, config: Path | None, **_: Any) -> None:
    """Read emotions from a camera, a video or pictures. Without BUNDLE, the model that ships is used.

    With --json, each frame is one object on standard output (docs/json.md):
    {"frame": n, "time": s, "faces": [{"box": [x, y, w, h], "id": n, "label": "happy", "confidence": p, "scores": {…}}]}

    \b
    Examples:
      edgefer run                                     the camera, lines of text
      edgefer run --source 0 --serve                  a page at http://127.0.0.1:8377
      edgefer run --source party.jpg --json
      edgefer run --device jetson --source clip.mp4 --record annotated.mp4
      edgefer run --source rtsp://cam/1 --mqtt mqtt://broker --max-retries 10

    No picture is kept or sent unless --record or --serve ask for it. A camera that goes is tried again until it is
    back. Exit code: 0 done (SIGTERM too), 1 the source or an output failed, 130 Ctrl-C or a second signal.
    """
    from edgefer.commands._notice import show_once
    from edgefer.commands._outputs import say
    from edgefer.commands._session import run_sessions
    from edgefer.commands._settings import settings_from
    from edgefer.commands._signals import Signals
    from edgefer.quiet import native_errors_silenced
    from edgefer.runtime.outlet import any_stuck

    def read() -> Any:
        return settings_from(context, config)

    settings = read()
    show_once()
    try:
        with native_errors_silenced(), Signals(configured=config is not None) as signals:
            failed = run_sessions(settings, signals, read)
        code = 130 if signals.stop == signal.SIGINT else int(failed)
    except (EdgeferError, KeyboardInterrupt) as error:
        if not any_stuck():
            raise
        interrupted = isinstance(error, KeyboardInterrupt)
        say(f"edgefer: {'interrupted' if interrupted else error}")
        code = 130 if interrupted else 1
    if any_stuck():  # Python would wait for its lock on standard output, and abort
        os._exit(code)
    raise click.exceptions.Exit(code)
