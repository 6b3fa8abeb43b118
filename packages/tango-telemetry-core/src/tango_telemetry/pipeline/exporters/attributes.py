"""The protobuf bytes of attributes: ``KeyValue`` and ``AnyValue`` of opentelemetry-proto 1.x,
``common.proto``.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any

from tango_telemetry.base.texts import describe, encodable
from tango_telemetry.pipeline.exporters.plain_span import field, varint

_MOST_ITEMS = 32
_LONGEST_VALUE = 4096
_DOUBLE = Struct("<Bd").pack


def encode_text(tag: bytes, text: str) -> bytes:
    """A field with a text; what cannot be encoded of it is replaced."""
    try:
        return field(tag, text.encode())
    except UnicodeEncodeError:
        return field(tag, encodable(text).encode())


def encode_attribute(name: str, value: Any, tag: bytes) -> bytes:
    """A field with a ``KeyValue``."""
    return field(tag, encode_text(b"\x0a", name) + field(b"\x12", encode_value(value)))


def encode_attributes(attributes: Mapping[str, Any], tag: bytes) -> bytes:
    """A field for each attribute."""
    return b"".join(encode_attribute(name, value, tag) for name, value in attributes.items())


def encode_value(value: Any) -> bytes:
    """The bytes of an ``AnyValue``: numbers and truth values as they are, sequences of these, else a text."""
    kind = type(value)
    if kind is str:
        return encode_text(b"\x0a", value)
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int and -(2**63) <= value < 2**63:
        return b"\x18" + varint(value & 0xFFFFFFFFFFFFFFFF)
    if kind is float:
        return _DOUBLE(0x21, value)
    if kind in (tuple, list) and len(value) <= _MOST_ITEMS:
        return field(b"\x2a", b"".join(field(b"\x0a", encode_value(item)) for item in value))
    return encode_text(b"\x0a", describe(value, _LONGEST_VALUE))
