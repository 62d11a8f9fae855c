"""Keep native libraries from writing to the terminal: they know no logger, only file descriptors 1 and 2."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def native_chatter_silenced() -> Iterator[None]:
    """Send file descriptors 1 and 2 to nowhere inside the block; Python's exceptions pass as ever.

    EDGEFER_VERBOSE=1 in the environment leaves them alone.
    """
    if os.environ.get("EDGEFER_VERBOSE") == "1":
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nowhere)
