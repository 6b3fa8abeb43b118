"""What cppTango is handed: only what it can parse, in the names that its version knows."""

from __future__ import annotations

import json

import pytest
from tango_telemetry import TelemetryConfig
from tango_telemetry.pytango.environment import (
    apply_cpptango_environment,
    cpptango_environment,
    environment_afterwards,
    environment_when_off,
    restore_environment,
)

HTTP = {
    "TANGO_TELEMETRY_ENABLE": "on",
    "TANGO_TELEMETRY_TRACES_EXPORTER": "http",
    "TANGO_TELEMETRY_TRACES_ENDPOINT": "http://h:4318/v1/traces",
}


def handed(user, version, *, idl=True, kernel=False):
    return cpptango_environment(
        TelemetryConfig.from_env(user), user, tango_version=version, idl=idl, kernel=kernel
    )


def test_tango_9_is_handed_nothing():
    assert handed(HTTP, (9, 5, 1)) == {}


@pytest.mark.parametrize(
    ("settings", "types", "endpoint"),
    [
        ({"LOGGING_EXPORTERS": "grpc"}, "tracing,logging", "grpc://localhost:4317"),
        ({"LOGGING_EXPORTERS": "http"}, "tracing,logging", "http://localhost:4318/v1/logs"),
        (
            {"LOGGING_EXPORTERS": "http,console", "LOGGING_ENDPOINTS": "http://h:1/x"},
            "tracing,logging",
            "http://h:1/x,cout",
        ),
        ({"LOGS_EXPORTER": "grpc", "LOGS_ENDPOINT": "grpc://h:1"}, "tracing,logging", "grpc://h:1"),
        ({"LOGGING_EXPORTERS": "grpc", "TYPES": "tracing"}, "tracing", None),
        ({}, "tracing", None),
        ({"TYPES": "none"}, "tracing", None),
    ],
)
def test_naming_log_exporters_asks_for_logs(settings, types, endpoint):
    """Ours, and cppTango's where ours are off: each record once."""
    user = {**HTTP, **{f"TANGO_TELEMETRY_{name}": value for name, value in settings.items()}}
    given = handed(user, (10, 3, 1))
    assert given["TANGO_TELEMETRY_TYPES"] == "tracing"
    assert given["TANGO_TELEMETRY_LOGGING_ENDPOINTS"] is None
    for choice in ("off", "logging"):
        given = handed({**user, "PYTANGO_TELEMETRY_LOGS": choice}, (10, 3, 1))
        assert given["TANGO_TELEMETRY_TYPES"] == types
        assert given["TANGO_TELEMETRY_LOGGING_ENDPOINTS"] == endpoint


def test_10_3_carries_the_context_without_spans_of_its_own():
    given = handed(HTTP, (10, 3, 1))
    assert given["TANGO_TELEMETRY_ENABLE"] == "on"
    assert given["TANGO_TELEMETRY_TOPICS"] == "user"
    assert given["TANGO_TELEMETRY_TYPES"] == "tracing"
    assert given["TANGO_TELEMETRY_TRACING_EXPORTERS"] == "console"
    assert given["TANGO_TELEMETRY_TRACES_EXPORTER"] is None


def test_with_kernel_spans_10_3_gets_the_users_exporter_in_its_own_names():
    given = handed(HTTP, (10, 3, 1), kernel=True)
    assert given["TANGO_TELEMETRY_TOPICS"] == "all"
    assert given["TANGO_TELEMETRY_TRACING_EXPORTERS"] == "http"
    assert given["TANGO_TELEMETRY_TRACING_ENDPOINTS"] == "http://h:4318/v1/traces"


def test_with_kernel_spans_10_1_gets_10_3s_settings_in_its_own_names():
    user = {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACING_EXPORTERS": "file,grpc",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": "/tmp/x,grpc://h:4317",
    }
    given = handed(user, (10, 1, 5), kernel=True)
    assert given["TANGO_TELEMETRY_TRACES_EXPORTER"] == "grpc"
    assert given["TANGO_TELEMETRY_TRACES_ENDPOINT"] == "grpc://h:4317"


