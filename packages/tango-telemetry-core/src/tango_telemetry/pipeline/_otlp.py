"""OTLP payloads: SDK spans to protobuf by the official encoder, protobuf to OTLP JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tango_telemetry import _otel_sdk

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import ReadableSpan

_ID_FIELDS = ("traceId", "spanId", "parentSpanId")


_READ_BY_ENCODERS = (
    "attributes",
    "dropped_attributes",
    "dropped_events",
    "dropped_links",
    "end_time",
    "events",
    "get_span_context",
    "instrumentation_scope",
    "kind",
    "links",
    "name",
    "parent",
    "start_time",
    "status",
)


class _SameResource:
    """A span as it is, but with another object for its resource.

    The official encoder hashes the resource of each span, and `Resource.__hash__` serialises it to JSON: 9 of the 50
    microseconds that a span takes. It encodes the resource anew in each request: 33 more with 50 devices.
    """

    __slots__ = (*_READ_BY_ENCODERS, "_span", "resource")

    def __init__(self, span: ReadableSpan, resource: Any) -> None:
        # Copied one by one because a fallback by __getattr__ alone takes 13 microseconds per span; it is for the rest.
        self._span = span
        self.resource = resource
        self.get_span_context = span.get_span_context
        self.parent = span.parent
        self.name = span.name
        self.kind = span.kind
        self.start_time = span.start_time
        self.end_time = span.end_time
        self.attributes = span.attributes
        self.events = span.events
        self.links = span.links
        self.status = span.status
        self.dropped_attributes = span.dropped_attributes
        self.dropped_events = span.dropped_events
        self.dropped_links = span.dropped_links
        self.instrumentation_scope = span.instrumentation_scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._span, name)


class _Group:
    """What is remembered of a resource: an equal one that is cheap to hash, and its protobuf message."""

    def __init__(self, resource: Any) -> None:
        self.original = resource  # kept alive, since groups are found by identity
        self.cheap = _otel_sdk.create_resource(resource.attributes, resource.schema_url)
        self.message: Any = None


class Grouping:
    """Sorts spans by resource. The resources of a process are few and live long, so what they cost is remembered."""

    def __init__(self) -> None:
        self._groups: dict[int, _Group] = {}

    def by_resource(self, spans: Sequence[ReadableSpan]) -> list[tuple[_Group, list[ReadableSpan]]]:
        """The spans of each resource, in their order."""
        found: dict[int, tuple[_Group, list[ReadableSpan]]] = {}
        for span in spans:
            key = id(span.resource)
            entry = found.get(key)
            if entry is None:
                entry = found[key] = (self._get(key, span.resource), [])
            entry[1].append(span)
        return list(found.values())

    def _get(self, key: int, resource: Any) -> _Group:
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= 4096:
                self._groups.clear()
            group = self._groups[key] = _Group(resource)
        return group

    def cheaper(self, spans: Sequence[ReadableSpan]) -> list[Any]:
        """The same spans in their order, with resources that are cheap to hash."""
        return [_SameResource(span, self._get(id(span.resource), span.resource).cheap) for span in spans]


class ProtobufEncoder:
    """Spans to the bytes of `ExportTraceServiceRequest`, by the official encoder."""

    def __init__(self, encoder: Any) -> None:
        self._encode_spans = encoder.encode_spans
        self._grouping = Grouping()
        self._no_resource = _otel_sdk.create_resource({}, "")

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """The serialised requests of all resources. Requests can be joined: all their fields are repeated."""
        return b"".join(
            self._encode_group(group, members) for group, members in self._grouping.by_resource(spans)
        )

    def _encode_group(self, group: _Group, spans: list[ReadableSpan]) -> bytes:
        request = self._encode_spans([_SameResource(span, self._no_resource) for span in spans])
        (resource_spans,) = request.resource_spans
        if group.message is None:
            (of_one,) = self._encode_spans([_SameResource(spans[0], group.cheap)]).resource_spans
            group.message = of_one.resource
        resource_spans.resource.CopyFrom(group.message)
        resource_spans.schema_url = group.original.schema_url
        payload: bytes = request.SerializePartialToString()
        return payload


load_messages = _otel_sdk.Deferred(_otel_sdk.load_trace_messages)


def rejected_spans(response: bytes) -> int:
    """How many spans an `ExportTraceServiceResponse` says the collector refused; 0 for what is not one."""
    if response in (
        b"",
        b"\n\0",
    ):  # nothing; an empty partial success, which the Collector sends: no need for protobuf
        return 0
    messages = load_messages()
    try:
        return max(
            0, int(messages.ExportTraceServiceResponse.FromString(response).partial_success.rejected_spans)
        )
    except ValueError:  # protobuf's DecodeError: a proxy's HTML page, say
        return 0


def _hex(value: str) -> str:
    return base64.b64decode(value).hex()


def _all_spans(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource_spans in request.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            yield from scope_spans.get("spans", ())


load_json = _otel_sdk.Deferred(
    lambda: (_otel_sdk.load("google.protobuf.json_format", "OTLP JSON"), load_messages())
)


def to_json_line(request: bytes) -> bytes:
    """One line of OTLP JSON for a serialised `ExportTraceServiceRequest`.

    OTLP's JSON is protobuf's JSON, except that ids are hexadecimal and enumerations are numbers.
    """
    json_format, messages = load_json()
    message = messages.ExportTraceServiceRequest.FromString(request)
    tree = json_format.MessageToDict(message, use_integers_for_enums=True)
    for span in _all_spans(tree):
        for holder in (span, *span.get("links", ())):
            for name in _ID_FIELDS:
                if name in holder:
                    holder[name] = _hex(holder[name])
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"
