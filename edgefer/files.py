"""Writing without half-written files: a temporary file beside the target, fsync, rename; and one process at a time."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that becomes `path` when the block ends well, and vanishes when it does not.

    Raises OSError (full disk, no permission); `path` is then what it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, wholly or not at all."""
    with atomic(path) as file:
        file.write(text.encode("utf-8"))


class HeldError(Exception):
    """Another process holds a lock."""


@contextlib.contextmanager
def alone(lock: Path, seconds: float, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock, a file, which the system lets go when the process dies.

    `waiting` is called once when another holds it. Raises HeldError when it is not free within so many seconds.
    """
    import fcntl  # Unix alone has it

    with lock.open("wb") as file:
        end, told = time.monotonic() + seconds, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise HeldError(str(lock)) from None
            if not told:
                waiting()
                told = True
            time.sleep(0.05)
        yield


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
