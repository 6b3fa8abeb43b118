"""OTLP payloads: SDK spans to protobuf by the official encoder, protobuf to OTLP JSON."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.exporters.mend import Mender
from tango_telemetry.pipeline.exporters.plain_span import PlainSpans, field
from tango_telemetry.pipeline.signals import SIGNALS, TRACES, Signal

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan

_ID_FIELDS = ("traceId", "spanId", "parentSpanId")
# The fields below which there are ids: of a span, and the way to the exemplars of a metric.
_HOLD_IDS = frozenset(
    ("links", "gauge", "sum", "histogram", "exponentialHistogram", "dataPoints", "exemplars")
)


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

    The official encoder hashes the resource of each span, and `Resource.__hash__` serialises it to JSON: 9 of
    the 50 microseconds that a span takes. It encodes the resource anew in each request: 33 more with 50
    devices.
    """

    __slots__ = (*_READ_BY_ENCODERS, "_span", "resource")

    def __init__(self, span: ReadableSpan, resource: Any) -> None:
        # Copied one by one because a fallback by __getattr__ alone takes 13 microseconds per span; it is for
        # the rest.
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
    """What is remembered of a resource."""

    __slots__ = ("_cheap", "head", "original", "scopes")

    def __init__(self, resource: Any) -> None:
        self.original = resource  # kept alive, since groups are found by identity
        self.head = b""
        """Of a serialised ``ResourceSpans``: resource and schema URL."""
        self.scopes: dict[int, tuple[bytes, Any]] = {}
        """The same of its ``ScopeSpans``, by the identity of the scope, which is kept alive."""
        self._cheap: Any = None

    @property
    def cheap(self) -> Any:
        """An equal resource that is cheap to hash."""
        if self._cheap is None:
            self._cheap = otel_sdk.create_resource(self.original.attributes, self.original.schema_url)
        return self._cheap


class Grouping:
    """Sorts spans by resource.

    The resources of a process are few and live long, so what they cost is remembered.
    """

    def __init__(self) -> None:
        self._groups: dict[int, _Group] = {}
        self._mender = Mender()

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
        """The same spans in their order, mended, with resources that are cheap to hash."""
        return [
            _SameResource(span, self._get(id(span.resource), span.resource).cheap)
            for span in self._mender.mend_all(spans)
        ]


class ProtobufEncoder:
    """Spans to the bytes of `ExportTraceServiceRequest`: those of the official encoder, which is asked for
    what is new.

    Plain spans are encoded here for as long as the first one of each resource and scope comes out as from the
    official encoder: should a later version of it say more, everything is left to it.
    """

    def __init__(self, encoder: Any) -> None:
        self._encode_spans = encoder.encode_spans
        self._grouping = Grouping()
        self._mender = Mender()
        self._no_resource = otel_sdk.create_resource({}, "")
        self._plain: PlainSpans | None = PlainSpans()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """The serialised requests of all resources. Requests can be joined: all their fields are repeated."""
        return b"".join(
            self._encode_group(group, members) for group, members in self._grouping.by_resource(spans)
        )

    def _encode_group(self, group: _Group, spans: list[ReadableSpan]) -> bytes:
        found: dict[int, list[bytes]] = {}
        for span in spans:
            scope = span.instrumentation_scope
            key = id(scope)
            if key not in group.scopes:
                self._look_at(group, key, span)
            encoded = self._plain.encode(span) if self._plain is not None else None
            if encoded is None:
                encoded = self._encode_one(span)
            parts = found.get(key)
            if parts is None:
                parts = found[key] = [group.scopes[key][0]]
            parts.append(field(_REPEATED, encoded))
        scopes = [field(_REPEATED, b"".join(parts)) for parts in found.values()]
        return field(_RESOURCE_SPANS, b"".join((group.head, *scopes)))

    def _encode_one(self, span: ReadableSpan) -> bytes:
        mended = _SameResource(self._mender.mend(span), self._no_resource)
        (resource_spans,) = self._encode_spans([mended]).resource_spans
        encoded: bytes = resource_spans.scope_spans[0].spans[0].SerializePartialToString()
        return encoded

    def _look_at(self, group: _Group, key: int, span: ReadableSpan) -> None:
        """Have the official encoder say what a resource and a scope look like, and whether plain spans still
        do.
        """
        mended = self._mender.mend(span)
        (resource_spans,) = self._encode_spans([_SameResource(mended, mended.resource)]).resource_spans
        (scope_spans,) = resource_spans.scope_spans
        official = scope_spans.spans[0].SerializePartialToString()
        if self._plain is not None and self._plain.encode(span) not in (None, official):
            self._plain = None
        scope_spans.ClearField("spans")
        if len(group.scopes) >= _MAX_SCOPES:
            group.scopes.clear()
        group.scopes[key] = (scope_spans.SerializePartialToString(), span.instrumentation_scope)
        resource_spans.ClearField("scope_spans")
        group.head = resource_spans.SerializePartialToString()


