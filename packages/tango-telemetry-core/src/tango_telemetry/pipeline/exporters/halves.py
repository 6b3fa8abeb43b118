"""A serialised OTLP request in two: for what a collector refuses as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tango_telemetry.pipeline.exporters.plain_span import field

# The same in each signal (OTLP 1.7): `resource_spans` of a request is field 1, `scope_spans` of those and
# `spans` of those field 2; everything else belongs to the resource or to the scope.
_RESOURCES, _NESTED = 1, 2
_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}


def halve(request: bytes, items: int) -> tuple[tuple[bytes, int], ...]:
    """Return two requests, each with how many of the spans, log records or metrics it has, in their order.

    :param request: a serialised request of any signal
    :param items: how many it holds; if it does not, as where a metric has several data points, or if it is
        one, nothing is returned
    """
    try:
        found = list(_walk(request))
    except (IndexError, KeyError):
        return ()
    if len(found) != items or items < 2:
        return ()
    middle = items // 2
    return (_join(found[:middle]), middle), (_join(found[middle:]), items - middle)


_Item = tuple[tuple[int, bytes], tuple[int, bytes], bytes]
"""Resource and scope of an item, each as its number and its serialised rest; and the item."""


def _walk(request: bytes) -> Iterator[_Item]:
    resources = [value for number, value, _ in _fields(request) if number == _RESOURCES]
    for resource_number, resource in enumerate(resources):
        scopes, head = _separate(resource)
        for scope_number, scope in enumerate(scopes):
            nested, scope_head = _separate(scope)
            for item in nested:
                yield (resource_number, head), (scope_number, scope_head), item


def _join(items: list[_Item]) -> bytes:
    request = b""
    for (_, head), of_resource in groupby(items, lambda item: item[0]):
        scopes = b""
        for (_, scope_head), of_scope in groupby(of_resource, lambda item: item[1]):
            nested = b"".join(_write(_NESTED, item) for _, _, item in of_scope)
            scopes += _write(_NESTED, scope_head + nested)
        request += _write(_RESOURCES, head + scopes)
    return request


def _separate(message: bytes) -> tuple[list[bytes], bytes]:
    """Return what is nested in a message, and the rest of it."""
    nested, rest = [], b""
    for number, value, whole in _fields(message):
        if number == _NESTED:
            nested.append(value)
        else:
            rest += whole
    return nested, rest


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Return the number, the content and the whole of each field of a message."""
    at = 0
    while at < len(message):
        begin = at
        tag, at = _read_varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _LENGTH_DELIMITED:
            size, at = _read_varint(message, at)
            end = at + size
        elif wire_type == 0:
            _, end = _read_varint(message, at)
        else:
            end = at + _FIXED[wire_type]
        if end > len(message):
            raise IndexError
        yield number, message[at:end], message[begin:end]
        at = end


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _write(number: int, content: bytes) -> bytes:
    return field(bytes((number << 3 | _LENGTH_DELIMITED,)), content)
