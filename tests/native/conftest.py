"""Fixtures of the native package's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

try:
    import tango_telemetry_native  # noqa: F401
except ImportError:  # the package is optional, and so are its tests where it could not be built
    collect_ignore_glob = ["test_*.py"]

from native_support import Server, start_echo


@pytest.fixture(scope="module")
def echo() -> Iterator[Server]:
    """One echo server for the tests of a module."""
    with start_echo() as server:
        yield server
