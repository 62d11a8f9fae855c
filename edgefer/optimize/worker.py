"""A process of its own for what TensorFlow does: it can be killed, and its crash is an error instead of the end.

`run` starts `python -m edgefer.optimize.NAME FOLDER`; the module reads its job from the folder, tells how far it is
through `tell`, and leaves what it made in the folder. Everything between the two is files and JSON lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import edgefer
from edgefer.errors import EdgeferError, ExportError
from edgefer.quiet import NO_TELEMETRY

T = TypeVar("T")
Listener = Callable[[Mapping[str, Any]], None]
"""Called with each message of the process: `{"say": line}`, `{"step": …}`, `{"epoch": …}`."""
WHAT = {
    "convert_process": "the conversion",
    "tune_process": "fine-tuning",
    "take_apart": "reading the network",
    "importers._process": "reading the model",
    "detect.process": "the conversion",
}
"""Module → what it does, in errors."""
LAST_WORDS = 4000
PIPE = "EDGEFER_WORKER_PIPE"


def run(module: str, folder: Path, listener: Listener | None = None) -> None:
    """Run `edgefer.optimize.MODULE` on the job in `folder` and return when it is done.

    Raises ExportError with the exit code and last words of a process that failed, or with the message that it ended
    with on purpose. Ctrl-C, or an exception in `listener`, ends the process before it is raised here.
    """
    with tempfile.TemporaryFile() as words:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", f"edgefer.optimize.{module}", str(folder)]
        try:
            process = subprocess.Popen(
                command,
                env=_environment() | {PIPE: str(writing)},
                stdin=subprocess.DEVNULL,
                stdout=words,  # converters print there
                stderr=words,
                pass_fds=[writing],
                start_new_session=True,  # Ctrl-C strikes here alone, and the process is ended from here
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        refusal = ""
        try:
            with open(reading, encoding="utf-8") as messages:
                for line in messages:
                    message = json.loads(line)
                    refusal = message.get("refused", refusal)
                    if listener:
                        listener(message)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if refusal:
            raise ExportError(refusal)
        if code:
            raise ExportError(f"{WHAT.get(module, module)} failed ({_how(code)}): {_last_line(words)}")


def convert(
    module: str, write: Callable[[Path], None], read: Callable[[Path], T], listener: Listener | None = None
) -> T:
    """Run a conversion in a folder of its own: what `write` puts there goes in, what `read` makes of it is returned.

    Raises ExportError as `run`, and when there is no room for the folder.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="edgefer-export-") as folder:
            write(Path(folder))
            run(module, Path(folder), listener)
            return read(Path(folder))
    except OSError as error:
        raise ExportError(
            f"the conversion cannot use the temporary directory {tempfile.gettempdir()}: {error.strerror or error};"
            " make room, or name another one in TMPDIR"
        ) from error


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"


def _last_line(words: IO[bytes]) -> str:
    words.seek(max(0, words.seek(0, os.SEEK_END) - LAST_WORDS))
    lines = words.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:300] if lines else "it said nothing"


def _environment() -> dict[str, str]:
    root = str(Path(edgefer.__file__).parent.parent)
    return (
        os.environ
        | NO_TELEMETRY
        | {
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",  # the reference must not depend on a graphics card's arithmetic
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_USE_LEGACY_KERAS": "1",  # as tensorflow-model-optimization would set it on import
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        }
    )


def tell(**message: Any) -> None:
    """Send a message to the process that started this one; said to nobody when run by hand."""
    if PIPE in os.environ:
        os.write(int(os.environ[PIPE]), (json.dumps(message) + "\n").encode())


@contextlib.contextmanager
def refusals_told() -> Any:
    """Hand an EdgeferError over to the process that started this one, as its message."""
    try:
        yield
    except EdgeferError as error:
        tell(refused=str(error))
        raise SystemExit(3) from error
