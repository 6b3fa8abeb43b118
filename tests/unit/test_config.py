"""Settings: both families of Tango's variables, one warning for each bad value, what a parent process handed
on.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tango_telemetry import Endpoint, TelemetryConfig
from tango_telemetry.settings import sources
from tango_telemetry.settings import variables as env

NAMES = sorted({*env.VARIABLES, *env.OPENTELEMETRYS})


def test_nothing_set_means_off_with_tangos_default_exporter():
    config = TelemetryConfig.from_env({})
    assert config.enabled is None
    assert config.endpoints == (Endpoint("console", "cout"),)
    assert config.problems == ()


@pytest.mark.parametrize(
    ("value", "expected"), [("on", True), ("1", True), ("TRUE", True), ("off", False), ("0", False)]
)
def test_enable(value, expected):
    assert TelemetryConfig.from_env({"TANGO_TELEMETRY_ENABLE": value}).enabled is expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"TRACES_EXPORTER": "console", "TRACES_ENDPOINT": "cerr"}, [("console", "cerr")]),
        ({"TRACES_EXPORTER": "grpc", "TRACES_ENDPOINT": "grpc://host:4317"}, [("grpc", "grpc://host:4317")]),
        (
            {"TRACES_EXPORTER": "http", "TRACES_ENDPOINT": "http://host:4318/v1/traces"},
            [("http", "http://host:4318/v1/traces")],
        ),
        ({"TRACES_EXPORTER": "file", "TRACES_ENDPOINT": "/tmp/traces"}, [("file", "/tmp/traces")]),
        ({"TRACES_EXPORTER": "none"}, []),
        # Without an endpoint: a collector on this machine, as in PyTango 10.3.1's built-in tracing
        ({"TRACES_EXPORTER": "http"}, [("http", "http://localhost:4318/v1/traces")]),
        ({"TRACING_EXPORTERS": "grpc"}, [("grpc", "grpc://localhost:4317")]),
        (
            {"TRACING_EXPORTERS": "file,grpc", "TRACING_ENDPOINTS": "/tmp/t"},
            [("file", "/tmp/t"), ("grpc", "grpc://localhost:4317")],
        ),
        (
            {"TRACING_EXPORTERS": "http, file", "TRACING_ENDPOINTS": "http://h:1/x, /tmp/t"},
            [("http", "http://h:1/x"), ("file", "/tmp/t")],
        ),
        (  # 10.3's names win over 10.0's, as in cppTango 10.3
            {"TRACES_EXPORTER": "none", "TRACING_EXPORTERS": "console", "TRACING_ENDPOINTS": "cout"},
            [("console", "cout")],
        ),
    ],
)
def test_exporters_of_both_families(settings, expected):
    config = TelemetryConfig.from_env({f"TANGO_TELEMETRY_{name}": value for name, value in settings.items()})
    assert config.endpoints == tuple(Endpoint(*pair) for pair in expected)
    assert config.problems == ()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"TRACES_EXPORTER": "jaeger"},
            ("TANGO_TELEMETRY_TRACES_EXPORTER", "'jaeger'", "console, grpc, http, file, none"),
        ),
        ({"TRACES_EXPORTER": "file"}, ("TANGO_TELEMETRY_TRACES_ENDPOINT", "not set", "directory")),
        (
            {"TRACES_EXPORTER": "http", "TRACES_ENDPOINT": "not a url"},
            ("TANGO_TELEMETRY_TRACES_ENDPOINT", "'not a url'", "http://"),
        ),
        (
            {"TRACES_EXPORTER": "grpc", "TRACES_ENDPOINT": "grpc://h:99999"},
            ("TANGO_TELEMETRY_TRACES_ENDPOINT", "grpc://"),
        ),
        ({"TRACING_EXPORTERS": "htpt"}, ("TANGO_TELEMETRY_TRACING_EXPORTERS", "'htpt'")),
    ],
)
def test_one_warning_names_variable_value_and_choices(settings, words):
    config = TelemetryConfig.from_env({f"TANGO_TELEMETRY_{name}": value for name, value in settings.items()})
    assert config.endpoints == ()
    (problem,) = config.problems
    for word in words:
        assert word in problem
    assert "the program runs on" in problem


def test_unknown_processor_falls_back_with_a_warning():
    config = TelemetryConfig.from_env({"PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE": "bulk"})
    assert config.span_processor is None
    assert "simple, batch" in config.problems[0]


def test_credentials_and_queries_never_reach_a_message():
    url = "ftp://user:secret@host/x?token=hidden"
    config = TelemetryConfig.from_env(
        {"TANGO_TELEMETRY_TRACES_EXPORTER": "http", "TANGO_TELEMETRY_TRACES_ENDPOINT": url}
    )
    assert config.problems
    assert "secret" not in config.problems[0]
    assert "hidden" not in config.problems[0]
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{'secret' * 40}@host",  # cut before it is looked at, it would have no @
        "http://user:secret/x@host:4318",
        "http://user:secret#x@host:4318",
        "http://user:secret,x@host:4318",  # two endpoints
        "user:secret/x@host:4318",
        "host:4318/v1/traces?token=secret",
    ],
)
def test_credentials_that_are_not_escaped_never_reach_a_message(url):
    config = TelemetryConfig.from_env(
        {"TANGO_TELEMETRY_TRACES_EXPORTER": "http", "TANGO_TELEMETRY_TRACES_ENDPOINT": url}
    )
    assert config.problems
    assert "secret" not in "".join(config.problems)


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "PYTANGO_TELEMETRY_QUEUE_MAX_BYTES",
        "PYTANGO_TELEMETRY_BATCH_MAX_BYTES",
        "PYTANGO_TELEMETRY_RETRY_MAX",
        "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT",
    ],
)
def test_a_number_that_c_cannot_hold_is_not_taken(name):
    """A wait of 1e300 s ended the worker by OverflowError; a queue of 1e24 spans cannot be made in C++."""
    config = TelemetryConfig.from_env({name: "1" + "0" * 24})
    assert name in config.problems[0]
    assert config.pipeline == TelemetryConfig.from_env({}).pipeline


@pytest.mark.parametrize(
    ("exporter", "variable", "value", "target"),
    [
        ("http", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318", "http://h:4318/v1/traces"),
        ("http", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318/", "http://h:4318/v1/traces"),
        ("http", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:4318/mine", "http://h:4318/mine"),
        ("grpc", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317", "http://h:4317"),
        ("grpc", "OTEL_EXPORTER_OTLP_ENDPOINT", "h:4317", "h:4317"),
    ],
)
def test_opentelemetrys_endpoint_stands_in_for_a_missing_one(exporter, variable, value, target):
    config = TelemetryConfig.from_env({"TANGO_TELEMETRY_TRACES_EXPORTER": exporter, variable: value})
    assert config.endpoints == (Endpoint(exporter, target),)
    assert not config.problems


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ENDPOINT": "http://h:4318"}, ("http", "http://h:4318/v1/traces")),
        ({"ENDPOINT": "http://h:4317"}, ("grpc", "http://h:4317")),
        ({"ENDPOINT": "http://h:1", "PROTOCOL": "grpc"}, ("grpc", "http://h:1")),
        ({"ENDPOINT": "http://h:4317", "PROTOCOL": "http/protobuf"}, ("http", "http://h:4317/v1/traces")),
        ({"TRACES_ENDPOINT": "http://h:1/x", "ENDPOINT": "http://other:1"}, ("http", "http://h:1/x")),
        ({"ENDPOINT": "http://h:1", "TRACES_PROTOCOL": "grpc", "PROTOCOL": "x"}, ("grpc", "http://h:1")),
        ({"PROTOCOL": "grpc"}, ("console", "cout")),
    ],
)
def test_opentelemetrys_variables_serve_where_tangos_name_no_endpoint(settings, expected):
    variables = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in settings.items()}
    config = TelemetryConfig.from_env(variables)
    assert config.endpoints == (Endpoint(*expected),)
    assert not config.problems
    tangos = {"TANGO_TELEMETRY_TRACING_EXPORTERS": "none"}
    assert TelemetryConfig.from_env({**variables, **tangos}).endpoints == ()


def test_a_bad_endpoint_of_opentelemetrys_is_named_by_its_variable():
    config = TelemetryConfig.from_env(
        {"TANGO_TELEMETRY_TRACES_EXPORTER": "http", "OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://h"}
    )
    assert config.endpoints == ()
    assert config.problems[0].startswith("OTEL_EXPORTER_OTLP_ENDPOINT=")


def test_opentelemetrys_headers_and_certificate_are_used_and_not_shown():
    config = TelemetryConfig.from_env(
        {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=hidden", "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem"}
    )
    assert config.pipeline.wire.headers == (("authorization", "hidden"),)
    assert config.pipeline.wire.certificate_file == "ca.pem"
    assert "hidden" not in repr(config)


def test_a_child_reads_what_the_user_set_not_what_cpptango_was_handed():
    note = json.dumps({"TANGO_TELEMETRY_ENABLE": ("off", "on"), "TANGO_TELEMETRY_TOPICS": ("user", None)})
    inherited = {
        "TANGO_TELEMETRY_ENABLE": "off",
        "TANGO_TELEMETRY_TOPICS": "user",
        "PYTANGO_TELEMETRY_HANDED_ON": note,
    }
    config = TelemetryConfig.from_env(inherited)
    assert config.enabled is True
    assert config.topics == ()
    # ... unless somebody has set it since
    assert TelemetryConfig.from_env({**inherited, "TANGO_TELEMETRY_ENABLE": "0"}).enabled is False


def test_tangorc_is_read_below_the_environment(tmp_path: Path, monkeypatch):
    rc = tmp_path / "tangorc"
    rc.write_text(
        "# comment\nTANGO_TELEMETRY_ENABLE=on\nTANGO_HOST=elsewhere:1\nTANGO_TELEMETRY_TRACES_EXPORTER = "
        "none\n"
    )
    monkeypatch.setattr(sources, "tangorc_paths", lambda: (rc,))
    monkeypatch.setenv("TANGO_TELEMETRY_TRACES_EXPORTER", "console")
    monkeypatch.delenv("TANGO_TELEMETRY_ENABLE", raising=False)
    found = sources.read_environment()
    assert found["TANGO_TELEMETRY_ENABLE"] == "on"
    assert found["TANGO_TELEMETRY_TRACES_EXPORTER"] == "console"
    assert found.get("TANGO_HOST") != "elsewhere:1"
    # ... also where a parent process handed the same value on
    monkeypatch.setenv("TANGO_TELEMETRY_ENABLE", "on")
    monkeypatch.setenv("PYTANGO_TELEMETRY_HANDED_ON", json.dumps({"TANGO_TELEMETRY_ENABLE": ("on", None)}))
    assert TelemetryConfig.from_env(sources.read_environment()).enabled is True


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=60) | st.just("x" * 1_000_000), max_size=6))
def test_no_value_of_any_variable_raises(mapping):
    config = TelemetryConfig.from_env(mapping)
    assert all(len(problem) < 6000 for problem in config.problems)


@pytest.mark.parametrize(
    ("types", "traces", "logs"),
    [("", 1, 0), ("tracing", 1, 0), ("logging,tracing", 1, 1), ("Logging", 0, 1), ("none", 0, 0)],
)
def test_types_choose_what_is_exported(types, traces, logs):
    config = TelemetryConfig.from_env({"TANGO_TELEMETRY_ENABLE": "on", "TANGO_TELEMETRY_TYPES": types})
    assert (len(config.endpoints), len(config.logs_endpoints)) == (traces, logs)
