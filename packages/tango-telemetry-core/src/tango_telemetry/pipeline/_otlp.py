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


class ProtobufEncoder:
    """Spans to the bytes of `ExportTraceServiceRequest`, by the official encoder."""

    def __init__(self, encoder: Any) -> None:
        self._encode_spans = encoder.encode_spans

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """The serialised request. Requests can be joined by concatenation: all their fields are repeated."""
        payload: bytes = self._encode_spans(spans).SerializePartialToString()
        return payload


def rejected_spans(response: bytes) -> int:
    """How many spans an `ExportTraceServiceResponse` says the collector refused; 0 for what is not one."""
    if not response:
        return 0
    messages = _otel_sdk.load_trace_messages()
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


def to_json_line(request: bytes) -> bytes:
    """One line of OTLP JSON for a serialised `ExportTraceServiceRequest`.

    OTLP's JSON is protobuf's JSON, except that ids are hexadecimal and enumerations are numbers.
    """
    json_format = _otel_sdk.load("google.protobuf.json_format", "OTLP JSON")
    message = _otel_sdk.load_trace_messages().ExportTraceServiceRequest.FromString(request)
    tree = json_format.MessageToDict(message, use_integers_for_enums=True)
    for span in _all_spans(tree):
        for holder in (span, *span.get("links", ())):
            for name in _ID_FIELDS:
                if name in holder:
                    holder[name] = _hex(holder[name])
    return json.dumps(tree, separators=(",", ":")).encode() + b"\n"
