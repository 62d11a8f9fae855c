"""Running other programs with an end: a time limit, a bounded memory of what they say, and no children left behind."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgefer.errors import EmulatorError

KEPT = 64 * 1024
"""Bytes of what a program says that are kept, the last ones."""
PATIENCE_S = 5.0
"""How long a program that is told to end may take before it is killed."""


@dataclass(frozen=True)
class Finished:
    """How a program ended: `status` as subprocess has it (negative: the signal that ended it), and what it said."""

    status: int
    said: str

    def reason(self) -> str:
        """Return the line that tells most about a failure: the first that is called an error, or else the last.

        Later errors follow from the first: apt-get, pip and gcc end with one that says no more than that they failed.
        """
        # Addresses may hold a password; control characters are no part of a one-line message.
        lines = [re.sub(r"//[^/@\s]*@", "//", line).strip() for line in self.said.splitlines()]
        lines = ["".join(c for c in line if c.isprintable()) for line in lines if line]
        errors = [line for line in lines if re.match(r"(ERROR|E|error|fatal error)\b|.*\b(fatal )?error:", line)]
        return (errors[:1] or lines[-1:] or ["it said nothing"])[0][:300]


def run(
    command: Sequence[str | Path], timeout: float, env: Mapping[str, str] | None = None, folder: Path | None = None
) -> Finished:
    """Run `command` in `folder` to its end and return how that was.

    Raises EmulatorError when it cannot be started or takes more than `timeout` seconds; then, and when this is
    interrupted, it is ended together with all that it started.
    """
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise EmulatorError(f"{name} cannot be started: {error.strerror}") from error
    # A crash would leave the whole memory of the emulator in a file.
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    assert process.stdout is not None
    said = bytearray()
    reader = threading.Thread(target=_keep_last, args=(process.stdout, said), daemon=True)
    reader.start()
    try:
        status = process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise EmulatorError(
            f"{name} was ended after {timeout:.0f} s without a result: is this machine very busy, or the network gone?"
        ) from None
    finally:
        _end(process)
        reader.join(PATIENCE_S)
    return Finished(status, said.decode("utf-8", errors="replace"))


def _keep_last(stream: IO[bytes], said: bytearray) -> None:
    with stream:
        while piece := os.read(stream.fileno(), KEPT):
            said += piece
            del said[:-KEPT]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, unless it has ended by itself, with its children, one group: politely, then for good."""
    if process.returncode is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    end = time.monotonic() + PATIENCE_S
    # Not waited for yet: until then nobody else can get its number, which is also the group's.
    while time.monotonic() < end:
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
