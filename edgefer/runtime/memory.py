"""Memory that was freed, back to the system: each capture thread has a heap of its own, which glibc keeps."""

from __future__ import annotations

import ctypes


def give_memory_back() -> None:
    """Return free pages of all heaps to the system, where the C library can (glibc's malloc_trim)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
