"""The same span made by the SDK and in C++, and what comes out of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span, Tracer
from tango_telemetry_native.spans import (
    NativeTracerProvider,
    create_native_tracer_provider,
    create_span_queue,
)

RESOURCE = Resource(
    {"service.name": "Motor", "ports": [1, 2], "nested": {"a": 1.5}}, "https://example.org/resource"
)

UNLIMITED = SpanLimits(
    max_attributes=SpanLimits.UNSET,
    max_events=SpanLimits.UNSET,
    max_links=SpanLimits.UNSET,
    max_span_attributes=SpanLimits.UNSET,
    max_event_attributes=SpanLimits.UNSET,
    max_link_attributes=SpanLimits.UNSET,
    max_attribute_length=SpanLimits.UNSET,
    max_span_attribute_length=SpanLimits.UNSET,
)


class CountingIds(IdGenerator):
    """1, 2, 3 … for the spans of either provider."""

    def __init__(self) -> None:
        self._next = 0

    def generate_span_id(self) -> int:
        self._next += 1
        return self._next

    def generate_trace_id(self) -> int:
        return (0xABCDEF << 100) + self._next + 1

    def is_trace_id_random(self) -> bool:
        return True


class Finished(SpanProcessor, SpanExporter):
    """Keeps the SDK's finished spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)

    def export(self, spans: Any) -> SpanExportResult:
        self.spans.extend(spans)
        return SpanExportResult.SUCCESS


def drain(provider: NativeTracerProvider) -> ExportTraceServiceRequest:
    """Everything the provider's queue holds."""
    request = ExportTraceServiceRequest()
    while True:
        payload, count = provider.queue.drain(1 << 30)
        if not count:
            return request
        request.MergeFromString(payload)


def both(
    scenario: Callable[[Tracer], Span],
    limits: SpanLimits | None = None,
    scope: tuple[Any, ...] = ("library", "1.0"),
) -> tuple[ExportTraceServiceRequest, ExportTraceServiceRequest, Span, ReadableSpan]:
    """Run `scenario` on a tracer of each: our request, the official one, our span, the SDK's."""
    native = create_native_tracer_provider(
        RESOURCE,
        sampler=ALWAYS_ON,
        span_limits=limits,
        id_generator=CountingIds(),
        queue=create_span_queue(10_000, 1 << 28),
    )
    ours = scenario(native.get_tracer(*scope))
    finished = Finished()
    sdk = TracerProvider(
        resource=RESOURCE,
        sampler=ALWAYS_ON,
        span_limits=limits,
        id_generator=CountingIds(),
        shutdown_on_exit=False,
    )
    sdk.add_span_processor(finished)
    scenario(sdk.get_tracer(*scope))
    return drain(native), encode_spans(finished.spans), ours, finished.spans[-1]


def encoded(request: ExportTraceServiceRequest) -> bytes:
    """A form that can be compared: messages with NaN in them are not even equal to themselves."""
    return request.SerializeToString(deterministic=True)
