"""The version stands in one place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tango_telemetry

ROOT = Path(__file__).resolve().parents[2]


def test_every_package_names_the_same_version() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "set_version.py")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"{tango_telemetry.__version__} everywhere\n"), done.stderr