@pytest.mark.parametrize("version", [(10, 0, 3), (10, 1, 5), (10, 3, 1)])
def test_cpptango_is_off_where_the_context_travels_by_giop_alone(version):
    assert handed(HTTP, version, idl=False) == {"TANGO_TELEMETRY_ENABLE": "off"}
    to_files = {
        **HTTP,
        "TANGO_TELEMETRY_TRACES_EXPORTER": "file",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": "/spans",
    }
    assert handed(to_files, version, idl=False) == {
        "TANGO_TELEMETRY_ENABLE": "off",
        "TANGO_TELEMETRY_TRACES_EXPORTER": None,
        "TANGO_TELEMETRY_TRACES_ENDPOINT": None,
    }


@pytest.mark.parametrize(
    "user",
    [
        {"TANGO_TELEMETRY_LOGGING_EXPORTERS": "none"},
        {"TANGO_TELEMETRY_TYPES": ""},
        {"TANGO_TELEMETRY_TYPES": "garbage"},
        {"TANGO_TELEMETRY_TOPICS": "x" * 1_000_000},
        {"TANGO_TELEMETRY_LOGS_EXPORTER": "garbage"},
        {"TANGO_TELEMETRY_LOGGING_ENDPOINTS": ",,,"},
        *(
            {
                "TANGO_TELEMETRY_TYPES": "tracing,logging",
                "TANGO_TELEMETRY_LOGGING_EXPORTERS": exporter,
                "TANGO_TELEMETRY_LOGGING_ENDPOINTS": endpoint,
            }
            for exporter, endpoint in [
                ("grpc", "://"),
                ("grpc", "grpc://h"),
                ("grpc", "GRPC://h:1"),
                ("grpc", "grpcs://h:1"),
                ("grpc", "http://h:1"),
                ("grpc", "grpc://h:1/"),
                ("http", "http://h/v1/logs"),
                ("http", "http://h:port/"),
                ("console", "stdout"),
            ]
        ),
    ],
)
def test_what_would_end_the_process_is_never_handed_on(user):
    given = handed({**HTTP, **user}, (10, 3, 1))
    assert given["TANGO_TELEMETRY_TYPES"] == "tracing"
    assert given["TANGO_TELEMETRY_TOPICS"] == "user"
    assert given["TANGO_TELEMETRY_LOGGING_EXPORTERS"] is None
    assert given["TANGO_TELEMETRY_LOGGING_ENDPOINTS"] is None


def test_logging_is_passed_on_when_asked_for():
    user = {
        **HTTP,
        "PYTANGO_TELEMETRY_LOGS": "off",
        "TANGO_TELEMETRY_TYPES": "tracing,logging",
        "TANGO_TELEMETRY_LOGGING_EXPORTERS": "grpc",
        "TANGO_TELEMETRY_LOGGING_ENDPOINTS": "grpc://h:4317",
    }
    given = handed(user, (10, 3, 1))
    assert given["TANGO_TELEMETRY_TYPES"] == "tracing,logging"
    assert given["TANGO_TELEMETRY_LOGGING_EXPORTERS"] == "grpc"


def test_child_processes_read_the_users_settings_again():
    environment = dict(HTTP)
    apply_cpptango_environment({"TANGO_TELEMETRY_ENABLE": "off"}, environment)
    assert environment["TANGO_TELEMETRY_ENABLE"] == "off"
    assert json.loads(environment["PYTANGO_TELEMETRY_HANDED_ON"]) == {"TANGO_TELEMETRY_ENABLE": ["off", "on"]}
    assert TelemetryConfig.from_env(environment).enabled is True


