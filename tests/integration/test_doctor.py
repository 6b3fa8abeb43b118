"""The command in a process of its own: its verdict in each of the three dependency configurations, and its
exit status.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.support import PYTANGO
from receiver import HANG, Receiver, status

# Imitates an environment in which these are not installed: neither modules nor metadata.
WITHOUT = """
import importlib.abc, importlib.metadata, runpy, sys

missing = {missing!r}

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if any(name == m or name.startswith(m + ".") for m in missing):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
sys.argv[0] = "tango-telemetry"
runpy.run_module("tango_telemetry_tools", run_name="__main__")
"""
NONE = ("opentelemetry", "tango_telemetry_native")
API_ONLY = (
    "opentelemetry.sdk",
    "opentelemetry.exporter",
    "opentelemetry.proto",
    "opentelemetry.semconv",
    "tango_telemetry_native",
)
FULL: tuple[str, ...] = ()
WITHOUT_NATIVE = "pytango" if PYTANGO >= (10,) else "noop"
"""The bridge that is left without the native package."""


class Doctor:
    """Runs the command with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(
        self, *arguments: str, missing: tuple[str, ...] = FULL, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if "TELEMETRY" not in name and not name.startswith(("OTEL_", "TANGO"))
        }
        own = {"HOME": str(self.home), "PYTHONUTF8": "1", "COLUMNS": "80"}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT.format(missing=missing), "doctor", *arguments],
            env={**inherited, **own, **environ},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def json(self, *arguments: str, missing: tuple[str, ...] = FULL, **environ: str) -> dict[str, Any]:
        done = self("--json", *arguments, missing=missing, **environ)
        assert done.stderr == ""
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if found["traces_arrive"] else 1)
        return found


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


