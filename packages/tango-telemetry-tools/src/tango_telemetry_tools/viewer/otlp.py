"""OTLP in JSON: one line of a file is one request with spans, log records or metrics.

The specification (OTLP 1.x, "JSON Protobuf Encoding") writes ids in hexadecimal, 64-bit integers as strings
and enums as integers. Writers in the field also use Base64 ids (protobuf's own JSON mapping), plain numbers
and enum names: all read here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from .model import Event, Link, LogRecord, Point, Resource, Span
from .otlp_logs import parse_record
from .otlp_metrics import parse_metric
from .otlp_values import (
    MalformedError,
    a_list,
    an_object,
    describe,
    parse_attributes,
    parse_id,
    parse_resource,
    parse_time,
)

Item: TypeAlias = "Span | LogRecord | Point"

_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")


def parse_request(document: Any) -> Iterator[Item | MalformedError]:
    """Yield what one decoded line holds; what cannot be read becomes an error in its place.

    Raises MalformedError if the document is no OTLP at all. Profiles are OTLP and not read.
    """
    if not isinstance(document, dict):
        raise MalformedError(f"JSON, but not OTLP: an object was expected, found {describe(document)}")
    met = "resourceProfiles" in document
    for outer, inner, items, parse in _SIGNALS:
        blocks = a_list(document, *outer)
        if blocks is not None:
            met = True
            for block in blocks:
                yield from _parse_block(block, outer[0], inner, items, parse)
    if not met:
        raise MalformedError(
            'JSON, but not OTLP: there is no "resourceSpans", "resourceLogs" or "resourceMetrics"'
        )


def _parse_block(
    block: Any, name: str, inner: tuple[str, ...], items: tuple[str, ...], parse: _Parse
) -> Iterator[Item | MalformedError]:
    try:
        block = an_object(block, name)
        resource = parse_resource(an_object(block.get("resource") or {}, "resource"))
        scopes = a_list(block, *inner) or []
    except MalformedError as error:
        yield error
        return
    for of_scope in scopes:
        try:
            of_scope = an_object(of_scope, inner[0])
            scope = str(an_object(of_scope.get("scope") or {}, "scope").get("name") or "")
            found = a_list(of_scope, *items) or []
        except MalformedError as error:
            yield error
            continue
        for item in found:
            try:
                yield from parse(an_object(item, items[0]), resource, scope)
            except MalformedError as error:
                yield error


def _parse_spans(span: Mapping[str, Any], resource: Resource, scope: str) -> Iterable[Item]:
    return (_parse_span(span, resource, scope),)


def _parse_span(span: Mapping[str, Any], resource: Resource, scope: str) -> Span:
    get = span.get
    status = an_object(get("status") or {}, "status")
    start = parse_time(span, "startTimeUnixNano")
    return Span(
        trace_id=parse_id(get("traceId"), 16, "traceId"),
        span_id=parse_id(get("spanId"), 8, "spanId"),
        parent_id=parse_id(get("parentSpanId"), 8, "parentSpanId", required=False),
        name=str(get("name") or ""),
        kind=_kind(get("kind")),
        start=start,
        end=parse_time(span, "endTimeUnixNano") or start,
        resource=resource,
        scope=scope,
        is_error=status.get("code") in (2, "2", "STATUS_CODE_ERROR"),
        status_message=str(status.get("message") or ""),
        trace_state=str(get("traceState") or ""),
        attributes=parse_attributes(span),
        events=tuple(map(_parse_event, a_list(span, "events") or ())),
        links=tuple(map(_parse_link, a_list(span, "links") or ())),
    )


def _parse_event(event: Any) -> Event:
    event = an_object(event, "event")
    return Event(parse_time(event, "timeUnixNano"), str(event.get("name") or ""), parse_attributes(event))


def _parse_link(link: Any) -> Link:
    link = an_object(link, "link")
    return Link(
        parse_id(link.get("traceId"), 16, "traceId"),
        parse_id(link.get("spanId"), 8, "spanId"),
        parse_attributes(link),
    )


def _kind(kind: Any) -> str:
    if isinstance(kind, int) and 0 <= kind < len(_KINDS):
        return _KINDS[kind]
    if isinstance(kind, str):
        word = kind.removeprefix("SPAN_KIND_").lower()
        return word if word in _KINDS else "internal"
    return "internal"


_Parse: TypeAlias = Callable[[Mapping[str, Any], Resource, str], Iterable[Item]]
# All three are lists of resources with lists of scopes with lists of items.
_SIGNALS: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], _Parse], ...] = (
    (
        ("resourceSpans", "resource_spans"),
        ("scopeSpans", "scope_spans", "instrumentationLibrarySpans"),
        ("spans",),
        _parse_spans,
    ),
    (
        ("resourceLogs", "resource_logs"),
        ("scopeLogs", "scope_logs"),
        ("logRecords", "log_records"),
        parse_record,
    ),
    (
        ("resourceMetrics", "resource_metrics"),
        ("scopeMetrics", "scope_metrics"),
        ("metrics",),
        parse_metric,
    ),
)
