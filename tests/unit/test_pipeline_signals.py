"""One pipeline for each signal: where its items go, what bounds it, and its account."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import receiver as receivers
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from receiver import Receiver
from tango_telemetry.pipeline import (
    LOGS,
    METRICS,
    TRACES,
    Endpoint,
    PipelineSettings,
    Signal,
    WireSettings,
    pipeline_stats,
)
from tango_telemetry.pipeline.exporters.choice import create_exporter
from tango_telemetry.pipeline.exporters.otlp import _to_json_lines_by_protobuf, read_answer
from tango_telemetry.pipeline.pipeline import Pipeline
from tango_telemetry.pipeline.registry import Registry
from tango_telemetry.pipeline.settings import default_target

every_signal = pytest.mark.parametrize("signal", [TRACES, LOGS, METRICS], ids=str)


class Source:
    """An encoded source in memory."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()
        self._wake: Callable[[], None] = lambda: None

    def put(self, text: str) -> None:
        with self._lock:
            self._waiting.append(_request(self._signal, text))
        self._wake()

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        with self._lock:
            return (self._waiting.popleft(), 1) if self._waiting else (b"", 0)

    def pending(self) -> tuple[int, int]:
        return len(self._waiting), sum(map(len, self._waiting))

    def dropped(self) -> int:
        return 0

    def set_wake(self, wake: Callable[[], None]) -> None:
        self._wake = wake


def _request(signal: Signal, text: str) -> bytes:
    request: Any
    if signal is LOGS:
        request = ExportLogsServiceRequest()
        record = request.resource_logs.add().scope_logs.add().log_records.add()
        record.body.string_value = text
        record.trace_id, record.span_id = b"\x0a" * 16, b"\x0b" * 8
    elif signal is METRICS:
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
        metric.name = text
        exemplar = metric.exponential_histogram.data_points.add().exemplars.add()
        exemplar.trace_id, exemplar.span_id = b"\x0a" * 16, b"\x0b" * 8
    else:
        request = ExportTraceServiceRequest()
        span = request.resource_spans.add().scope_spans.add().spans.add()
        span.name = text
        span.links.add(trace_id=b"\x0a" * 16, span_id=b"\x0b" * 8)
    return bytes(request.SerializeToString())


def _received(receiver: Receiver, signal: Signal) -> list[str]:
    if signal is LOGS:
        return [record.body for record in receiver.logs]
    if signal is METRICS:
        return [one.scope_metrics[0].metrics[0].name for one in receiver.metrics]
    return [span.name for span in receiver.spans]


@pytest.fixture
def registry() -> Any:
    made = Registry()
    made.install_exit_hooks = lambda: None  # type: ignore[method-assign]
    made.configure(PipelineSettings(schedule_delay=0.05, retry_initial=0.05, retry_max=0.2))
    yield made
    made.shutdown(1.0)


def _pipeline(registry: Registry, endpoint: Endpoint) -> tuple[Pipeline, Source]:
    pipeline = registry.get(endpoint, "batch")
    source = Source(endpoint.signal)
    pipeline.accept_encoded(source)
    return pipeline, source


@every_signal
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("fault", [None, receivers.REFUSE, receivers.status(503), receivers.CLOSE], ids=str)
def test_items_arrive_with_and_without_an_outage(
    registry: Registry, protocol: str, signal: Signal, fault: receivers.Fault | None
) -> None:
    with Receiver(protocol, fault=fault) as receiver:
        pipeline, source = _pipeline(registry, Endpoint(protocol, receiver.endpoint_of(str(signal)), signal))
        for number in range(20):
            source.put(str(number))
        if fault is not None:
            assert not pipeline.flush(5.0)
            receiver.fault = None
        assert pipeline.flush(5.0) or pipeline.flush(5.0)
        assert sorted(_received(receiver, signal), key=int) == [str(number) for number in range(20)]
        account = registry.stats(signal)
        assert (account.made, account.delivered, account.dropped) == (20, 20, 0)
        others = [registry.stats(other).made for other in (TRACES, LOGS, METRICS) if other is not signal]
        assert others == [0, 0]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_one_collector_takes_all_signals_and_one_flush_sends_them(registry: Registry, protocol: str) -> None:
    with Receiver(protocol) as receiver:
        traces = Endpoint(protocol, receiver.endpoint)
        for signal in (TRACES, LOGS, METRICS):
            _, source = _pipeline(registry, traces.of(signal))
            source.put(f"of {signal}")
        assert registry.flush(5.0)
        for signal in (TRACES, LOGS, METRICS):
            assert _received(receiver, signal) == [f"of {signal}"]