def test_a_process_that_is_off_hands_on_what_cpptango_can_parse_and_nothing_else():
    assert environment_when_off({}) == {}
    assert environment_when_off({"TANGO_TELEMETRY_ENABLE": "off", "TANGO_TELEMETRY_TYPES": "tracing"}) == {}
    hostile = {
        "TANGO_TELEMETRY_ENABLE": "",
        "TANGO_TELEMETRY_TYPES": "",
        "TANGO_TELEMETRY_TRACES_EXPORTER": "file",
        "TANGO_TELEMETRY_TRACES_ENDPOINT": "/spans",
        "TANGO_TELEMETRY_TRACING_ENDPOINTS": "cerr",
    }
    assert environment_when_off(hostile) == {
        "TANGO_TELEMETRY_ENABLE": "off",
        "TANGO_TELEMETRY_TYPES": None,
        "TANGO_TELEMETRY_TRACES_EXPORTER": None,
        "TANGO_TELEMETRY_TRACES_ENDPOINT": None,
    }


@pytest.mark.parametrize("version", [(10, 0, 3), (10, 1, 5), (10, 3, 1)])
@pytest.mark.parametrize("kernel", [True, False])
def test_what_was_handed_on_is_put_back(version, kernel):
    user = {**HTTP, "TANGO_TELEMETRY_TOPICS": "", "HOME": "/home/me"}
    environment = dict(user)
    apply_cpptango_environment(handed(user, version, kernel=kernel), environment)
    assert environment != user
    apply_cpptango_environment(handed(user, version, kernel=not kernel), environment)  # and again
    restore_environment(environment)
    assert environment == user


def test_a_child_process_puts_back_what_its_parent_had():
    inherited = dict(HTTP)
    apply_cpptango_environment(handed(HTTP, (10, 3, 1)), inherited)
    apply_cpptango_environment(handed(HTTP, (10, 1, 5)), inherited)
    restore_environment(inherited)
    assert inherited == HTTP


def test_what_was_set_since_is_the_users_word_and_stays():
    environment = dict(HTTP)
    apply_cpptango_environment(handed(HTTP, (10, 3, 1)), environment)
    environment["TANGO_TELEMETRY_TOPICS"] = "polling"
    restore_environment(environment)
    assert environment == {**HTTP, "TANGO_TELEMETRY_TOPICS": "polling"}


@pytest.mark.parametrize("note", ["", "garbage", "[]", '{"TANGO_TELEMETRY_ENABLE": 1}'])
def test_a_note_that_is_none_puts_nothing_back(note):
    environment = {**HTTP, "PYTANGO_TELEMETRY_HANDED_ON": note}
    restore_environment(environment)
    assert environment == HTTP


def test_afterwards_pytango_gets_the_users_settings_unless_it_cannot_follow_them():
    assert environment_afterwards(HTTP) == {}
    ours = {"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TRACING_EXPORTERS": "file"}
    assert environment_afterwards(ours) == {
        "TANGO_TELEMETRY_ENABLE": "off",
        "TANGO_TELEMETRY_TRACING_EXPORTERS": None,
    }


@pytest.mark.parametrize(
    ("exporters", "endpoints", "stay"),
    [
        ("grpc", "grpc://host", False),
        (None, "http://h:4318/v1/traces", False),  # taken for the console's
        ("grpc,http", "grpc://h:4317", False),
        ("http", "http://h:1,http://g:2", False),
        ("console,grpc", ",grpc://h:4317", False),
        ("grpc", "", True),
        ("console,grpc", "cout, grpc://h:4317", True),
    ],
)
@pytest.mark.parametrize("kind", ["TRACING", "LOGGING"])
def test_an_endpoint_that_fails_every_proxy_is_taken_away_when_off(kind, exporters, endpoints, stay):
    """Tried on 10.3.1, with the telemetry off."""
    names = (f"TANGO_TELEMETRY_{kind}_EXPORTERS", f"TANGO_TELEMETRY_{kind}_ENDPOINTS")
    user = {
        name: value for name, value in zip(names, (exporters, endpoints), strict=True) if value is not None
    }
    assert environment_when_off(user) == ({} if stay else dict.fromkeys(names))
