"""OTLP in protobuf: requests into spans, log records and metrics, over HTTP and gRPC."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from ..viewer.model import UNKNOWN_SERVICE, Attributes, AttributeValue, Event, Link, Resource, Span
from ..viewer.otlp import Item, parse_request
from ..viewer.otlp_values import MalformedError

_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
MAX_MESSAGE_BYTES = 64 << 20


def parse_protobuf(body: bytes, signal: str = "traces") -> list[Item]:
    """Return what one request holds; `signal` is "traces", "logs" or "metrics".

    Raises google.protobuf.message.DecodeError. What has no valid ids is left out.
    """
    if signal == "traces":
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        return list(read_request(request))
    # Of these there are few beside spans, so one reader for both spellings is quick enough.
    other = ExportLogsServiceRequest() if signal == "logs" else ExportMetricsServiceRequest()
    other.ParseFromString(body)
    # JSON made of a message leaves empty lists out.
    return read_document(MessageToDict(other) or {"resourceLogs": []})


def read_document(document: Any) -> list[Item]:
    """Return what one request in JSON holds. Raises MalformedError where nothing of it can be read."""
    items: list[Item] = []
    problems: list[MalformedError] = []
    for item in parse_request(document):
        if isinstance(item, MalformedError):
            problems.append(item)
        else:
            items.append(item)
    if problems and not items:
        raise problems[0]
    return items


def read_request(request: ExportTraceServiceRequest) -> Iterator[Span]:
    """Return the spans of one request."""
    for block in request.resource_spans:
        attributes = _attributes(block.resource.attributes)
        found = dict(attributes)
        resource = Resource(
            str(found.get("service.name") or UNKNOWN_SERVICE),
            str(found.get("service.instance.id") or ""),
            attributes,
        )
        for scope in block.scope_spans:
            for span in scope.spans:
                if len(span.trace_id) == 16 and len(span.span_id) == 8:
                    yield _span(span, resource, scope.scope.name)


def _span(span: Any, resource: Resource, scope: str) -> Span:
    parent = span.parent_span_id.hex()
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=parent if len(parent) == 16 and parent.strip("0") else "",
        name=span.name,
        kind=_KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "internal",
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano or span.start_time_unix_nano,
        resource=resource,
        scope=scope,
        is_error=span.status.code == 2,
        status_message=span.status.message,
        trace_state=span.trace_state,
        attributes=_attributes(span.attributes),
        events=tuple(Event(e.time_unix_nano, e.name, _attributes(e.attributes)) for e in span.events),
        links=tuple(
            Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)) for link in span.links
        ),
    )


def _attributes(pairs: Any) -> Attributes:
    return tuple((pair.key, _value(pair.value)) for pair in pairs)


def _value(value: Any) -> AttributeValue:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(map(_value, value.array_value.values))
    if kind == "kvlist_value":
        return dict(_attributes(value.kvlist_value.values))
    if kind == "bytes_value":
        return str(value.bytes_value.hex())
    found: AttributeValue = getattr(value, kind) if kind else None
    return found


def start_grpc(address: str, take: Callable[[list[Item]], None], token: str) -> Any:
    """Listen for OTLP over gRPC; give the server, or None without grpcio.

    Raises RuntimeError where the port is taken.
    """
    # Its library in C++ writes a line of its own where a port is taken.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import grpc
    except ImportError:
        return None

    def export(signal: str, request: bytes, context: Any) -> bytes:
        if token and dict(context.invocation_metadata()).get("authorization") != f"Bearer {token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed: OTEL_EXPORTER_OTLP_HEADERS")
        try:
            take(parse_protobuf(request, signal))
        except (DecodeError, MalformedError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"no OTLP request: {error}")
        # An empty response: everything was taken.
        return b""

    options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
    server = grpc.server(ThreadPoolExecutor(4, "otlp-grpc"), options=options)
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(
                service, {"Export": grpc.unary_unary_rpc_method_handler(partial(export, signal))}
            )
            for signal, service in _SERVICES.items()
        )
    )
    server.add_insecure_port(address)
    server.start()
    return server
