"""How a process ends that has imported us and done nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("order", ["tango, tango_telemetry_client", "tango_telemetry_server, tango"])
def test_a_process_ends_as_it_should(order: str) -> None:
    """PyTango 10.0.3 on Python 3.13 ends by SIGSEGV without the reference that core gives away."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {order}"], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
