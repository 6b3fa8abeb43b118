"""The protobuf bytes of a plain span: what the official encoder makes of it, at a fifth of its price.

A plain span has no events and no links, dropped nothing, and has attributes that are texts, numbers or truth
values; any other span is left to the official encoder. The attributes of a call are the same at the next
call, so their bytes are remembered. Field numbers: opentelemetry-proto 1.x, ``trace.proto`` and
``common.proto``.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan

_LIMIT = 4096
_LONGEST = 512
"""How many attributes are remembered, and of which length at most: what a user puts into one may be anything.
"""

_SHORT = tuple(bytes((number,)) for number in range(128))
_KIND_AND_TIMES = Struct("<BBBQBQ").pack
_DOUBLE = Struct("<Bd").pack
_NO_STATUS = b"\x7a\x00"
_FLAGS = b"\x85\x01\x00\x01\x00\x00"  # whether the parent is remote is known,
_FLAGS_REMOTE = b"\x85\x01\x00\x03\x00\x00"  # and it is
_TRUE = b"\x12\x02\x10\x01"
_FALSE = b"\x12\x02\x10\x00"


def varint(number: int) -> bytes:
    """`number`, which is not negative, as protobuf writes it."""
    if number < 128:
        return _SHORT[number]
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def field(tag: bytes, content: bytes) -> bytes:
    """A field of variable length."""
    return tag + varint(len(content)) + content


class PlainSpans:
    """Encodes plain spans; keeps the bytes of their attributes."""

    def __init__(self) -> None:
        self._known: dict[type, dict[str, dict[Any, bytes]]] = {str: {}, int: {}}
        self._count = 0

    def encode(self, span: ReadableSpan) -> bytes | None:
        """The bytes of a ``Span`` message; None if the span is not plain."""
        status = span.status
        start, end, name = span.start_time, span.end_time, span.name
        if (
            span.events
            or span.links
            or span.dropped_attributes
            or span.dropped_events
            or span.dropped_links
            or not (start and end and name)
        ):
            return None
        try:
            attributes = self._attributes(span.attributes)
            if attributes is None:
                return None
            context, parent = span.get_span_context(), span.parent
            if context is None:
                return None
            parts = [
                b"\x0a\x10",
                context.trace_id.to_bytes(16, "big"),
                b"\x12\x08",
                context.span_id.to_bytes(8, "big"),
            ]
            if context.trace_state:
                text = ",".join([f"{key}={value}" for key, value in context.trace_state.items()])
                parts.append(field(b"\x1a", text.encode()))
            if parent is not None:
                parts += (b"\x22\x08", parent.span_id.to_bytes(8, "big"))
            parts += (
                field(b"\x2a", name.encode()),
                _KIND_AND_TIMES(0x30, span.kind.value + 1, 0x39, start, 0x41, end),
                *attributes,
                _NO_STATUS if status.is_unset else _encode_status(status),
                _FLAGS_REMOTE if parent is not None and parent.is_remote else _FLAGS,
            )
            return b"".join(parts)
        except (ValueError, TypeError, AttributeError, OverflowError, StructError):
            return None  # nothing that can be encoded: the official encoder has a message for it

    def _attributes(self, attributes: Mapping[str, Any] | None) -> list[bytes] | None:
        if not attributes:
            return []
        # The SDK's mapping takes a lock and a generator for each item; its copy is a dict.
        copy = getattr(attributes, "copy", None)
        known = self._known
        chunks = []
        for key, value in (attributes if copy is None else copy()).items():
            kind = type(value)
            values = known.get(kind)
            chunk = None
            if values is not None:
                by_value = values.get(key)
                if by_value is not None:
                    chunk = by_value.get(value)
            if chunk is None:
                chunk = self._encode_attribute(key, kind, value)
                if chunk is None:
                    return None
            chunks.append(chunk)
        return chunks

    def _encode_attribute(self, key: str, kind: type, value: Any) -> bytes | None:
        if kind is str:
            encoded = field(b"\x12", field(b"\x0a", value.encode()))
        elif kind is bool:
            encoded = _TRUE if value else _FALSE
        elif kind is int:
            if not -(2**63) <= value < 2**63:
                return None
            encoded = field(b"\x12", b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF))
        elif kind is float:
            encoded = field(b"\x12", _DOUBLE(0x21, value))
        else:
            return None
        if not key:
            return None
        chunk = field(b"\x4a", field(b"\x0a", key.encode()) + encoded)
        if kind in self._known and len(chunk) <= _LONGEST:
            if self._count >= _LIMIT:
                self._known = {str: {}, int: {}}
                self._count = 0
            self._known[kind].setdefault(key, {})[value] = chunk
            self._count += 1
        return chunk


def _encode_status(status: Any) -> bytes:
    text = field(b"\x12", status.description.encode()) if status.description else b""
    return field(b"\x7a", text + b"\x18" + varint(status.status_code.value))