@pytest.fixture(params=["http", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver(request.param) as made:
        yield made


def sent_to(receiver: Receiver) -> dict[str, str]:
    return {
        "TANGO_TELEMETRY_ENABLE": "on",
        "TANGO_TELEMETRY_TRACES_EXPORTER": receiver.protocol,
        "TANGO_TELEMETRY_TRACES_ENDPOINT": receiver.endpoint,
    }


def errors(found: dict[str, Any]) -> list[dict[str, str]]:
    return [problem for problem in found["problems"] if problem["severity"] == "error"]


def test_full_with_a_collector(doctor: Doctor, receiver: Receiver) -> None:
    found = doctor.json(**sent_to(receiver))
    assert found["traces_arrive"]
    assert errors(found) == []
    assert found["installed"]["configuration"] == "full"
    assert found["context"]["bridge"] != "noop"
    assert found["context"]["tracer_provider"] in ("sdk", "native")
    assert [e["result"] for e in found["endpoints"]] == ["delivered"]
    (span,) = receiver.spans
    assert (span.service, span.name) == ("tango-telemetry doctor", "tango-telemetry doctor")


def test_a_log_record_is_sent_where_logs_are_asked_for(doctor: Doctor, receiver: Receiver) -> None:
    found = doctor.json(**sent_to(receiver), PYTANGO_TELEMETRY_LOGS="all")
    assert [e["result"] for e in found["endpoints"]] == ["delivered", "delivered"]
    assert found["endpoints"][1]["target"] == f"{receiver.endpoint_of('logs')} (logs)"
    (log,) = receiver.logs
    assert (log.service, log.body) == ("tango-telemetry doctor", "tango-telemetry doctor")
    assert len(receiver.spans) == 1


def test_a_data_point_is_sent_where_metrics_are_asked_for(doctor: Doctor, receiver: Receiver) -> None:
    found = doctor.json(**sent_to(receiver), PYTANGO_TELEMETRY_METRICS="on")
    assert [e["result"] for e in found["endpoints"]] == ["delivered", "delivered"]
    assert found["endpoints"][1]["target"] == f"{receiver.endpoint_of('metrics')} (metrics)"
    (resource_metrics,) = receiver.metrics
    (metric,) = resource_metrics.scope_metrics[0].metrics
    assert (metric.name, metric.gauge.data_points[0].as_int) == ("tango_telemetry.doctor", 1)
    assert resource_metrics.resource.attributes[0].value.string_value == "tango-telemetry doctor"
    assert len(receiver.spans) == 1


def test_full_without_a_collector(doctor: Doctor) -> None:
    with socket.socket() as taken:  # bound and not listening: refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for exporter, url in (
            ("http", f"http://127.0.0.1:{port}/v1/traces"),
            ("grpc", f"grpc://127.0.0.1:{port}"),
        ):
            found = doctor.json(
                TANGO_TELEMETRY_ENABLE="on",
                TANGO_TELEMETRY_TRACES_EXPORTER=exporter,
                TANGO_TELEMETRY_TRACES_ENDPOINT=url,
            )
            assert not found["traces_arrive"]
            (problem,) = errors(found)
            assert url in problem["what"]
            assert str(port) in problem["fix"]


def test_a_collector_that_never_answers(doctor: Doctor, receiver: Receiver) -> None:
    receiver.fault = HANG
    found = doctor.json(**sent_to(receiver))
    assert [e["result"] for e in found["endpoints"]] == ["failed"]
    assert len(errors(found)) == 1


def test_a_collector_that_wants_a_token(doctor: Doctor, receiver: Receiver) -> None:
    receiver.fault = status(401)
    (problem,) = errors(doctor.json(**sent_to(receiver)))
    assert problem["fix"].startswith("export OTEL_EXPORTER_OTLP_HEADERS=")


def test_headers_and_opentelemetrys_endpoint_are_used_and_the_token_is_not_shown(doctor: Doctor) -> None:
    with Receiver("http") as receiver:
        found = doctor.json(
            TANGO_TELEMETRY_ENABLE="on",
            TANGO_TELEMETRY_TRACES_EXPORTER="http",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint.removesuffix("/v1/traces"),
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20hunter2",
        )
        assert found["traces_arrive"]
        assert receiver.headers[0]["authorization"] == "Bearer hunter2"
        assert "hunter2" not in json.dumps(found)


def test_one_of_two_endpoints_does_not_work(doctor: Doctor, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    found = doctor.json(
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACING_EXPORTERS=f"{receiver.protocol},file",
        TANGO_TELEMETRY_TRACING_ENDPOINTS=f"{receiver.endpoint},{tmp_path}/taken/spans",
    )
    assert [e["result"] for e in found["endpoints"]] == ["delivered", "failed"]
    assert not found["traces_arrive"]


def test_a_folder_is_looked_at_and_nothing_is_left_in_it(doctor: Doctor, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    found = doctor.json(
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="file",
        TANGO_TELEMETRY_TRACES_ENDPOINT=str(folder),
    )
    assert found["traces_arrive"]
    assert not folder.parent.exists()


@pytest.mark.parametrize(
    ("missing", "configuration", "provider", "bridge"),
    [(NONE, "none", "none", "noop"), (API_ONLY, "api-only", "none", WITHOUT_NATIVE)],
)
def test_without_opentelemetry(
    doctor: Doctor,
    receiver: Receiver,
    missing: tuple[str, ...],
    configuration: str,
    provider: str,
    bridge: str,
) -> None:
    found = doctor.json(missing=missing, **sent_to(receiver))
    assert not found["traces_arrive"]
    assert found["installed"]["configuration"] == configuration
    assert found["context"]["tracer_provider"] == provider
    assert found["context"]["bridge"] == bridge
    assert [problem["fix"] for problem in errors(found)] == ['pip install "tango-telemetry[full]"']
    assert [e["result"] for e in found["endpoints"]] == ["skipped"]
    assert receiver.spans == []


def test_without_the_native_package_traces_arrive_with_a_warning(doctor: Doctor, receiver: Receiver) -> None:
    found = doctor.json(missing=("tango_telemetry_native",), **sent_to(receiver))
    assert found["traces_arrive"]
    assert found["context"]["bridge"] == WITHOUT_NATIVE
    assert "pip install tango-telemetry-native" in [problem["fix"] for problem in found["problems"]]


def test_without_pytango(doctor: Doctor) -> None:
    found = doctor.json(missing=("tango",), TANGO_TELEMETRY_ENABLE="on")
    assert "pip install pytango" in [problem["fix"] for problem in errors(found)]


def test_an_exporter_that_is_not_installed(doctor: Doctor) -> None:
    found = doctor.json(
        missing=("grpc",),
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="grpc",
        TANGO_TELEMETRY_TRACES_ENDPOINT="grpc://127.0.0.1:4317",
    )
    assert [problem["fix"] for problem in errors(found)] == ['pip install "tango-telemetry[full]"']


def test_the_picture_fits_80_columns_and_is_plain_where_nobody_looks(doctor: Doctor) -> None:
    done = doctor(TANGO_TELEMETRY_TRACES_ENDPOINT="cerr")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert re.search(r"TANGO_TELEMETRY_TRACES_ENDPOINT +cerr  \(environment\)", done.stdout)
    assert done.stdout.splitlines()[-3:] == [
        "✗ telemetry is off: TANGO_TELEMETRY_ENABLE is unset",
        "    export TANGO_TELEMETRY_ENABLE=on",
        "✗ traces would not arrive",
    ]


def test_settings_that_would_end_a_process_of_cpptangos_do_not_end_this_one(doctor: Doctor) -> None:
    found = doctor.json(
        "--device",
        "tango://127.0.0.1:1/a/b/c#dbase=no",
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TYPES="",
        TANGO_TELEMETRY_LOGGING_EXPORTERS="none",
    )
    assert found["device"]["answers"] is False
    assert not found["traces_arrive"]


SERVER = """
import sys
from tango.server import Device
if sys.argv.pop(1) == "traced":
    import tango_telemetry_server
class Motor(Device):
    pass
Motor.run_server()
"""


@pytest.fixture(params=["traced", "plain"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("TANGO", "PYTANGO", "OTEL"))
    }
    if request.param == "traced":
        environ |= {
            "TANGO_TELEMETRY_ENABLE": "on",
            "TANGO_TELEMETRY_TRACES_EXPORTER": "file",
            "TANGO_TELEMETRY_TRACES_ENDPOINT": str(tmp_path / "spans"),
            "OTEL_EXPORTER_OTLP_HEADERS": "token=hidden-word",
        }
    arguments = ["test", "-nodb", "-dlist", "test/motor/1", "-ORBendPoint", f"giop:tcp:127.0.0.1:{port}"]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, request.param, *arguments],
        env=environ,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert any("Ready to accept" in line for line in server.stdout)
        yield f"tango://127.0.0.1:{port}/test/motor/1#dbase=no"
    finally:
        server.kill()
        server.communicate(timeout=10)


def test_what_a_device_reports(doctor: Doctor, device: str, request: pytest.FixtureRequest) -> None:
    found = doctor.json(
        "--device", device, TANGO_TELEMETRY_ENABLE="on", TANGO_TELEMETRY_TRACES_ENDPOINT="cerr"
    )
    assert found["traces_arrive"], found["problems"]
    report = found["device"]
    assert report["answers"] is True
    assert report["device_class"] == "Motor"
    assert report["server"].endswith("/test")
    assert report["idl_version"] == (6 if PYTANGO >= (10,) else 5)
    if report["telemetry"]:
        assert isinstance(report["telemetry"]["enabled"], bool)
    if request.node.callspec.params["device"] == "plain":
        assert report["report"] is None
        return
    said = report["report"]
    assert (said["traced"], said["device"], said["device_class"]) == (True, "test/motor/1", "Motor")
    assert [target.partition(" ")[0] for target in said["endpoints"]] == ["file"]
    assert said["settings"]["OTEL_EXPORTER_OTLP_HEADERS"] == "token=***"
    assert "hidden-word" not in json.dumps(found)
    assert "goes to" in doctor("--device", device, TANGO_TELEMETRY_ENABLE="on").stdout


@pytest.mark.parametrize(
    ("name", "value"), [("PYTANGO_TELEMETRY_CONTEXT_BRIDGE", "noop"), ("OTEL_PROPAGATORS", "baggage")]
)
def test_a_bridge_that_a_setting_keeps_away(doctor: Doctor, name: str, value: str) -> None:
    found = doctor.json(TANGO_TELEMETRY_ENABLE="on", TANGO_TELEMETRY_TRACES_ENDPOINT="cerr", **{name: value})
    assert found["context"]["bridge"] == "noop"
    assert [problem["fix"] for problem in found["problems"]] == [f"unset {name}"]


def test_a_setting_that_the_sdk_does_not_take(doctor: Doctor) -> None:
    found = doctor.json(
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="file",
        TANGO_TELEMETRY_TRACES_ENDPOINT=str(doctor.home / "traces"),
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="many",
    )
    assert [problem["fix"] for problem in found["problems"]] == ["unset OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"]
    assert not found["traces_arrive"]
    assert found["installed"]["configuration"] == "full"


@pytest.mark.parametrize(
    ("environ", "fix"),
    [
        ({"OTEL_TRACES_SAMPLER": "alwayson"}, "unset OTEL_TRACES_SAMPLER"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "lots"},
            "export OTEL_TRACES_SAMPLER_ARG=1",
        ),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, "export OTEL_TRACES_SAMPLER_ARG=1"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "beamline"}, "unset OTEL_RESOURCE_ATTRIBUTES"),
        ({"OTEL_PROPAGATORS": "tracecontxt,baggage"}, "unset OTEL_PROPAGATORS"),
        ({"OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "nope"}, "unset OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"),
    ],
)
@pytest.mark.parametrize("native_spans", ["on", "off"])
def test_a_setting_of_opentelemetrys_that_it_replaces_by_its_default(
    doctor: Doctor, environ: dict[str, str], fix: str, native_spans: str
) -> None:
    found = doctor.json(
        TANGO_TELEMETRY_ENABLE="on",
        TANGO_TELEMETRY_TRACES_EXPORTER="file",
        TANGO_TELEMETRY_TRACES_ENDPOINT=str(doctor.home / "traces"),
        PYTANGO_TELEMETRY_NATIVE_SPANS=native_spans,
        **environ,
    )
    own = [problem for problem in found["problems"] if "OTEL_" in problem["fix"]]
    assert [(problem["severity"], problem["fix"]) for problem in own] == [("warning", fix)]
    name, value = fix.split()[1].partition("=")[0], environ.get(fix.split()[1].partition("=")[0])
    assert value is None or own[0]["what"].startswith(f"{name}={value}: ")
    assert found["traces_arrive"]
    assert found["context"]["tracer_provider"] == {"on": "native", "off": "sdk"}[native_spans]
