"""One item that no encoder takes costs at most itself, in spans of the SDK, whichever exporter they go to."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    Status,
    StatusCode,
)
from receiver import ReceivedSpan, decode
from tango_telemetry.pipeline import Endpoint, PipelineSettings
from tango_telemetry.pipeline.exporters import mend
from tango_telemetry.pipeline.exporters.choice import create_exporter
from tango_telemetry_tools.viewer.reader import Problems, read_spans

BAD = os.fsdecode(b"gr\xfcn")
GOOD = "gr\ufffdn"
EXPORTERS = ["http", "grpc", "file", "console"]


class Keep(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> Iterator[None]:
    mend._said.clear()
    yield
    mend._said.clear()


def finished(
    change: Callable[[Span], object] = lambda span: None,
    name: Any = "a name",
    resource: Any = None,
    scope: Any = "a scope",
    version: Any = "1",
    end: Any = None,
    **options: Any,
) -> ReadableSpan:
    keep = Keep()
    provider = TracerProvider(
        resource=Resource({"service.name": "s", **(resource or {})}), shutdown_on_exit=False
    )
    provider.add_span_processor(keep)
    span = provider.get_tracer(scope, version).start_span(name, **options)
    change(span)
    span.end(end)
    return keep.spans[0]


def exported(exporter: str, spans: list[ReadableSpan], folder: Path) -> bytes:
    targets = {"http": "http://127.0.0.1:9/v1/traces", "grpc": "grpc://127.0.0.1:9", "file": str(folder)}
    made = create_exporter(Endpoint(exporter, targets.get(exporter, "cout")), PipelineSettings())
    return made.encode(spans)


def received(exporter: str, spans: list[ReadableSpan], folder: Path) -> list[Any]:
    """The spans as a reader gets them: of the receiver, or of `tango-telemetry show`."""
    payload = exported(exporter, spans, folder)
    if exporter != "file":
        return decode(ExportTraceServiceRequest.FromString(payload))
    file = folder / "traces.jsonl"
    file.write_bytes(payload)
    problems = Problems()
    found = list(read_spans([file], problems))
    assert not problems.found
    return found


def add_bad_event(span: Span) -> None:
    span.add_event("fine")
    span.add_event(BAD, {BAD: BAD, "list": ["x", BAD]})


BAD_ITEMS: dict[str, Callable[[], ReadableSpan]] = {
    "name": lambda: finished(name=BAD),
    "name that is none": lambda: finished(name=7),
    "key": lambda: finished(attributes={BAD: 1, "other": 2}),
    "value": lambda: finished(attributes={"a": BAD, "other": 2}),
    "in a list": lambda: finished(attributes={"a": ["x", BAD], "other": 2}),
    "in a mapping": lambda: finished(attributes={"a": {BAD: {"b": [BAD]}}, "other": 2}),
    "integer of 70 bits": lambda: finished(attributes={"a": 2**70, "b": [1, -(2**64)]}),
    "integer of 20,000 digits": lambda: finished(attributes={"a": 10**20_000}),
    "deep": lambda: finished(attributes={"a": deep(200)}),
    "event": lambda: finished(add_bad_event),
    "time of an event": lambda: finished(lambda span: span.add_event("e", timestamp=1.5e18)),  # type: ignore[arg-type]
    "time before 1970": lambda: finished(lambda span: span.add_event("e", timestamp=-5)),
    "time that is not a number": lambda: finished(lambda span: span.add_event("e", timestamp=math.nan)),  # type: ignore[arg-type]
    "end as a float": lambda: finished(start_time=10**18, end=1.1e18),
    "start as a text": lambda: finished(start_time="now"),
    "link": lambda: finished(links=[Link(SpanContext(1, 2, False), {"why": BAD})]),
    "link to nowhere": lambda: finished(
        links=[Link(SpanContext(1, 2, False)), Link(SpanContext(2**130, 2, False), {"a": 1})]
    ),
    "status": lambda: finished(lambda span: span.set_status(Status(StatusCode.ERROR, BAD))),
    "scope": lambda: finished(scope=BAD, version=BAD),
    "version that is none": lambda: finished(version=1.5),
    "resource": lambda: finished(resource={"service.name": BAD, BAD: BAD, "n": 2**80}),
    "pair of surrogates": lambda: finished(name="\ud83d\ude00"),
}  # fmt: skip


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("item", BAD_ITEMS)
def test_the_span_and_its_neighbours_are_sent_with_one_warning(
    item: str, exporter: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    spans = [finished(name="before"), BAD_ITEMS[item](), finished(name="behind")]
    caplog.clear()
    for _ in range(2):
        if exporter == "console":
            text = exported(exporter, spans, tmp_path).decode()
            assert len(list(objects_of(text))) == 3
        else:
            assert len(received(exporter, spans, tmp_path)) == 3
    assert len(caplog.records) == 1, caplog.text
    assert "U+FFFD" in caplog.text


def objects_of(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        found, at = decoder.raw_decode(text, at)
        at += len(text[at:]) - len(text[at:].lstrip())
        yield found


@pytest.mark.parametrize("exporter", ["http", "file"])
def test_all_that_is_good_in_a_bad_span_is_kept(exporter: str, tmp_path: Path) -> None:
    def change(span: Span) -> None:
        add_bad_event(span)
        span.set_status(Status(StatusCode.ERROR, BAD))

    span = finished(
        change,
        name=BAD,
        resource={"host.name": BAD, "good": 1},
        attributes={"good": 1, "list": ["x", BAD], BAD: "x", "large": 2**70, "bytes": b"\xff"},
        links=[Link(SpanContext(2**130, 2, False), {"a": 1}), Link(SpanContext(3, 4, False), {"why": BAD})],
    )
    if exporter == "file":
        (read,) = received(exporter, [span], tmp_path)
        assert (read.name, read.status_message) == (GOOD, GOOD)
        assert {"good", GOOD, "list", "large", "bytes"} == set(dict(read.attributes))
        return
    (got,) = received(exporter, [span], tmp_path)
    assert isinstance(got, ReceivedSpan)
    assert (got.name, got.status, got.status_message) == (GOOD, "ERROR", GOOD)
    assert got.attributes == {
        "good": 1, "list": ["x", GOOD], GOOD: "x", "large": str(2**70), "bytes": b"\xff"
    }  # fmt: skip
    assert (got.resource["host.name"], got.resource["good"]) == (GOOD, 1)
    assert [(event.name, event.attributes) for event in got.events] == [
        ("fine", {}),
        (GOOD, {GOOD: GOOD, "list": ["x", GOOD]}),
    ]
    assert [(int(link.trace_id, 16), link.attributes) for link in got.links] == [(3, {"why": GOOD})]
    request = ExportTraceServiceRequest.FromString(exported("http", [span], tmp_path))
    assert request.resource_spans[0].scope_spans[0].spans[0].dropped_links_count == 1


def test_bytes_are_no_reason_for_the_console_to_lose_a_span(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's format has no place for them (1.45: TypeError)."""
    spans = [finished(attributes={"a": b"\x00\xff", "b": [b"x"]}), finished()]
    first, second = objects_of(exported("console", spans, tmp_path).decode())
    assert first["attributes"] == {"a": "AP8=", "b": ["eA=="]}
    assert second["name"] == "a name"


def test_a_good_span_is_not_copied() -> None:
    def change(span: Span) -> None:
        span.add_event("e", {"a": [1, "b"]})
        span.set_status(Status(StatusCode.ERROR, "t"))

    span = finished(
        change, attributes={"a": "ü\U0001f600", "b": {"c": [1.5, None, True]}}, links=[Link(SpanContext(1, 2, False))]  # noqa: E501
    )  # fmt: skip
    assert mend.Mender().mend(span) is span
