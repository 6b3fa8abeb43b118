"""OTLP's JSON written in C++ is what the official protobuf library makes of the same request."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_spans = pytest.importorskip("tango_telemetry_native._spans")

SIGNALS = {
    0: (ExportTraceServiceRequest, "resourceSpans", "scopeSpans", "spans"),
    1: (ExportLogsServiceRequest, "resourceLogs", "scopeLogs", "logRecords"),
    2: (ExportMetricsServiceRequest, "resourceMetrics", "scopeMetrics", "metrics"),
}
IDS = ("trace_id", "span_id", "parent_span_id")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "\0", '"\\/\b\f\n\r\t', "\x7f\x80\u07ff\u0800\uffff\U00010000\U0010ffff", "a" * 300]
)
NUMBERS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=9),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_SFIXED64: st.integers(-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.TYPE_FIXED64: st.integers(0, (1 << 64) - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.TYPE_FIXED32: st.integers(0, (1 << 32) - 1),
    FieldDescriptor.TYPE_SINT32: st.integers(-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1e300, 5e-324, 0.1]),
}
# Indexes into a table of strings, of a draft of the protocol that nobody sends here.
LEFT_OUT = ("string_value_strindex", "key_strindex")


def fill(draw: Any, message: Any, depth: int = 0) -> Any:
    """Return a message any fields that its descriptor has."""
    for field in message.DESCRIPTOR.fields:
        if field.name in LEFT_OUT or not draw(st.integers(0, 2 if depth > 3 else 4)):
            continue
        repeated = isinstance(getattr(message, field.name), (list,)) or hasattr(
            getattr(message, field.name), "append"
        )
        if field.type == field.TYPE_MESSAGE:
            if depth > 8:
                continue
            for _ in range(draw(st.integers(1, 2)) if repeated else 1):
                target = getattr(message, field.name)
                inner = target.add() if repeated else target
                inner.SetInParent()
                fill(draw, inner, depth + 1)
        else:
            values = (
                st.sampled_from([value.number for value in field.enum_type.values])
                if field.type == field.TYPE_ENUM
                else NUMBERS[field.type]
            )
            if repeated:
                getattr(message, field.name).extend(draw(st.lists(values, max_size=4)))
            else:
                setattr(message, field.name, draw(values))
    return message


def official(signal: int, request: Any, most: int) -> list[Any]:
    """The lines of the official library, by OTLP's rules: ids in hexadecimal, enumerations as numbers."""
    _, resources, scopes, items = SIGNALS[signal]
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    return [
        with_hex({resources: [{**resource, scopes: [{**scope, items: found[start : start + most]}]}]})
        for resource in tree.get(resources, ())
        for scope in resource.get(scopes, ())
        if (found := scope.get(items, []))
        for start in range(0, len(found), most)
    ]


def with_hex(tree: Any) -> Any:
    if isinstance(tree, list):
        return [with_hex(each) for each in tree]
    if not isinstance(tree, dict):
        return tree
    names = set(map(_camel, IDS))
    return {
        key: base64.b64decode(value).hex() if key in names else with_hex(value) for key, value in tree.items()
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.title, rest))


@pytest.mark.parametrize("signal", SIGNALS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_written_is_what_protobuf_writes(signal: int, data: st.DataObject) -> None:
    request = fill(data.draw, SIGNALS[signal][0]())
    most = data.draw(st.integers(1, 3))
    written = _spans.write_json_lines(signal, request.SerializeToString(), most)
    assert [json.loads(line) for line in written.decode("ascii").splitlines()] == official(
        signal, request, most
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), signal=st.sampled_from(list(SIGNALS)))
def test_what_is_no_request_is_refused_or_read(data: st.DataObject, signal: int) -> None:
    request = fill(data.draw, SIGNALS[signal][0]()).SerializeToString()
    damaged = bytearray(request[: data.draw(st.integers(0, len(request)))])
    for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        written = _spans.write_json_lines(signal, bytes(damaged), 2)
    except ValueError as error:
        assert str(error) == "no request of OTLP"
    else:
        assert all(isinstance(json.loads(line), dict) for line in written.splitlines())


def test_values_in_values_have_an_end() -> None:
    request = ExportTraceServiceRequest()
    value = request.resource_spans.add().scope_spans.add().spans.add().attributes.add().value
    for _ in range(40):
        value = value.array_value.values.add()
    value.string_value = "deep"
    assert b'"deep"' in _spans.write_json_lines(0, request.SerializeToString(), 1)
    encoded = b""
    for _ in range(400):
        encoded = b"\x2a" + _length(len(encoded)) + encoded
        encoded = b"\x0a" + _length(len(encoded)) + encoded
    for tag in (b"\x2a", b"\x12", b"\x4a", b"\x12", b"\x12", b"\x0a"):
        encoded = tag + _length(len(encoded)) + encoded
    with pytest.raises(ValueError, match="no request of OTLP"):
        _spans.write_json_lines(0, encoded, 1)


def _length(size: int) -> bytes:
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size])


@pytest.mark.parametrize("arguments", [(3, b"", 1), (-1, b"", 1), (0, b"", 0), (0, b"\xff", 1)])
def test_bad_arguments_are_refused(arguments: tuple[int, bytes, int]) -> None:
    with pytest.raises(ValueError, match=r"a signal is 0, 1 or 2|no request of OTLP"):
        _spans.write_json_lines(*arguments)
