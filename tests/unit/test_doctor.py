"""What the doctor makes of settings and of what it finds, without processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tango_telemetry import Endpoint
from tango_telemetry.diagnosis import LOGS
from tango_telemetry.settings import variables as env
from tango_telemetry_tools.doctor import device, endpoints, settings
from tango_telemetry_tools.doctor.model import DeviceReport, Diagnosis


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def look(**environ: str) -> Diagnosis:
    diagnosis = Diagnosis()
    settings.look(diagnosis, environ)
    return diagnosis


def source_of(diagnosis: Diagnosis, name: str) -> tuple[str, str]:
    return next((s.value, s.source) for s in diagnosis.settings if s.name == name)


def test_each_variable_is_shown_but_the_one_that_is_not_for_users() -> None:
    shown = {setting.name for setting in look().settings}
    assert shown == {*env.VARIABLES} - env.NOT_FOR_USERS


def test_sources(tmp_path: Path) -> None:
    (tmp_path / ".tangorc").write_text("TANGO_TELEMETRY_ENABLE=on\nTANGO_TELEMETRY_TRACES_EXPORTER=grpc\n")
    found = look(TANGO_TELEMETRY_TRACES_EXPORTER="console")
    assert source_of(found, "TANGO_TELEMETRY_ENABLE") == ("on", str(tmp_path / ".tangorc"))
    assert source_of(found, "TANGO_TELEMETRY_TRACES_EXPORTER") == ("console", "environment")
    assert source_of(found, "PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME") == ("unset", "default")
    assert found.traces_arrive


def test_what_a_parent_process_handed_to_cpptango_is_not_the_users() -> None:
    found = look(
        TANGO_TELEMETRY_ENABLE="off",
        PYTANGO_TELEMETRY_HANDED_ON='{"TANGO_TELEMETRY_ENABLE": ["off", "on"]}',
    )
    assert source_of(found, "TANGO_TELEMETRY_ENABLE") == ("on", "environment")


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("TANGO_TELEMETRY_TRACES_ENDPOINT", "https://me:hunter2@host/v1/traces", "hunter2"),
        ("TANGO_TELEMETRY_TRACING_ENDPOINTS", "cout,https://host/v1/traces?token=hunter2", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2,x=y", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2", "hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@host", "hunter2"),
    ],
)
def test_secrets_are_not_shown(name: str, value: str, secret: str) -> None:
    found = look(**{"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACES_EXPORTER": "http", name: value})
    assert secret not in repr(found.as_json())
    assert source_of(found, name)[1] == "environment"


@pytest.mark.parametrize(
    ("environ", "fix"),
    [
        ({}, "export TANGO_TELEMETRY_ENABLE=on"),
        ({"TANGO_TELEMETRY_ENABLE": "off"}, "export TANGO_TELEMETRY_ENABLE=on"),
        (
            {"TANGO_TELEMETRY_ENABLE": "on", "PYTANGO_DISABLE_TELEMETRY_PATCHING": "on"},
            "unset PYTANGO_DISABLE_TELEMETRY_PATCHING",
        ),
        ({"TANGO_TELEMETRY_ENABLE": "on", "OTEL_TRACES_SAMPLER": "always_off"}, "unset OTEL_TRACES_SAMPLER"),
        ({"TANGO_TELEMETRY_ENABLE": "on", "OTEL_SDK_DISABLED": "true"}, "unset OTEL_SDK_DISABLED"),
        (
            {"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACES_EXPORTER": "none"},
            "export TANGO_TELEMETRY_TRACES_EXPORTER=grpc "
            "TANGO_TELEMETRY_TRACES_ENDPOINT=grpc://localhost:4317",
        ),
        (
            {"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACING_EXPORTERS": "grcp"},
            "export TANGO_TELEMETRY_TRACING_EXPORTERS=grpc "
            "TANGO_TELEMETRY_TRACING_ENDPOINTS=grpc://localhost:4317",
        ),
        (
            {"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACES_EXPORTER": "file"},
            "export TANGO_TELEMETRY_TRACES_EXPORTER=file TANGO_TELEMETRY_TRACES_ENDPOINT=$HOME/tango-traces",
        ),
        (
            {
                "TANGO_TELEMETRY_ENABLE": "on",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.0",
            },
            "export OTEL_TRACES_SAMPLER_ARG=1",
        ),
        ({"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TYPES": "logging"}, "unset TANGO_TELEMETRY_TYPES"),
        ({"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TYPES": "none"}, "unset TANGO_TELEMETRY_TYPES"),
        (
            {"TANGO_TELEMETRY_ENABLE": "on", "PYTANGO_TELEMETRY_TRACES_PER_SECOND": "0"},
            "unset PYTANGO_TELEMETRY_TRACES_PER_SECOND",
        ),
    ],
)
def test_what_keeps_traces_from_arriving(environ: dict[str, str], fix: str) -> None:
    found = look(**environ)
    assert not found.traces_arrive
    assert [problem.fix for problem in found.problems] == [fix]


def test_a_value_that_is_replaced_by_its_default_is_a_warning() -> None:
    found = look(TANGO_TELEMETRY_ENABLE="on", PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE="fast")
    assert found.traces_arrive
    assert [(p.severity, p.fix) for p in found.problems] == [
        ("warning", "unset PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE")
    ]


def test_no_two_lines_to_type_undo_each_other() -> None:
    found = look(TANGO_TELEMETRY_ENABLE="maybe")
    assert {problem.fix for problem in found.problems} == {"export TANGO_TELEMETRY_ENABLE=on"}


def test_a_setting_in_a_file_is_taken_out_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".tangorc"
    file.write_text(
        "TANGO_TELEMETRY_ENABLE=on\n Pytango_telemetry_span_processor_type = fast\nTANGO_HOST=host:10000\n"
    )
    (problem,) = look().problems
    subprocess.run(problem.fix, shell=True, check=True)
    assert file.read_text() == "TANGO_TELEMETRY_ENABLE=on\nTANGO_HOST=host:10000\n"


@pytest.mark.parametrize(
    ("name", "others", "fix"),
    [
        (
            "TANGO_TELEMETRY_EXPORTER",
            {},
            'export TANGO_TELEMETRY_TRACES_EXPORTER="$TANGO_TELEMETRY_EXPORTER"; unset '
            "TANGO_TELEMETRY_EXPORTER",
        ),
        (
            "PYTANGO_TELEMETRY_POLING",
            {"PYTANGO_TELEMETRY_POLLING": "off"},
            "unset PYTANGO_TELEMETRY_POLING",
        ),
        ("PYTANGO_TELEMETRY_EMIT_KERNEL_SPANS", {}, None),  # PyTango's own
        ("MY_TANGO_TELEMETRY_DASHBOARD", {}, None),
        ("TANGO_TELEMETRY_BY_SOMEBODY_ELSE", {}, None),
    ],
)
def test_a_slip_in_a_name(name: str, others: dict[str, str], fix: str | None) -> None:
    found = look(**{"TANGO_TELEMETRY_ENABLE": "on", name: "console", **others})
    assert found.traces_arrive
    assert [(p.severity, p.fix) for p in found.problems] == ([("warning", fix)] if fix else [])


def test_a_slip_in_a_file_is_mended_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".tangorc"
    file.write_text("TANGO_TELEMETRY_ENABLE=on\n Tango_telemetry_exporter = console\n")
    (problem,) = look().problems
    subprocess.run(problem.fix, shell=True, check=True)
    assert file.read_text() == "TANGO_TELEMETRY_ENABLE=on\nTANGO_TELEMETRY_TRACES_EXPORTER= console\n"


@pytest.mark.parametrize(
    ("exporter", "target", "reason", "fix"),
    [
        ("http", "http://host:4318", "HTTP status 404", "export V=http://host:4318/v1/traces"),
        ("http", "http://host:4317/v1/traces", "ConnectionError", "export V=http://host:4318/v1/traces"),
        ("grpc", "grpc://host:4318", "gRPC status UNAVAILABLE", "export V=grpc://host:4317"),
        ("grpc", "grpc://localhost:4317", "gRPC status UNAVAILABLE", "tango-telemetry serve "),
        ("http", "http://127.0.0.1:4318/v1/traces", "ConnectionError", "tango-telemetry serve "),
        ("http", "http://127.0.0.1:4319/v1/traces", "ConnectionError", "nc -vz 127.0.0.1 4319 "),
        ("grpc", "grpc://host:4317", "gRPC status UNAVAILABLE", "nc -vz host 4317"),
        ("grpc", "grpcs://host", "not a URL of the form", "export V=grpcs://host:4317"),
        (
            "http",
            "http://host:3000/v1/traces",
            "HTTP status 200, but no answer that a collector gives from host:4401",
            "export V=http://host:4318/v1/traces",
        ),
        ("http", "http://host/v1/traces", "ConnectionError", "nc -vz host 80 "),
        ("http", "https://host/v1/traces", "ConnectionError", "nc -vz host 443 "),
        ("http", "https://host/v1/traces", "HTTP status 401", "export OTEL_EXPORTER_OTLP_HEADERS="),
        (
            "http",
            "http://host:4318/v1/traces",
            "HTTP status 403 from host:4318 by the proxy http://squid (1.2.3.4:3128): denied",
            "export NO_PROXY=host ",
        ),
        (
            "http",
            "http://host:4318/v1/traces",
            "HTTP status 302 from host:4318: redirected to https://login/",
            "export V=URL ",
        ),
        ("http", "https://host/v1/traces", "SSLError", "export OTEL_EXPORTER_OTLP_CERTIFICATE="),
        ("file", "/nowhere", "Permission denied", "export V=$HOME/tango-traces"),
        ("grpc", "grpc://host:4317", 'needs "x"; install it with: pip install', "pip install "),
    ],
)
def test_suggestions(exporter: str, target: str, reason: str, fix: str) -> None:
    assert endpoints.suggest(Endpoint(exporter, target), reason, "V").startswith(fix)


@pytest.mark.parametrize(
    ("exporter", "target", "reason"),
    [
        ("http", "http://collector:9999/v1/logs", "HTTP status 404 from collector:9999: 404 page not found"),
        ("grpc", "grpc://collector:4317", "gRPC status UNIMPLEMENTED from collector:4317: unknown service"),
    ],
)
def test_a_collector_without_a_pipeline_for_logs(exporter: str, target: str, reason: str) -> None:
    said = endpoints.suggest(Endpoint(exporter, target, LOGS), reason, "V")
    assert said.startswith("export PYTANGO_TELEMETRY_LOGS=off ")
    assert "collector-signals.yaml" in said


def test_a_database_that_tangorc_names_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANGO_HOST", raising=False)
    assert device._suggest("a/b/c", "DB_DeviceNotDefined") == "tango_admin --check-device a/b/c"
    assert device._suggest("a/b/c", "API_TangoHostNotSet") == "export TANGO_HOST=HOST:10000"


def test_the_schema_of_json() -> None:
    diagnosis = look()
    diagnosis.device = DeviceReport("a/b/c", answers=False)
    made = diagnosis.as_json()
    assert list(made) == [
        "schema_version",
        "traces_arrive",
        "installed",
        "settings",
        "context",
        "endpoints",
        "device",
        "problems",
    ]
    assert list(made["settings"][0]) == ["name", "value", "source"]
    assert list(made["problems"][0]) == ["severity", "what", "fix"]
    assert list(made["device"]) == [
        "name",
        "answers",
        "seconds",
        "device_class",
        "server",
        "host",
        "idl_version",
        "telemetry",
        "report",
        "unknown",
    ]
