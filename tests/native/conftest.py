"""Fixtures of the native package's tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("PYTANGO_DISABLE_TELEMETRY_PATCHING", "on")

pytest.importorskip("tango_telemetry_native", reason="tango-telemetry-native is not built here")

from native_support import Server, start_echo


@pytest.fixture(scope="module")
def echo() -> Iterator[Server]:
    """One echo server for the tests of a module."""
    with start_echo() as server:
        yield server
