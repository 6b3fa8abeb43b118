"""Requests in two: nothing is lost, nothing is twice, and each item keeps its resource and its scope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tango_telemetry.pipeline.exporters.halves import halve


def create_request(*scopes: tuple[str, str, int]) -> Any:
    """Return a request with resources, scopes in them, and so many spans in each."""
    request = ExportTraceServiceRequest()
    for number, (resource, scope, count) in enumerate(scopes):
        of_resource = request.resource_spans.add(schema_url=f"https://{resource}")
        of_resource.resource.attributes.add(key="service.name").value.string_value = resource
        of_scope = of_resource.scope_spans.add(schema_url=f"https://{scope}")
        of_scope.scope.name = scope
        for item in range(count):
            span = of_scope.spans.add(name=f"{number} {item}", start_time_unix_nano=2**60 + item, flags=256)
            span.attributes.add(key="text").value.string_value = "x" * (200 * item)
    return request


def read(payload: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Return each span with its resource and its scope."""
    for of_resource in ExportTraceServiceRequest.FromString(payload).resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                resource = of_resource.resource.SerializeToString() + of_resource.schema_url.encode()
                scope = of_scope.scope.SerializeToString() + of_scope.schema_url.encode()
                yield resource, scope, span.SerializeToString()


@pytest.mark.parametrize(
    "scopes",
    [
        [("Motor", "server", 2)],
        [("Motor", "server", 5), ("Motor", "client", 1), ("Valve", "server", 7)],
        [("Motor", "server", 0), ("Valve", "server", 3), ("Motor", "server", 1)],
    ],
)
def test_halves_make_the_whole(scopes: list[tuple[str, str, int]]) -> None:
    request = create_request(*scopes).SerializeToString()
    items = sum(count for _, _, count in scopes)
    (first, few), (second, more) = halve(request, items)
    assert (few, more) == (items // 2, items - items // 2)
    assert (len(list(read(first))), len(list(read(second)))) == (few, more)
    assert [*read(first), *read(second)] == list(read(request))


def test_a_request_of_one_that_is_broken_or_counted_otherwise_stays_whole() -> None:
    request = create_request(("Motor", "server", 4)).SerializeToString()
    assert halve(request, 5) == ()
    assert halve(create_request(("Motor", "server", 1)).SerializeToString(), 1) == ()
    for end in range(len(request)):
        halve(request[:end], 4)
    assert halve(b"\x0f" + request, 4) == ()


def test_the_other_signals_have_the_same_form() -> None:
    logs = ExportLogsServiceRequest()
    for number in range(4):
        record = logs.resource_logs.add().scope_logs.add().log_records.add()
        record.body.string_value = str(number)
    (first, _), (second, _) = halve(logs.SerializeToString(), 4)
    found = [ExportLogsServiceRequest.FromString(part).resource_logs for part in (first, second)]
    bodies = [r.scope_logs[0].log_records[0].body.string_value for part in found for r in part]
    assert bodies == ["0", "1", "2", "3"]
    metrics = ExportMetricsServiceRequest()
    for _ in range(2):
        points = metrics.resource_metrics.add().scope_metrics.add().metrics.add().sum.data_points
        points.add(as_int=1)
        points.add(as_int=2)
    assert halve(metrics.SerializeToString(), 4) == ()