# Fields of OTLP: `resource_spans` of a request; `scope_spans` of those, and `spans` of those.
_RESOURCE_SPANS = b"\x0a"
_REPEATED = b"\x12"
_MAX_SCOPES = 64


load_messages = otel_sdk.Deferred(otel_sdk.load_trace_messages)


class Answer(NamedTuple):
    """What a collector says to a request that it took: how many spans it refused all the same, and a text
    about it.
    """

    rejected_spans: int = 0
    message: str = ""


# Nothing, and an empty partial success, which the Collector sends: no need to load protobuf for them.
_EMPTY_ANSWERS = (b"", b"\n\0")


def read_answer(body: bytes, content_type: str = "") -> Answer | None:
    """What the body of a successful answer says; None if no collector gives such an answer.

    A collector answers with an `ExportTraceServiceResponse` in the encoding of the request, which may be
    empty; some answer in JSON whatever was asked. Those of the other signals have the same fields under the
    same numbers, only the names in JSON differ. A web server, a login page or a captive portal in its place
    says 200 as well.
    """
    if "html" in content_type.lower():
        return None
    if body in _EMPTY_ANSWERS:
        return Answer()
    messages = load_messages()
    try:
        message = messages.ExportTraceServiceResponse.FromString(body)
    except otel_sdk.load("google.protobuf.message", "OTLP payloads").DecodeError:
        return _read_json_answer(body)
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if "protobuf" not in content_type.lower() and message.ByteSize() != size:
        return None  # some texts happen to be protobuf, with fields that OTLP has not
    partial = message.partial_success
    return Answer(max(0, int(partial.rejected_spans)), str(partial.error_message))


_REJECTED = (
    *("rejectedSpans", "rejected_spans"),
    *("rejectedLogRecords", "rejected_log_records"),
    *("rejectedDataPoints", "rejected_data_points"),
)


def _read_json_answer(body: bytes) -> Answer | None:
    try:
        tree = json.loads(body)
        if not isinstance(tree, dict) or tree.keys() - {"partialSuccess", "partial_success"}:
            return None
        partial = tree.get("partialSuccess", tree.get("partial_success")) or {}
        rejected = next((partial[name] for name in _REJECTED if partial.get(name)), 0)
        message = partial.get("errorMessage", partial.get("error_message")) or ""
        return Answer(max(0, int(rejected)), str(message))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _write_ids(tree: Any) -> None:
    """Have all ids below `tree` in hexadecimal, where protobuf's JSON has them in base64.

    Names of fields are the keys here; names that users gave are values of ``key``.
    """
    if isinstance(tree, list):
        for item in tree:
            _write_ids(item)
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if name in _ID_FIELDS:
                tree[name] = base64.b64decode(value).hex()
            elif name in _HOLD_IDS:
                _write_ids(value)


_load_json = otel_sdk.Deferred(lambda: otel_sdk.load("google.protobuf.json_format", "OTLP JSON"))


def _load_request(signal: Signal) -> Any:
    module, message = signal.request
    return getattr(otel_sdk.load(module, "OTLP payloads"), message)


_requests = {signal: otel_sdk.Deferred(partial(_load_request, signal)) for signal in SIGNALS}


def to_json_lines(request: bytes, items_per_line: int, signal: Signal = TRACES) -> bytes:
    """Lines of OTLP JSON for a serialised request of `signal`, with so many spans, log records or metrics at
    most in each.

    OTLP's JSON is protobuf's JSON, except that ids are hexadecimal and enumerations are numbers. C++ writes
    it where the native package is in use: in one run 7.5 microseconds a span, protobuf's Python 196.
    """
    native = sys.modules.get("tango_telemetry_native._spans")
    write = getattr(native, "write_json_lines", None)  # one of an earlier build does not know it
    if write is not None:
        lines: bytes = write(signal.number, request, items_per_line)
        return lines
    return _to_json_lines_by_protobuf(request, items_per_line, signal)


def _to_json_lines_by_protobuf(request: bytes, items_per_line: int, signal: Signal = TRACES) -> bytes:
    message = _requests[signal]().FromString(request)
    tree = _load_json().MessageToDict(message, use_integers_for_enums=True)
    of_resources, of_scopes, of_items = signal.levels
    lines = []
    for resource in tree.get(of_resources, ()):
        for scope in resource.get(of_scopes, ()):
            items = scope.get(of_items, [])
            _write_ids(items)
            for start in range(0, len(items), items_per_line):
                some = items[start : start + items_per_line]
                part = {**resource, of_scopes: [{**scope, of_items: some}]}
                lines.append(json.dumps({of_resources: [part]}, separators=(",", ":")) + "\n")
    return "".join(lines).encode()
