"""Wrong and hostile settings: the server starts, answers and ends as always, and says what it did not
understand.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from receiver import Receiver

from .tango_system import start_server
from .test_tango import variables

# An environment variable cannot be longer than 128 KiB on Linux; a megabyte comes from tangorc or the program
# itself (tests/unit/test_config.py).
LONG = "x" * 100_000
SETTINGS = {
    "none": {
        "TANGO_TELEMETRY_LOGGING_EXPORTERS": "none",
        "TANGO_TELEMETRY_TOPICS": "none",
        "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE": "none",
    },
    "empty": {
        "TANGO_TELEMETRY_TYPES": "",
        "TANGO_TELEMETRY_TOPICS": "",
        "TANGO_TELEMETRY_LOGGING_EXPORTERS": "",
        "TANGO_TELEMETRY_KERNEL_ENABLE": "",
        "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE": "",
        "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "",
    },
    "garbage": {
        "TANGO_TELEMETRY_TYPES": "%s,\x01,=",
        "TANGO_TELEMETRY_TOPICS": "\u2022\n,user,,",
        "TANGO_TELEMETRY_LOGGING_EXPORTERS": "grpc,,,http",
        "TANGO_TELEMETRY_LOGGING_ENDPOINTS": "://",
        "TANGO_TELEMETRY_KERNEL_ENABLE": "perhaps",
        "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE": "complex",
        "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT": "nan",
        "PYTANGO_TELEMETRY_QUEUE_MAX_BYTES": "-1",
        "OTEL_BSP_SCHEDULE_DELAY": "soon",
    },
    "long": {
        "TANGO_TELEMETRY_TYPES": LONG,
        "TANGO_TELEMETRY_TOPICS": LONG,
        "TANGO_TELEMETRY_LOGGING_EXPORTERS": LONG,
        "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE": LONG,
        "PYTANGO_TELEMETRY_RETRY_MAX": "9" * 100_000,
    },
}
WARNED = {
    "none": "",
    "empty": "",
    "garbage": "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT",
    "long": "TANGO_TELEMETRY_TYPES",
}


def test_a_value_that_the_sdk_refuses_is_one_warning_and_no_error_of_the_script(tmp_path: Path) -> None:
    """The SDK raises for it, some of it as soon as it is imported (1.45)."""
    program = """
import warnings
import tango
from tango_telemetry import get_tracer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import tango_telemetry_client
    for _ in range(2):
        with get_tracer("lab").start_as_current_span("scan") as span:
            print(span.is_recording())
(only,) = caught
print(only.message)
"""
    with Receiver("http") as receiver:
        environment = {**variables(receiver, "on"), "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    first, second, message = done.stdout.splitlines()
    assert (first, second) == ("False", "False")
    assert message.startswith("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer but got many")
    assert message.endswith("Type: unset OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")


@pytest.mark.parametrize(
    "names", [("TRACES_EXPORTER", "TRACES_ENDPOINT"), ("TRACING_EXPORTERS", "TRACING_ENDPOINTS")]
)
def test_files_are_kept_away_from_cpptango_where_opentelemetry_is_missing(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    """It knows no files, and makes no proxy then (10.0 and 10.1 for the first of the names, 10.3 for the
    others).
    """
    program = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import tango
import tango_telemetry_client
try:
    tango.DeviceProxy("tango://127.0.0.1:1/a/b/c#dbase=no").ping()
except tango.DevFailed as failure:
    print([error.reason for error in failure.args])
"""
    exporter, endpoint = (f"TANGO_TELEMETRY_{name}" for name in names)
    ours = {"TANGO_TELEMETRY_ENABLE": "on", exporter: "file", endpoint: str(tmp_path / "traces")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ours},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "CantConnect" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_server_starts_whatever_its_settings(tmp_path: Path, settings: str) -> None:
    with Receiver("http") as receiver:
        environment = {**variables(receiver, "on"), **SETTINGS[settings]}
        with start_server(tmp_path, 2, environment) as server:
            server.call("Go", 20)
            receiver.wait_for(lambda spans: sum(span.name == "Faults.Go" for span in spans) >= 20)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0, server.errors()
            assert WARNED[settings] in server.errors()
            ours = [line for line in server.errors().splitlines() if "TelemetryWarning" in line]
            # PyTango 10.3.1 warns too, and quotes the whole value.
            assert max(map(len, ours), default=0) < 1000


@pytest.mark.parametrize("limit", ["garbage", "-5"])
@pytest.mark.parametrize("native", ["on", "off"])
def test_a_limit_that_is_none_is_one_warning(tmp_path: Path, limit: str, native: str) -> None:
    """The SDK and the provider in C++ raise for it, at each call anew."""
    with Receiver("http") as receiver:
        environment = {
            **variables(receiver, "on"),
            "OTEL_SPAN_EVENT_COUNT_LIMIT": limit,
            "PYTANGO_TELEMETRY_NATIVE_SPANS": native,
        }
        with start_server(tmp_path, 1, environment) as server:
            server.call("Go", 20)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0, server.errors()
            assert server.errors().count("TelemetryWarning") == 1
            assert "No span is made" in server.errors()
            assert "internal error" not in server.errors()
