"""Which series counts a call, within bounds; what is exported of them, and when; where it goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Sum
from tango_telemetry.base import system
from tango_telemetry.metrics.calls import MOST_ERRORS, MOST_KINDS, MOST_SERIES, CallMetrics
from tango_telemetry.metrics.source import (
    CHUNK,
    COUNTER,
    HISTOGRAM,
    Collected,
    MetricSource,
    encode_number,
)
from tango_telemetry.pipeline import METRICS, Endpoint
from tango_telemetry.settings.config import TelemetryConfig

METRIC = "rpc.client.call.duration"


class Count:
    """A series in Python."""

    def __init__(self, told: Any, failed: Callable[[BaseException], Any]) -> None:
        self.told = dict(told)
        self.fail = failed


def counting(by_device: bool = False) -> CallMetrics:
    metrics = CallMetrics(by_device)
    metrics.switch_on(lambda: lambda metric, told, failed: Count(told, failed))
    return metrics


def call(method: str, **more: str) -> dict[str, Any]:
    return {
        "rpc.system.name": "tango",
        "rpc.method": method,
        "tango.operation": "command_inout",
        "tango.device.name": more.pop("device", "a/b/c"),
        "code.line.number": 5,
    }


def test_a_series_is_what_is_called() -> None:
    metrics = counting()
    first = metrics.find(METRIC, call("On"))
    assert first is metrics.find(METRIC, call("On", device="x/y/z"))
    assert first is not metrics.find(METRIC, call("Off"))
    assert first is not metrics.find("rpc.server.call.duration", call("On"))
    assert first.told == {  # type: ignore[union-attr]
        "rpc.system.name": "tango",
        "rpc.method": "On",
        "tango.operation": "command_inout",
    }
    assert metrics.table(METRIC, call("Whatever")) == {
        "On": first,
        "Off": metrics.find(METRIC, call("Off")),
    }


def test_by_device_each_device_has_its_own() -> None:
    metrics = counting(by_device=True)
    assert metrics.find(METRIC, call("On")) is not metrics.find(METRIC, call("On", device="x/y/z"))
    assert list(metrics.table(METRIC, call("On"))) == ["On"]


def test_series_are_bounded() -> None:
    metrics = counting()
    found = [metrics.find(METRIC, call(f"Command{number}")) for number in range(MOST_SERIES + 500)]
    series = dict(metrics)[METRIC]
    assert len(series) == MOST_SERIES
    overflow = series[-1]
    assert overflow.told == {"otel.metric.overflow": True}  # type: ignore[attr-defined]
    assert found[: MOST_SERIES - 1] == series[:-1]
    assert set(found[MOST_SERIES - 1 :]) == {overflow}
    assert overflow.fail(ValueError()) is overflow
    # One that was there first is still found, and what is not under None, at no price in memory.
    table = metrics.table(METRIC, call("Command0"))
    assert (table["Command0"], table[None]) == (found[0], overflow)
    assert len(table) == MOST_SERIES
    assert found[0].fail(ValueError()) is overflow  # type: ignore[union-attr]


def test_errors_are_bounded() -> None:
    metrics = counting()
    series: Any = metrics.find(METRIC, call("On"))

    def fail_with(name: str) -> str:
        failed = series.fail(type(name, (Exception,), {"__module__": "builtins"})())
        assert failed.fail(KeyError()) is failed
        assert failed.told.items() >= series.told.items()
        return str(failed.told["error.type"])

    kinds = [fail_with(f"Error{number}") for number in range(MOST_ERRORS + 5)]
    assert kinds[:MOST_ERRORS] == [f"Error{number}" for number in range(MOST_ERRORS)]
    assert set(kinds[MOST_ERRORS:]) == {"_OTHER"}
    assert fail_with("Error3") == "Error3"


def test_where_nobody_can_count_there_is_no_series() -> None:
    metrics = CallMetrics(False)
    metrics.switch_on(lambda: None)
    assert metrics.find(METRIC, call("On")) is None
    assert [len(series) for _, series in metrics] == [0, 0, 0]


def test_calls_of_several_threads_wait_for_the_beginning() -> None:
    metrics = CallMetrics(False)
    begun: list[int] = []

    def begin() -> Any:
        begun.append(1)
        assert metrics.find(METRIC, call("Inner")) is None  # what begins makes no call that is counted
        time.sleep(0.2)
        return lambda metric, told, failed: Count(told, failed)

    metrics.switch_on(begin)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(metrics.find(METRIC, call("On")))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun == [1]
    assert len(set(found)) == 1
    assert found[0] is not None


def create_source(points: int = 1, interval: float = 60.0) -> MetricSource:
    def collect(start: int, now: int) -> list[Collected]:
        assert 0 < start <= now
        return [
            Collected("a.histogram", "s", "what", HISTOGRAM, [b"\x0a\x00"] * points),
            Collected("a.counter", "1", "what else", COUNTER, [b"\x0a\x00"]),
            Collected("empty", "1", "", COUNTER, []),
        ]

    return MetricSource(collect, lambda: {"service.name": "here"}, interval)


def test_a_source_that_has_not_begun_gives_nothing() -> None:
    source = create_source()
    source.collect()
    assert source.drain(10**6) == (b"", 0)
    assert source.pending() == (0, 0)


def test_what_is_due_is_given_once() -> None:
    source = create_source(interval=0.0)
    woken: list[int] = []
    source.set_wake(lambda: woken.append(1))
    source.start()
    assert woken == [1]
    source.interval = 60.0
    payload, points = source.drain(10**6)
    assert points == 2
    assert source.drain(10**6) == (b"", 0)
    request = ExportMetricsServiceRequest.FromString(payload)
    metrics = [each.scope_metrics[0].metrics[0] for each in request.resource_metrics]
    assert [(each.name, each.unit, each.WhichOneof("data")) for each in metrics] == [
        ("a.histogram", "s", "exponential_histogram"),
        ("a.counter", "1", "sum"),
    ]
    assert metrics[0].exponential_histogram.aggregation_temporality == 2
    assert (metrics[1].sum.aggregation_temporality, metrics[1].sum.is_monotonic) == (2, True)
    assert {each.resource.attributes[0].value.string_value for each in request.resource_metrics} == {"here"}
    assert {each.scope_metrics[0].scope.name for each in request.resource_metrics} == {"tango_telemetry"}
    source.stop()
    source.collect()
    assert source.pending() == (0, 0)


def test_an_export_comes_in_parts() -> None:
    source = create_source(3 * CHUNK + 1)
    source.start()
    source.collect()
    waiting, size = source.pending()
    assert waiting == 3 * CHUNK + 2
    source.collect()  # again, before anybody took it
    assert source.pending() == (waiting, size)
    counts = []
    while (part := source.drain(1))[1]:
        counts.append(part[1])
    assert counts == [CHUNK, CHUNK, CHUNK, 1, 1]
    source.collect()
    assert source.drain(10**6)[1] == waiting


def test_a_forked_child_begins_anew() -> None:
    source = create_source()
    source.start()
    source.collect()
    child = os.fork()
    if child == 0:
        os._exit(0 if source.pending() == (0, 0) and source.drain(10**6) == (b"", 0) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert source.pending()[0] == 2


ON = {"TANGO_TELEMETRY_ENABLE": "on", "PYTANGO_TELEMETRY_METRICS": "on"}
HTTP = {**ON, "TANGO_TELEMETRY_TRACES_EXPORTER": "http"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (ON, [Endpoint("console", "cout", METRICS)]),
        (HTTP, [Endpoint("http", "http://localhost:4318/v1/metrics", METRICS)]),
        (
            {**HTTP, "TANGO_TELEMETRY_TRACES_ENDPOINT": "http://c:1/otlp/v1/traces"},
            [Endpoint("http", "http://c:1/otlp/v1/metrics", METRICS)],
        ),
        (
            {**HTTP, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:2/v1/metrics"},
            [Endpoint("http", "http://m:2/v1/metrics", METRICS)],
        ),
        (
            {
                **ON,
                "TANGO_TELEMETRY_TRACING_EXPORTERS": "grpc,file",
                "TANGO_TELEMETRY_TRACING_ENDPOINTS": "grpc://c:4317,/tmp/t",
            },
            [Endpoint("grpc", "grpc://c:4317", METRICS), Endpoint("file", "/tmp/t", METRICS)],
        ),
        ({**HTTP, "TANGO_TELEMETRY_ENABLE": "off"}, []),
        ({**HTTP, "PYTANGO_TELEMETRY_METRICS": "off"}, []),
        ({"TANGO_TELEMETRY_ENABLE": "on"}, []),
        ({**HTTP, "OTEL_SDK_DISABLED": "True"}, []),
        ({**ON, "TANGO_TELEMETRY_TRACES_EXPORTER": "none"}, []),
        # Traces are left out, metrics are not.
        (
            {**HTTP, "TANGO_TELEMETRY_TYPES": "none"},
            [Endpoint("http", "http://localhost:4318/v1/metrics", METRICS)],
        ),
    ],
)
def test_metrics_go_beside_the_traces(variables: dict[str, str], expected: list[Endpoint]) -> None:
    config = TelemetryConfig.from_env(variables)
    assert list(config.metrics_endpoints) == expected
    assert config.problems == ()


def test_an_endpoint_that_does_not_say_where_metrics_go() -> None:
    config = TelemetryConfig.from_env({**HTTP, "TANGO_TELEMETRY_TRACES_ENDPOINT": "http://c:1/spans"})
    assert config.metrics_endpoints == ()
    (problem,) = config.problems
    assert "where metrics go. Set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT. No data points are sent" in problem


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, 60.0),
        ({"OTEL_METRIC_EXPORT_INTERVAL": "5000"}, 5.0),
        ({"PYTANGO_TELEMETRY_METRICS_INTERVAL": "7"}, 7.0),
        ({"PYTANGO_TELEMETRY_METRICS_INTERVAL": "7", "OTEL_METRIC_EXPORT_INTERVAL": "5000"}, 7.0),
    ],
)
def test_the_interval(variables: dict[str, str], seconds: float) -> None:
    config = TelemetryConfig.from_env({**ON, **variables})
    assert (config.metrics_interval, config.problems) == (seconds, ())


@pytest.mark.parametrize(
    "name", ["PYTANGO_TELEMETRY_METRICS_INTERVAL", "OTEL_METRIC_EXPORT_INTERVAL", "PYTANGO_TELEMETRY_METRICS"]
)
def test_what_cannot_be_used_is_said(name: str) -> None:
    config = TelemetryConfig.from_env({**ON, name: "often"})
    assert config.metrics_interval == 60.0
    (problem,) = config.problems
    assert problem.startswith(f"{name}='often'")


def test_events_are_counted_within_bounds() -> None:
    metrics = counting()
    event = {"messaging.system": "tango", "tango.event.type": "change", "tango.device.name": "a/b/c"}
    sent = "messaging.client.sent.messages"
    for _ in range(3):
        metrics.note(sent, event)
    metrics.note(sent, {**event, "error.type": "API_MissedEvents"})
    told = {"messaging.system": "tango", "tango.event.type": "change"}
    assert metrics.count_of(sent) == [(3, told), (1, {**told, "error.type": "API_MissedEvents"})]
    for number in range(MOST_KINDS + 10):
        metrics.note(sent, {"error.type": str(number)})
    counts = metrics.count_of(sent)
    assert len(counts) == MOST_KINDS
    assert counts[-1] == (13, {"otel.metric.overflow": True})


def test_numbers_are_encoded_as_what_they_are() -> None:
    for value, kind in ((-5, "as_int"), (2.5, "as_double")):
        (point,) = Sum.FromString(encode_number(value, {"a": "b", "c": True}, 1, 2)).data_points
        assert (point.WhichOneof("value"), getattr(point, kind)) == (kind, value)
        assert (point.start_time_unix_nano, point.time_unix_nano) == (1, 2)
        assert [each.key for each in point.attributes] == ["a", "c"]


def test_the_process_tells_its_memory_and_threads() -> None:
    memory, threads = system.memory_in_use(), system.count_threads()
    assert memory is not None
    assert 2**20 < memory < 2**34
    assert threads == len(os.listdir("/proc/self/task"))
