"""What several suites share."""

from __future__ import annotations

import os

import pytest

from edgefer.bundle import Bundle, open_bundle, shipped


@pytest.fixture(scope="session")
def tiny_bundle() -> Bundle:
    """A bundle that engines can run: the one of EDGEFER_TEST_BUNDLE, or else the one that ships."""
    return open_bundle(os.environ.get("EDGEFER_TEST_BUNDLE") or shipped())
