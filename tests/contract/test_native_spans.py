"""Spans made in C++ decode to the message that the SDK and the official encoder give for the same span."""

from __future__ import annotations

import enum
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tango_telemetry_native._spans", reason="tango-telemetry-native is not built here")
pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
sys.path.insert(0, str(Path(__file__).parent))

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_spans_support import UNLIMITED, both, encoded
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
)

EXAMPLES = int(os.environ.get("TANGO_TELEMETRY_TEST_EXAMPLES", "300"))


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """Thousands of warnings about wrong values are the point here, and of no use."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


class Unnamed:
    pass


class Colour(enum.IntEnum):
    RED = 7


class Mine(str):
    __slots__ = ()


text = st.text(max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(),
    st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**40, 2**63 - 1, -(2**63)]),
    st.floats(),
    text,
    st.text(min_size=100, max_size=400),
    st.binary(max_size=200),
    st.builds(Named, text),
    st.builds(Mine, text),
    st.just(Colour.RED),
    st.just(1 + 2j),
    st.sampled_from([int, len]),
    st.frozensets(st.just(1)),
)
odd_keys = st.one_of(
    text,
    st.sampled_from(["a", "b", "c", "d"]),
    st.integers(0, 3),
    st.just(""),
    st.none(),
    st.just(Colour.RED),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(odd_keys, inner, max_size=4),
        st.just(range(3)),
        st.just(bytearray(b"ab")),
    ),
    max_leaves=12,
)
keys = st.one_of(st.sampled_from(["a", "b", "c", "d", "ä", "k" * 200]), text)
mappings = st.one_of(
    st.none(), st.dictionaries(keys, values, max_size=6), st.dictionaries(odd_keys, values, max_size=6)
)
times = st.integers(0, 2**64 - 1)
contexts = st.builds(
    SpanContext,
    trace_id=st.sampled_from([0, 1, 2**127 + 5, 2**64]),
    span_id=st.sampled_from([0, 1, 2**63 + 9]),
    is_remote=st.booleans(),
    trace_flags=st.sampled_from([TraceFlags(0), TraceFlags(1), TraceFlags(2), TraceFlags(3)]),
    trace_state=st.sampled_from([TraceState(), TraceState([("tango", "00f067aa0ba902b7-01"), ("b", "c d")])]),
)
statuses = st.one_of(
    st.tuples(st.sampled_from(list(StatusCode)), st.one_of(st.none(), text)),
    st.tuples(st.builds(Status, st.sampled_from(list(StatusCode)), st.one_of(st.none(), text)), st.none()),
    st.tuples(st.builds(Status, st.just(StatusCode.ERROR), text), text),
)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


class LocalError(Exception):
    pass


exceptions = st.one_of(
    st.builds(lambda message: raised(ValueError(message)), text),
    st.builds(lambda message: raised(LocalError(message, 1), ValueError("cause")), text),
    st.builds(lambda: raised(KeyboardInterrupt())),
    st.builds(lambda: LocalError("never raised")),
)

Operation = Callable[[Span], None]
operations = st.one_of(
    st.builds(
        lambda key, value: lambda span: span.set_attribute(key, value), st.one_of(keys, odd_keys), values
    ),
    st.builds(
        lambda mapping: lambda span: span.set_attributes(mapping),
        st.dictionaries(odd_keys, values, max_size=6),
    ),
    st.builds(
        lambda name, attributes, time: lambda span: span.add_event(name, attributes, time),
        text,
        mappings,
        times,
    ),
    st.builds(
        lambda context, attributes: lambda span: span.add_link(context, attributes), contexts, mappings
    ),
    st.builds(lambda name: lambda span: span.update_name(name), text),
    st.builds(lambda status: lambda span: span.set_status(*status), statuses),
    st.builds(
        lambda error, attributes, time, escaped: (
            lambda span: span.record_exception(error, attributes, time, escaped)
        ),
        exceptions,
        mappings,
        times,
        st.booleans(),
    ),
)
counts = st.sampled_from([SpanLimits.UNSET, 0, 1, 2, 3, 128])
limits = st.builds(
    SpanLimits,
    max_attributes=counts,
    max_events=counts,
    max_links=counts,
    max_span_attributes=counts,
    max_event_attributes=counts,
    max_link_attributes=counts,
    max_attribute_length=st.sampled_from([SpanLimits.UNSET, 0, 1, 3, 150]),
    max_span_attribute_length=st.sampled_from([SpanLimits.UNSET, 0, 1, 3, 150]),
)


def plain(value: Any) -> Any:
    """A value as it comes back from OTLP."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, str) else value