def test_no_signal_pushes_another_out(registry: Registry) -> None:
    registry.configure(PipelineSettings(max_queue_spans=10, schedule_delay=0.05, retry_initial=60.0))
    with Receiver("http", fault=receivers.status(503)) as receiver:
        traces = Endpoint("http", receiver.endpoint)
        spans, few = _pipeline(registry, traces)
        logs, many = _pipeline(registry, traces.of(LOGS))
        few.put("the span")
        for number in range(1000):
            many.put(str(number))
        assert not logs.flush(5.0)
        assert not spans.flush(5.0)
        receiver.fault = None
        assert spans.flush(5.0)
        assert registry.stats(TRACES).dropped == 0
        assert _received(receiver, TRACES) == ["the span"]


@every_signal
def test_what_a_collector_refuses_is_counted_and_named(
    registry: Registry, signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver("http", fault=receivers.partial_success(1, "not today")) as receiver:
        pipeline, source = _pipeline(registry, Endpoint("http", receiver.endpoint_of(str(signal)), signal))
        source.put("one")
        assert pipeline.flush(5.0)
    assert registry.stats(signal).dropped_by_reason == {"rejected": 1}
    (said,) = [record.getMessage() for record in caplog.records]
    assert f"1 {signal.items} were refused" in said
    assert "not today" in said


@every_signal
def test_answers_in_json_name_the_refused_of_each_signal(signal: Signal) -> None:
    name = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}
    body = json.dumps({"partialSuccess": {name[str(signal)]: "3", "errorMessage": "why"}}).encode()
    assert read_answer(body, "application/json") == (3, "why")


@every_signal
def test_the_spool_keeps_what_a_later_process_can_use(signal: Signal, tmp_path: Path) -> None:
    """That a later process sends it is seen in tests/faults, between processes."""
    settings = PipelineSettings(
        schedule_delay=0.05, retry_initial=60.0, retry_max=60.0, spool_dir=str(tmp_path)
    )
    with Receiver("http", fault=receivers.REFUSE) as receiver:
        endpoint = Endpoint("http", receiver.endpoint_of(str(signal)), signal)
        first = Pipeline(endpoint, "batch", settings, create_exporter(endpoint, settings))
        source = Source(signal)
        first.accept_encoded(source)
        source.put("kept")
        first.flush(2.0)
        assert first.stats().spooled == (1 if signal.spooled else 0)
        deadline = time.monotonic() + 5.0
        first.begin_shutdown(deadline)
        first.finish_shutdown(deadline)  # one more attempt, which fails
        kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        assert (b"kept" in kept) is signal.spooled


@every_signal
def test_files_are_named_by_signal_and_hold_standard_lines(
    registry: Registry, signal: Signal, tmp_path: Path
) -> None:
    pipeline, source = _pipeline(registry, Endpoint("file", str(tmp_path), signal))
    source.put("a line")
    assert pipeline.flush(5.0)
    (file,) = tmp_path.iterdir()
    assert file.name.endswith(f"{signal.suffix}.jsonl")
    (line,) = file.read_text().splitlines()
    (resource,) = json.loads(line)[signal.levels[0]]
    assert "a line" in json.dumps(resource[signal.levels[1]][0][signal.levels[2]])


@every_signal
def test_json_without_the_native_package_has_hexadecimal_ids(signal: Signal) -> None:
    line = _to_json_lines_by_protobuf(_request(signal, "text"), 16, signal).decode()
    assert f'"traceId":"{"0a" * 16}","spanId":"{"0b" * 8}"' in line.replace(" ", "") or (
        f'"spanId":"{"0b" * 8}","traceId":"{"0a" * 16}"' in line
    )


def test_where_a_signal_goes_by_default_and_beside_traces() -> None:
    assert default_target("http", LOGS) == "http://localhost:4318/v1/logs"
    assert default_target("http", METRICS) == "http://localhost:4318/v1/metrics"
    assert default_target("grpc", LOGS) == default_target("grpc")
    assert Endpoint("http", "http://a:1/v1/traces?x=1").of(LOGS).target == "http://a:1/v1/logs?x=1"
    assert Endpoint("http", "http://a:1").of(METRICS).target == "http://a:1/v1/metrics"
    assert Endpoint("http", "http://a:1/mine").of(LOGS).target == "http://a:1/mine"
    assert Endpoint("grpc", "grpc://a:1").of(LOGS) == Endpoint("grpc", "grpc://a:1", LOGS)
    assert Endpoint("file", "/v1/traces").of(LOGS).target == "/v1/traces"


def test_headers_are_those_of_the_signal() -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_HEADERS": "a=all",
        "OTEL_EXPORTER_OTLP_LOGS_HEADERS": "a=logs",
    }
    logs = WireSettings.from_env(environment, LOGS)
    settings = PipelineSettings(wire=WireSettings.from_env(environment), other_wires=((LOGS, logs),))
    assert settings.wire_of(TRACES).headers == (("a", "all"),)
    assert settings.wire_of(LOGS).headers == (("a", "logs"),)
    assert settings.wire_of(METRICS).headers == (("a", "all"),)


def test_an_unknown_signal_is_named_with_the_choices() -> None:
    with pytest.raises(ValueError, match="signal='spans' is not one of traces, logs, metrics"):
        pipeline_stats("spans")
