"""What several suites share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgefer.bundle import Bundle, open_bundle, shipped


@pytest.fixture(scope="session")
def tiny_bundle() -> Bundle:
    """A bundle that engines can run: the one of EDGEFER_TEST_BUNDLE, or else the one that ships."""
    path = Path(os.environ.get("EDGEFER_TEST_BUNDLE") or shipped())
    if not path.is_dir():
        pytest.skip(f"there is no bundle at {path}; name one in EDGEFER_TEST_BUNDLE")
    return open_bundle(path)
