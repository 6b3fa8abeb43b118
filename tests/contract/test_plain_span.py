"""The bytes of plain spans are those of the official encoder, and what is not plain is left to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from tango_telemetry.pipeline.exporters.otlp import ProtobufEncoder
from tango_telemetry.pipeline.exporters.plain_span import PlainSpans, varint


class Keep(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


keep = Keep()
provider = TracerProvider(
    resource=Resource({"service.name": "ü"}, "https://schema/1"),
    span_limits=SpanLimits(max_span_attributes=20),
    shutdown_on_exit=False,
)
provider.add_span_processor(keep)
tracer = provider.get_tracer("scope", "1", "https://schema/2", {"a": 1})


def finished(**options: Any) -> ReadableSpan:
    tracer.start_span(options.pop("name", "a name"), **options).end()
    return keep.spans.pop()


def official(span: ReadableSpan) -> bytes:
    request = trace_encoder.encode_spans([span])
    return request.resource_spans[0].scope_spans[0].spans[0].SerializePartialToString()


text = st.text(max_size=300)
values = st.one_of(text, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False))
parents = st.builds(
    lambda remote, trace_id, state: set_span_in_context(
        NonRecordingSpan(
            SpanContext(trace_id, 5, remote, TraceFlags(1), TraceState([("a", "b"), ("c", "d")][:state]))
        )
    ),
    st.booleans(),
    st.integers(1, 2**128 - 1),
    st.integers(0, 2),
)


@settings(max_examples=300, deadline=None)
@given(
    name=st.text(min_size=1, max_size=300),
    attributes=st.dictionaries(st.text(min_size=1, max_size=200), values, max_size=12),
    kind=st.sampled_from(list(SpanKind)),
    context=st.one_of(st.none(), parents),
    status=st.sampled_from(
        [None, Status(StatusCode.OK), Status(StatusCode.ERROR), Status(StatusCode.ERROR, "é" * 99)]
    ),
)
def test_plain_spans_are_those_of_the_official_encoder(
    name: str, attributes: dict[str, Any], kind: SpanKind, context: Any, status: Status | None
) -> None:
    span = tracer.start_span(name, context, kind, attributes)
    if status is not None:
        span.set_status(status)
    span.end()
    plain = PlainSpans()
    ended = keep.spans.pop()
    expected = official(ended)
    assert plain.encode(ended) == expected
    assert plain.encode(ended) == expected  # from what is remembered
    encoder = ProtobufEncoder(trace_encoder)
    whole = trace_encoder.encode_spans([ended, ended]).SerializeToString(deterministic=True)
    message = type(trace_encoder.encode_spans([])).FromString(encoder.encode([ended, ended]))
    assert message.SerializeToString(deterministic=True) == whole


def test_one_and_true_are_not_the_same() -> None:
    plain = PlainSpans()
    for value in (1, True, 1.0, "1", 0, False, 0.0, -0.0, "", -1):
        span = finished(attributes={"key": value})
        assert plain.encode(span) == official(span)


@pytest.mark.parametrize(
    "attributes",
    [
        {"list": ["a"]},
        {"bytes": b"a"},
        {"surrogate": "\ud800"},
        {"large": 2**63},
        {str(n): n for n in range(21)},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_what_is_not_plain_is_left_to_the_official_encoder(attributes: dict[str, Any]) -> None:
    assert PlainSpans().encode(finished(attributes=attributes)) is None


def test_spans_with_events_or_links_are_not_plain() -> None:
    context = SpanContext(1, 2, False)
    from opentelemetry.trace import Link

    assert PlainSpans().encode(finished(links=[Link(context)])) is None
    span = tracer.start_span("a name")
    span.add_event("an event")
    span.end()
    assert PlainSpans().encode(keep.spans.pop()) is None


def test_an_encoder_that_says_more_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Newer:
        @staticmethod
        def encode_spans(spans: Any) -> Any:
            request = trace_encoder.encode_spans(spans)
            for found in request.resource_spans[0].scope_spans[0].spans:
                found.flags |= 0x400
            return request

    encoder = ProtobufEncoder(Newer)
    spans = [finished(), finished()]
    message = type(trace_encoder.encode_spans([])).FromString(encoder.encode(spans))
    assert [span.flags for span in message.resource_spans[0].scope_spans[0].spans] == [0x500, 0x500]


def test_what_is_remembered_is_bounded() -> None:
    plain = PlainSpans()
    for number in range(10_000):
        plain._encode_attribute("key", int, number)
    assert sum(len(values) for values in plain._known[int].values()) <= 4096


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (2**64 - 1, b"\xff" * 9 + b"\x01")],
)
def test_varint(number: int, expected: bytes) -> None:
    assert varint(number) == expected
