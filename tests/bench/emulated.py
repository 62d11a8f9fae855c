"""The emulator's pieces for the tests that need them: made once a session, or a skip that says why there are none."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edgefer.bench.emulator import programs
from edgefer.bench.emulator.boards import BOARDS
from edgefer.bench.emulator.root import prepare
from edgefer.errors import EmulatorError


def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the emulator's pieces: that of EDGEFER_TEST_EMULATOR, or one of this session's.

    With several workers the session's folder is the same for all; the emulator's own lock keeps them apart.
    """
    lacks = programs.missing()
    if lacks:
        pytest.skip(f"no emulated Arm: {', '.join(lacks.programs)} not found ({lacks.command})")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = Path(os.environ.get("EDGEFER_TEST_EMULATOR") or shared / "emulator")
    try:
        prepare(BOARDS["rpi4"], None, folder)
    except EmulatorError as error:
        if "mmdebstrap" in str(error) and not _online():
            pytest.skip(f"no emulated Arm: Debian's archive cannot be reached ({error})")
        raise
    return folder


def _online() -> bool:
    try:
        socket.create_connection(("deb.debian.org", 80), 10).close()
    except OSError:
        return False
    return True
