"""What a newcomer's settings were, and what the doctor says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def diagnose(folder: Path, tangorc: str = "", **settings: str) -> tuple[dict[str, str], dict[str, Any]]:
    (folder / ".tangorc").write_text(tangorc)
    kept = {
        name: value for name, value in os.environ.items() if "TELEMETRY" not in name and "OTEL" not in name
    }
    done = subprocess.run(
        [sys.executable, "-m", "tango_telemetry_tools", "doctor", "--json"],
        env={**kept, "HOME": str(folder), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)
    return {problem["what"]: problem["fix"] for problem in found["problems"]}, found


@pytest.mark.parametrize(
    ("endpoint", "exporter"),
    [("http://localhost:4318/v1/traces", "http"), ("grpc://localhost:4317", "grpc")],
)
@pytest.mark.parametrize("family", ["TRACING_{}S", "TRACES_{}"])
def test_an_endpoint_without_an_exporter(tmp_path: Path, endpoint: str, exporter: str, family: str) -> None:
    exporters, endpoints = (f"TANGO_TELEMETRY_{family.format(part)}" for part in ("EXPORTER", "ENDPOINT"))
    problems, found = diagnose(tmp_path, TANGO_TELEMETRY_ENABLE="on", **{endpoints: endpoint})
    assert f"export {exporters}={exporter}" in problems.values()
    assert not found["traces_arrive"]


@pytest.mark.parametrize("place", ["environment", "tangorc"])
@pytest.mark.parametrize("slip", ["TANGO_TELEMTRY_ENABLE", "TANGO_TELEMETRY_ENABEL", "TANGO_TELMETRY_ENABLE"])
def test_a_slip_in_a_name(tmp_path: Path, slip: str, place: str) -> None:
    given = {slip: "on"} if place == "environment" else {}
    problems, _ = diagnose(tmp_path, f"{slip}=on\n" if place == "tangorc" else "", **given)
    assert f"{slip} is not a variable that anything reads; TANGO_TELEMETRY_ENABLE is" in problems


def test_a_comment_behind_an_endpoint_in_tangorc(tmp_path: Path) -> None:
    _, found = diagnose(
        tmp_path,
        "TANGO_TELEMETRY_ENABLE=on # for all\n"
        "TANGO_TELEMETRY_TRACING_EXPORTERS=grpc\n"
        "TANGO_TELEMETRY_TRACING_ENDPOINTS=grpc://127.0.0.1:1 # the collector\n",
    )
    assert [endpoint["target"] for endpoint in found["endpoints"]] == ["grpc://127.0.0.1:1"]


def test_traces_for_a_collector_that_is_not_there(tmp_path: Path) -> None:
    problems, found = diagnose(
        tmp_path,
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACING_EXPORTERS="http",
        TANGO_TELEMETRY_TRACING_ENDPOINTS="http://127.0.0.1:9/v1/traces",
    )
    assert not found["traces_arrive"]
    (fix,) = (fix for what, fix in problems.items() if "does not work" in what)
    assert fix.startswith("nc -vz 127.0.0.1 9 ")


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"TANGO_TELEMETRY_TRACING_EXPORTERS": "console"}, "TANGO_TELEMETRY_TRACING_EXPORTERS"),
        (
            {
                "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
                "TANGO_TELEMETRY_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces",
            },
            "TANGO_TELEMETRY_TRACES_ENDPOINT",
        ),
    ],
)
def test_an_endpoint_of_opentelemetrys_that_has_no_effect(
    tmp_path: Path, settings: dict[str, str], cause: str
) -> None:
    problems, _ = diagnose(
        tmp_path,
        TANGO_TELEMETRY_ENABLE="on",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.example:4318",
        **settings,
    )
    what = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector.example:4318 has no effect: {cause} says where "
    what += "spans go"
    assert problems[what] == "unset OTEL_EXPORTER_OTLP_ENDPOINT"


def test_an_endpoint_of_opentelemetrys_that_serves(tmp_path: Path) -> None:
    problems, found = diagnose(
        tmp_path, TANGO_TELEMETRY_ENABLE="on", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"
    )
    assert not any("no effect" in what for what in problems)
    assert [endpoint["target"].startswith("http://127.0.0.1:9") for endpoint in found["endpoints"]] == [True]


def test_defaults_are_what_is_in_force(tmp_path: Path) -> None:
    _, found = diagnose(tmp_path, TANGO_TELEMETRY_ENABLE="on")
    shown = {setting["name"]: setting["value"] for setting in found["settings"]}
    assert shown["TANGO_TELEMETRY_TRACING_EXPORTERS"] == "console"
    assert shown["TANGO_TELEMETRY_TRACING_ENDPOINTS"] == "cout"


def test_log_exporters_are_shown(tmp_path: Path) -> None:
    _, found = diagnose(tmp_path, TANGO_TELEMETRY_ENABLE="on", TANGO_TELEMETRY_LOGGING_EXPORTERS="grpc")
    shown = {setting["name"]: setting["value"] for setting in found["settings"]}
    assert shown["TANGO_TELEMETRY_LOGGING_EXPORTERS"] == "grpc"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "OpenTelemetry's SDK makes the spans: the console shows the SDK's own form of a span"),
        (
            {"TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc,http"},
            "OpenTelemetry's SDK makes the spans: there are several endpoints",
        ),
    ],
)
def test_the_provider_of_the_sdk_is_known(tmp_path: Path, settings: dict[str, str], reason: str) -> None:
    pytest.importorskip("tango_telemetry_native")
    _, found = diagnose(tmp_path, TANGO_TELEMETRY_ENABLE="on", **settings)
    assert found["context"]["tracer_provider"] == "sdk"
    assert found["context"]["tracer_provider_reason"] == reason


def test_short_by_default(tmp_path: Path) -> None:
    def lines(*options: str) -> list[str]:
        command = [sys.executable, "-m", "tango_telemetry_tools", "doctor", *options]
        kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
        given = {**kept, "HOME": str(tmp_path), "COLUMNS": "80", "TANGO_TELEMETRY_ENABLE": "on"}
        return subprocess.run(
            command, env=given, capture_output=True, text=True, timeout=60, check=False
        ).stdout.splitlines()

    short, long = lines(), lines("--verbose")
    assert len(short) < 30
    assert len(long) > 50
    assert not any("PYTANGO_TELEMETRY_RETRY_MAX" in line for line in short)
    assert any("PYTANGO_TELEMETRY_RETRY_MAX" in line for line in long)


def test_of_a_whole_host_pytango_does_not_complain(tmp_path: Path) -> None:
    """Of the exporter `file`, which it does not know. There is no database."""
    kept = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    given = {**kept, "HOME": str(tmp_path), "TANGO_HOST": "127.0.0.1:1", "TANGO_TELEMETRY_ENABLE": "on"}
    done = subprocess.run(
        [sys.executable, "-m", "tango_telemetry_tools", "doctor", "--all"],
        env={**given, "TANGO_TELEMETRY_TRACING_EXPORTERS": "file"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Warning" not in done.stderr, done.stderr
