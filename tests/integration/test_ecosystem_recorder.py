"""The recorder for people who test their devices: its documentation's example, and what it leaves behind."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from integration.support import PYTANGO

PAGE = Path(__file__).parent.parent.parent / "docs/how-to/testing.md"


def _run(tmp_path: Path, *command: str) -> str:
    result = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "test_motor.py").write_text(example)
    tests = re.findall(r"^def (test_\w+)", example, re.MULTILINE)
    assert len(tests) == 2
    # Before 10.3 a second DeviceTestContext in one process hangs, with or without us (9.5.1, 10.1.5).
    for chosen in (
        [["test_motor.py"]] if PYTANGO >= (10, 3) else [[f"test_motor.py::{name}"] for name in tests]
    ):
        command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)
        assert f"{2 if PYTANGO >= (10, 3) else 1} passed" in _run(tmp_path, *command)


@pytest.mark.parametrize("imported", ["tango_telemetry_client, tango_telemetry_server", "tango_telemetry"])
def test_the_recorder_leaves_everything_as_it_was(tmp_path: Path, imported: str) -> None:
    (tmp_path / "program.py").write_text(
        f"import {imported}"
        """
import tango
from tango_telemetry import get_config, get_tracer, get_tracer_provider_factory
from tango_telemetry.testing import SpanRecorder

classes = (tango.DeviceProxy, tango.DeviceImpl, tango.Util, tango.Group, tango.Connection)
before = [dict(vars(cls)) for cls in classes], get_config(), get_tracer_provider_factory()
with SpanRecorder() as spans:
    with get_tracer("lab").start_as_current_span("scan"), get_tracer("lab").start_as_current_span("step"):
        pass
    try:
        tango.DeviceProxy("tango://127.0.0.1:1/a/b/c#dbase=no").ping()
    except tango.DevFailed:
        pass
assert spans.trees()[0].names() == ("scan", ("step",)), spans.text()
assert spans.find("ping").status == "ERROR"
try:
    spans.find("nothing")
except LookupError as error:
    assert "scan" in str(error)
assert ([dict(vars(cls)) for cls in classes], get_config(), get_tracer_provider_factory()) == before
print(len(spans.spans))
"""
    )
    assert _run(tmp_path, "program.py").strip() == "4"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),  # what OpenTelemetry's users set where tests run
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("TANGO_TELEMETRY_ENABLE", "off"),
    ],
)
def test_the_recorder_records_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (tmp_path / "program.py").write_text(
        """
import os, sys
from tango_telemetry import get_tracer
from tango_telemetry.testing import SpanRecorder

with SpanRecorder() as spans, get_tracer("lab").start_as_current_span("scan"):
    pass
print(spans.text().strip(), os.environ[sys.argv[1]])
"""
    )
    assert _run(tmp_path, "program.py", name).strip() == f"scan {value}"


@pytest.mark.skipif(PYTANGO < (10, 3), reason="a second DeviceTestContext in one process hangs")
def test_tracing_can_be_switched_on_when_a_server_has_ended(tmp_path: Path) -> None:
    """PyTango still lists its devices, whose C++ half is gone: to ask one of them would end the process."""
    (tmp_path / "program.py").write_text(
        """
import tango_telemetry_client, tango_telemetry_server
from tango.server import Device, command
from tango.test_context import DeviceTestContext
from tango_telemetry.testing import SpanRecorder

class Motor(Device):
    @command
    def Home(self):
        pass

for _ in range(2):
    with SpanRecorder() as spans, DeviceTestContext(Motor) as motor:
        motor.command_inout("Home")
        print(spans.find("command_inout Home").names())
"""
    )
    once = "('command_inout Home', ('Motor.Home',))\n"
    assert _run(tmp_path, "program.py").replace("Ready to accept request\n", "") == 2 * once
