"""What PyTango says of settings that are ours to follow is not said, where ours is imported first; what is
wrong we say.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import PYTANGO

FAMILIES = {
    "10.3": ("TANGO_TELEMETRY_TRACING_EXPORTERS", "TANGO_TELEMETRY_TRACING_ENDPOINTS"),
    "10.0": ("TANGO_TELEMETRY_TRACES_EXPORTER", "TANGO_TELEMETRY_TRACES_ENDPOINT"),
}


def run(folder: Path, script: str, **settings: str) -> str:
    kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script],
        env={**kept, "HOME": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize("enable", ["on", "off"])
@pytest.mark.parametrize("package", ["tango_telemetry_client", "tango_telemetry_server"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("place", ["environment", "tangorc"])
def test_nothing_is_said(tmp_path: Path, family: str, package: str, enable: str, place: str) -> None:
    exporters, endpoints = FAMILIES[family]
    settings = {exporters: "file", endpoints: str(tmp_path / "spans"), "TANGO_TELEMETRY_ENABLE": enable}
    if place == "tangorc":
        (tmp_path / ".tangorc").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        settings = {}
    filters = "import warnings\nbefore = list(warnings.filters)\n"
    kept = "\nassert [f for f in before if f not in warnings.filters] == []\nassert len(warnings.filters) - len(before) < 9"  # noqa: E501
    said = run(tmp_path, f"{filters}import {package}\nimport tango, tango.server{kept}", **settings)
    assert "file" not in said
    assert "deprecated; use TANGO" not in said
    assert "TelemetryWarning" not in said


@pytest.mark.skipif(PYTANGO < (10, 3), reason="what PyTango 10.3 says of itself")
def test_what_is_not_ours_is_still_said(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        "import tango_telemetry_client\nimport tango",
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TYPES="sound",
    )
    assert "sound" in said