def sendable(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(sendable(item) for item in value)
    if isinstance(value, dict):
        return all(sendable(item) for item in value.values())
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def readable(span: Any) -> str:
    """What the SDK's properties say, without what its encoder leaves out."""

    def attributes(mapping: Any) -> list[Any]:
        return [(key, plain(value)) for key, value in mapping.items() if sendable(value)]

    return repr(
        {
            "name": span.name,
            "context": span.get_span_context(),
            "parent": span.parent,
            "kind": span.kind,
            "times": (span.start_time, span.end_time),
            "status": (span.status.status_code, span.status.description),
            "attributes": attributes(span.attributes),
            "events": [(event.name, event.timestamp, attributes(event.attributes)) for event in span.events],
            "links": [(link.context, attributes(link.attributes)) for link in span.links],
            "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
            "resource": span.resource,
            "scope": span.instrumentation_scope,
        }
    )


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=text,
    parent=st.one_of(st.none(), contexts),
    kind=st.sampled_from(list(SpanKind)),
    attributes=mappings,
    links=st.lists(st.tuples(contexts, mappings), max_size=4),
    start=times,
    end=times,
    steps=st.lists(operations, max_size=12),
    span_limits=st.one_of(st.just(UNLIMITED), limits),
)
def test_generated_spans_are_those_of_the_sdk(
    name: str,
    parent: SpanContext | None,
    kind: SpanKind,
    attributes: Any,
    links: list[Any],
    start: int,
    end: int,
    steps: list[Operation],
    span_limits: SpanLimits,
) -> None:
    def scenario(tracer: Tracer) -> Span:
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent else None
        # The SDK puts its own attributes into the Link objects it is given.
        given_links = [Link(linked, given) for linked, given in links]
        span = tracer.start_span(name, context, kind, attributes, given_links, start)
        for step in steps:
            step(span)
        span.end(end)
        return span

    ours, official, span, view = both(scenario, span_limits)
    assert encoded(ours) == encoded(official)
    assert readable(span) == readable(view)
    assert readable(span._readable_span()) == readable(view)


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.sampled_from([f"k{i}" for i in range(60)]), st.integers(0, 9)), max_size=200),
    counts,
)
def test_many_keys_are_those_of_the_sdk(pairs: list[tuple[str, int]], count: int) -> None:
    def scenario(tracer: Tracer) -> Span:
        span = tracer.start_span("s", start_time=1)
        for key, value in pairs:
            span.set_attribute(key, value)
        span.end(2)
        return span

    ours, official, _, _ = both(scenario, SpanLimits(max_span_attributes=count))
    assert encoded(ours) == encoded(official)


@settings(max_examples=EXAMPLES // 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=text, version=st.one_of(st.none(), text), schema=st.one_of(st.none(), text), attributes=mappings)
def test_scopes_are_those_of_the_sdk(name: str, version: Any, schema: Any, attributes: Any) -> None:
    def scenario(tracer: Tracer) -> Span:
        span = tracer.start_span("s", start_time=1)
        span.end(2)
        return span

    ours, official, _, _ = both(scenario, scope=(name, version, schema, attributes))
    assert encoded(ours) == encoded(official)


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(st.text(st.characters(categories=["Cs", "L"]), max_size=30))
def test_surrogates_become_replacement_characters(hostile: str) -> None:
    """The official encoder loses the attribute, and the whole batch for a name: ours keeps what can
    be kept.
    """
    readable_text = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in hostile)

    def scenario(words: str) -> Callable[[Tracer], Span]:
        def run(tracer: Tracer) -> Span:
            span = tracer.start_span(
                words, start_time=1, attributes={"v": words, "list": [words], "map": {"k": words}}
            )
            span.set_attribute("key" + words, 1)
            span.add_event(words, {"v": words}, 3)
            span.set_status(StatusCode.ERROR, words)
            span.end(2)
            return span

        return run

    from native_spans_support import RESOURCE, CountingIds, drain
    from tango_telemetry_native.spans import create_native_tracer_provider

    provider = create_native_tracer_provider(RESOURCE, id_generator=CountingIds())
    scenario(hostile)(provider.get_tracer("library", "1.0"))
    _, official, _, _ = both(scenario(readable_text))
    assert encoded(drain(provider)) == encoded(official)


def test_bytes_are_equal_and_not_only_the_message() -> None:
    def scenario(tracer: Tracer) -> Span:
        span = tracer.start_span("s", attributes={"a": 1, "b": [1.5, "x"], "c": {"d": b"e"}}, start_time=1)
        span.add_event("e", {"x": True}, 2)
        span.add_link(SpanContext(1, 2, True), {"l": "m"})
        span.set_status(StatusCode.ERROR, "no")
        span.end(3)
        return span

    from native_spans_support import RESOURCE, CountingIds
    from tango_telemetry_native.spans import create_native_tracer_provider

    provider = create_native_tracer_provider(RESOURCE, id_generator=CountingIds())
    scenario(provider.get_tracer("library", "1.0"))
    _, official, _, _ = both(scenario)
    assert provider.queue.drain(1 << 20)[0] == official.SerializeToString()
