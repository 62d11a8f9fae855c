"""What several suites share."""

from __future__ import annotations

import os
import signal

import hypothesis
import pytest

from edgefer.bundle import Bundle, open_bundle, shipped
from edgefer.quiet import silence_opencv

# A shell lets what it runs in the background ignore Ctrl-C, and children inherit that; several tests are about it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# nohup lets what it runs ignore that the terminal closes.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# FFmpeg asks once a process, when the first video opens, which may be a test's own reading back.
silence_opencv()

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("edgefer", deadline=None)
hypothesis.settings.load_profile("edgefer")


@pytest.fixture(scope="session")
def tiny_bundle() -> Bundle:
    """A bundle that engines can run: the one of EDGEFER_TEST_BUNDLE, or else the one that ships."""
    return open_bundle(os.environ.get("EDGEFER_TEST_BUNDLE") or shipped())
