"""What keeps a run alive from outside: systemd's notifications and watchdog, and a last resort inside the process."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import socket
import sys
import time

ARM_EVERY = 1.0
"""Seconds between two arms of the last resort."""


def notify(state: str) -> bool:
    """Send `state` to the service manager; False when there is none, or it does not listen. Never waits or raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sent = sock.sendto(state.encode(), re.sub("^@", "\0", address))
    except OSError:
        return False  # nobody can be told, and a run without supervision is still a run
    return sent > 0


def watchdog_interval() -> float | None:
    """Return how often, in seconds, this process must move: half of what systemd allows; None without a watchdog."""
    owner = os.environ.get("WATCHDOG_PID", "")
    if owner and owner != str(os.getpid()):
        return None  # meant for another process
    allowed = os.environ.get("WATCHDOG_USEC", "")
    if not re.fullmatch(r"[0-9]{1,18}", allowed) or int(allowed) == 0:
        return None
    return int(allowed) / 2e6


class Supervisor:
    """Tells the service manager how the run is doing; without one, what is left is the last resort."""

    def __init__(self, *, stuck_after: float | None = None) -> None:
        """Arm the last resort: once nothing has `moved` for so many seconds, the process ends.

        Every thread's stack then goes to standard error, and the exit code is 1. This happens in a thread that needs no
        interpreter, so a hang in native code is caught too. `stuck_after` must be longer than ARM_EVERY, and than the
        longest turn of the loop.
        """
        if stuck_after is not None and stuck_after <= ARM_EVERY:
            raise ValueError(f"a run is not stuck after {stuck_after} s; give more than {ARM_EVERY}")
        self._every = watchdog_interval()
        self._stuck_after = stuck_after
        self._pinged = self._armed = float("-inf")
        if stuck_after is not None:
            self._arm(stuck_after, time.monotonic())

    def ready(self) -> None:
        """Say that the run has begun, or that a reload is done."""
        notify("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read again; `ready` must follow."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the run ends; the last resort stays armed, because an end can hang too."""
        notify("STOPPING=1")

    def moved(self) -> None:
        """Take note that the run's loop turns. Cheap: call it at every turn."""
        now = time.monotonic()
        if self._every is not None and now - self._pinged >= self._every:
            self._pinged = now
            notify("WATCHDOG=1")
        if self._stuck_after is not None and now - self._armed >= ARM_EVERY:
            self._arm(self._stuck_after, now)

    def stop(self) -> None:
        """Disarm the last resort; may be called more than once."""
        if self._stuck_after is not None:
            self._stuck_after = None
            faulthandler.cancel_dump_traceback_later()

    def _arm(self, seconds: float, now: float) -> None:
        self._armed = now
        with contextlib.suppress(RuntimeError):  # no thread can be started just now; the next turn tries again
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.stderr)
