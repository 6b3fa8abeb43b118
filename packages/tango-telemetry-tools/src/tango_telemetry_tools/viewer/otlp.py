"""OTLP in JSON: one line of a file is one ExportTraceServiceRequest.

The specification (OTLP 1.x, "JSON Protobuf Encoding") writes ids in hexadecimal, 64-bit integers as strings
and enums as integers. Writers in the field also use Base64 ids (protobuf's own JSON mapping), plain numbers
and enum names: all read here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .model import UNKNOWN_SERVICE, Attributes, AttributeValue, Event, Link, Resource, Span

_KINDS = ("internal", "internal", "server", "client", "producer", "consumer")
_HEX = re.compile(r"[0-9a-f]+\Z")
_MAX_TIME = 1 << 64
_OTHER_SIGNALS = ("resourceLogs", "resourceMetrics", "resourceProfiles")


class MalformedError(ValueError):
    """A line, or a span in it, is not what OTLP says. The message is for the person who owns the file."""


def parse_request(document: Any) -> Iterator[Span | MalformedError]:
    """Give the spans of one decoded line; a span that cannot be read becomes an error in its place.

    Raises MalformedError if the document is no OTLP at all. Logs and metrics are OTLP and hold no spans.
    """
    if not isinstance(document, dict):
        raise MalformedError(f"JSON, but not OTLP: an object was expected, found {_describe(document)}")
    blocks = _list(document, "resourceSpans", "resource_spans")
    if blocks is None:
        if any(key in document for key in _OTHER_SIGNALS):
            return
        raise MalformedError('JSON, but not OTLP traces: there is no "resourceSpans"')
    for block in blocks:
        yield from _parse_block(block)


def _parse_block(block: Any) -> Iterator[Span | MalformedError]:
    try:
        block = _object(block, "resourceSpans")
        resource = _parse_resource(_object(block.get("resource") or {}, "resource"))
        scopes = _list(block, "scopeSpans", "scope_spans", "instrumentationLibrarySpans") or []
    except MalformedError as error:
        yield error
        return
    for scope_spans in scopes:
        try:
            scope_spans = _object(scope_spans, "scopeSpans")
            scope = str(_object(scope_spans.get("scope") or {}, "scope").get("name") or "")
            spans = _list(scope_spans, "spans") or []
        except MalformedError as error:
            yield error
            continue
        for span in spans:
            try:
                yield _parse_span(_object(span, "span"), resource, scope)
            except MalformedError as error:
                yield error


def _parse_resource(resource: Mapping[str, Any]) -> Resource:
    attributes = _parse_attributes(resource)
    found = dict(attributes)
    return Resource(
        service=str(found.get("service.name") or UNKNOWN_SERVICE),
        instance=str(found.get("service.instance.id") or ""),
        attributes=attributes,
    )


def _parse_span(span: Mapping[str, Any], resource: Resource, scope: str) -> Span:
    get = span.get
    status = _object(get("status") or {}, "status")
    start = _time(span, "startTimeUnixNano")
    return Span(
        trace_id=_id(get("traceId"), 16, "traceId"),
        span_id=_id(get("spanId"), 8, "spanId"),
        parent_id=_id(get("parentSpanId"), 8, "parentSpanId", required=False),
        name=str(get("name") or ""),
        kind=_kind(get("kind")),
        start=start,
        end=_time(span, "endTimeUnixNano") or start,
        resource=resource,
        scope=scope,
        is_error=status.get("code") in (2, "2", "STATUS_CODE_ERROR"),
        status_message=str(status.get("message") or ""),
        trace_state=str(get("traceState") or ""),
        attributes=_parse_attributes(span),
        events=tuple(map(_parse_event, _list(span, "events") or ())),
        links=tuple(map(_parse_link, _list(span, "links") or ())),
    )


def _parse_event(event: Any) -> Event:
    event = _object(event, "event")
    return Event(_time(event, "timeUnixNano"), str(event.get("name") or ""), _parse_attributes(event))


def _parse_link(link: Any) -> Link:
    link = _object(link, "link")
    return Link(
        _id(link.get("traceId"), 16, "traceId"), _id(link.get("spanId"), 8, "spanId"), _parse_attributes(link)
    )


def _parse_attributes(holder: Mapping[str, Any]) -> Attributes:
    entries = _list(holder, "attributes")
    if not entries:
        return ()
    pairs = (_object(entry, "attribute") for entry in entries)
    return tuple((str(pair.get("key") or ""), _value(pair.get("value"))) for pair in pairs)


def _value(value: Any) -> AttributeValue:
    if not value or not isinstance(value, dict):
        return None
    kind, content = next(iter(value.items()))
    if kind in ("stringValue", "boolValue", "bytesValue") and isinstance(content, str | bool):
        return content
    if kind == "intValue":
        return _integer(content, kind)
    if kind == "doubleValue":
        # "NaN" and "Infinity" come as strings.
        return content if isinstance(content, int | float | str) else None
    if kind == "arrayValue":
        return tuple(map(_value, _list(_object(content, kind), "values") or ()))
    if kind == "kvlistValue":
        return dict(_parse_attributes({"attributes": _object(content, kind).get("values")}))
    return None


def _id(text: Any, size: int, what: str, required: bool = True) -> str:
    if isinstance(text, str):
        lowered = text.lower()
        if len(lowered) == 2 * size and _HEX.match(lowered):
            # A writer may spell "no parent" as zeros.
            return lowered if lowered.strip("0") or required else ""
        if not text and not required:
            return ""
        try:
            decoded = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if len(decoded) == size:
            return decoded.hex()
    elif text is None and not required:
        return ""
    raise MalformedError(f"a span without a valid {what}: {_describe(text)}")


def _time(holder: Mapping[str, Any], key: str) -> int:
    time = _integer(holder.get(key) or 0, key)
    if not 0 <= time < _MAX_TIME:
        raise MalformedError(f"{key} is out of range: {_describe(time)}")
    return time


def _integer(number: Any, what: str) -> int:
    if isinstance(number, int | str) and not isinstance(number, bool):
        try:
            return int(number)
        except ValueError:
            pass
    raise MalformedError(f"{what} is not an integer: {_describe(number)}")


def _kind(kind: Any) -> str:
    if isinstance(kind, int) and 0 <= kind < len(_KINDS):
        return _KINDS[kind]
    if isinstance(kind, str):
        word = kind.removeprefix("SPAN_KIND_").lower()
        return word if word in _KINDS else "internal"
    return "internal"


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise MalformedError(f'"{what}" is not an object but {_describe(value)}')


def _list(holder: Mapping[str, Any], *names: str) -> list[Any] | None:
    for name in names:
        if (value := holder.get(name)) is not None:
            if isinstance(value, list):
                return value
            raise MalformedError(f'"{name}" is not a list but {_describe(value)}')
    return None


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
