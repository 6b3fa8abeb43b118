"""The far ends: what is encoded, what a file and the console get, what an endpoint may be."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import receiver as receivers
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline import Endpoint, PipelineSettings, WireSettings, get_pipeline, pipeline_stats
from tango_telemetry.pipeline.delivery import Result
from tango_telemetry.pipeline.exporters.choice import create_exporter
from tango_telemetry.pipeline.exporters.grpc import parse_target
from tango_telemetry.pipeline.exporters.http import parse_retry_after
from tango_telemetry.pipeline.exporters.otlp import Answer, ProtobufEncoder, read_answer, to_json_lines
from tango_telemetry.pipeline.redact import redact_url


class Keep(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def rich_spans() -> list[ReadableSpan]:
    keep = Keep()
    for device in ("a/b/1", "a/b/2"):
        resource = Resource({"service.name": "Leader", "service.instance.id": device}, "https://schema/1")
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(keep)
        for scope in ("one", "two"):
            tracer = provider.get_tracer(scope, "1.0")
            context = SpanContext(1, 2, True, TraceFlags(1), TraceState([("tango", "00")]))
            span = tracer.start_span(
                "a name",
                kind=SpanKind.CLIENT,
                links=[Link(context, {"why": "because"})],
                attributes={"text": "ü", "number": 1, "float": 0.5, "flag": True, "list": ["a", "b"]},
            )
            span.add_event("exception", {"exception.type": "DevFailed"})
            span.set_status(Status(StatusCode.ERROR, "it failed"))
            span.end()
    return keep.spans


def parts(request: Any) -> list[Any]:
    return sorted(
        (
            group.resource.SerializeToString(),
            group.schema_url,
            scope.scope.SerializeToString(),
            span.SerializeToString(),
        )
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    )


def test_the_encoder_says_what_the_official_one_says() -> None:
    from opentelemetry.exporter.otlp.proto.common import trace_encoder

    spans = rich_spans()
    encoder = ProtobufEncoder(trace_encoder)
    for _ in range(2):  # the second time resources are remembered
        assert parts(ExportTraceServiceRequest.FromString(encoder.encode(spans))) == parts(
            encode_spans(spans)
        )


def test_payloads_can_be_joined() -> None:
    from opentelemetry.exporter.otlp.proto.common import trace_encoder

    encoder = ProtobufEncoder(trace_encoder)
    spans = rich_spans()
    joined = encoder.encode(spans[:1]) + encoder.encode(spans[1:])
    assert parts(ExportTraceServiceRequest.FromString(joined)) == parts(encode_spans(spans))


def file_exporter(folder: Path) -> Any:
    return create_exporter(Endpoint("file", str(folder)), PipelineSettings())


def test_transcoded_json_is_what_the_official_file_exporter_writes(tmp_path: Path) -> None:
    spans = rich_spans()
    lines = to_json_lines(encode_spans(spans).SerializeToString(), 16).splitlines()
    # A line for each resource and scope, which the official exporter joins: (resource, scope) by (resource,
    # scope).
    ours = {"resourceSpans": [group for line in lines for group in json.loads(line)["resourceSpans"]]}
    official = json.loads(file_exporter(tmp_path).encode(spans))
    official["resourceSpans"] = [
        {**group, "scopeSpans": [scope]}
        for group in official["resourceSpans"]
        for scope in group["scopeSpans"]
    ]

    def normal(tree: Any) -> Any:
        """Protobuf's JSON leaves empty fields out and may give numbers as texts."""
        if isinstance(tree, dict):
            return {key: normal(value) for key, value in tree.items() if value not in ("", 0, [], "0", {})}
        if isinstance(tree, list):
            return [normal(value) for value in tree]
        return str(tree) if isinstance(tree, int) and not isinstance(tree, bool) else tree

    assert normal(ours) == normal(official)


def test_a_file_holds_whole_lines(tmp_path: Path) -> None:
    exporter = file_exporter(tmp_path / "deep" / "er")
    payload = exporter.encode(rich_spans())
    assert exporter.send(payload, 1.0).result is Result.DELIVERED
    assert exporter.send(payload, 1.0).result is Result.DELIVERED
    (path,) = (tmp_path / "deep" / "er").iterdir()
    assert path.name.startswith("Leader-")
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 2


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    exporter = file_exporter(tmp_path)
    payload = exporter.encode(rich_spans())
    exporter.send(payload, 1.0)
    write, calls = os.write, []

    def full(file: int, data: Any) -> int:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return write(file, bytes(data)[:10])

    monkeypatch.setattr(os, "write", full)
    outcome = exporter.send(payload, 1.0)
    assert outcome.result is Result.RETRY
    assert "No space" in outcome.reason
    monkeypatch.undo()
    exporter.send(payload, 1.0)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == payload * 2


@pytest.mark.parametrize("stream", ["cout", "cerr"])
def test_the_console_gets_the_sdks_format(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    exporter = create_exporter(Endpoint("console", stream), PipelineSettings())
    spans = rich_spans()
    assert exporter.send(exporter.encode(spans), 1.0).result is Result.DELIVERED
    captured = capsys.readouterr()
    text = captured.out if stream == "cout" else captured.err
    assert text.startswith(spans[0].to_json())


def test_signals_do_not_write_into_each_others_lines() -> None:
    write = """if True:
        import threading
        from tango_telemetry.pipeline import METRICS, TRACES
        from tango_telemetry.pipeline.exporters.console import ConsoleExporter

        def write(exporter, letter):
            for _ in range(50):
                exporter.send((letter * 9999 + "\\n").encode(), 10)

        started = [
            threading.Thread(target=write, args=(ConsoleExporter("cout", signal), letter))
            for signal, letter in ((TRACES, "a"), (METRICS, "b"))
        ]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    """
    done = subprocess.run([sys.executable, "-c", write], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 100, done.stderr
    assert {len(set(line)) for line in lines} == {1}


def test_a_closed_console_is_no_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    exporter = create_exporter(Endpoint("console", "cout"), PipelineSettings())
    assert exporter.send(b"text", 1.0).result is Result.REJECTED


@pytest.mark.parametrize(
    ("target", "insecure", "expected"),
    [
        ("grpc://localhost:4317", None, ("localhost:4317", True)),
        ("http://localhost:4317", None, ("localhost:4317", True)),
        ("https://collector:443/", None, ("collector:443", False)),
        ("grpcs://collector:443", True, ("collector:443", False)),
        ("collector:4317", None, ("collector:4317", False)),
        ("collector:4317", True, ("collector:4317", True)),
        ("grpc://user:secret@[::1]:4317", None, ("[::1]:4317", True)),
    ],
)
def test_grpc_targets(target: str, insecure: bool | None, expected: tuple[str, bool]) -> None:
    assert parse_target(target, insecure) == expected


@pytest.mark.parametrize(
    "target", ["", "grpc://", "localhost", "ftp://x:1", "grpc://x:99999", "grpc://x:port", "x" * 10**6]
)
def test_grpc_targets_that_are_none(target: str) -> None:
    with pytest.raises(ValueError):
        parse_target(target, None)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("3", 3, 3), ("0", 0, 0), ("-5", 0, 0), ("nan", 0, 0), ("inf", 3600, 3600), ("soon", 0, 0), (None, 0, 0),
     ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0, 0),
     ("Fri, 31 Dec 2100 23:59:59 GMT", 3600, 3600), ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0)],
)  # fmt: skip
def test_retry_after(value: str | None, least: float, most: float) -> None:
    assert least <= parse_retry_after(value) <= most


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://h:4318/v1/traces", "http://h:4318/v1/traces"),
        ("http://user:pw@h:1/p?key=secret&b", "http://***@h:1/p?key=***&b=***"),
        ("user:pw@host:4317", "***@host:4317"),
        ("/a/folder@home", "/a/folder@home"),
        ("http://[bad", "http://***"),
    ],
)
def test_redaction(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_wire_settings_follow_the_sdks_variables() -> None:
    wire = WireSettings.from_env(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "general=1",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization=Bearer%20x,bad header=1,evil=a%0Ab, api-key = k ",  # noqa: E501
            "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP",
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
        }
    )
    assert dict(wire.headers) == {"authorization": "Bearer x", "api-key": "k"}
    assert (wire.compression, wire.insecure, wire.certificate_file) == ("gzip", True, "/ca.pem")
    assert "Bearer" not in repr(wire)
    assert (
        WireSettings.from_env(
            {"OTEL_EXPORTER_OTLP_COMPRESSION": "zip", "OTEL_EXPORTER_OTLP_HEADERS": "\0" * 999}
        )
        == WireSettings()
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("htp", "http://h:1/"),
        Endpoint("http", "collector:4318"),
        Endpoint("http", "ftp://collector"),
        Endpoint("grpc", "nowhere"),
        Endpoint("console", "printer"),
        Endpoint("file", "/proc/nowhere"),
        Endpoint("x" * 1_000_000, "y" * 1_000_000),
    ],
    ids=lambda endpoint: endpoint.exporter[:10] + endpoint.target[:10],
)
def test_bad_endpoints_are_one_warning_and_a_pipeline_that_counts(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    before = pipeline_stats().dropped
    for _ in range(2):
        pipeline = get_pipeline(endpoint, "batch")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(pipeline.create_span_processor())
    provider.get_tracer("t").start_span("span").end()
    assert provider.force_flush(1000)
    assert pipeline_stats().dropped == before + 1
    assert dict(pipeline.stats().dropped_by_reason) == {"no_exporter": 1}
    assert len(caplog.records) == 1
    assert "TANGO_TELEMETRY_TRACES_EXPORTER" in caplog.text
    assert "console, grpc, http, file, none" in caplog.text
    assert len(caplog.text) < 2000


@pytest.mark.parametrize("target", ["http://user:hush/x@host:1", "http://user:hush@ho\u2100st:1"])
@pytest.mark.parametrize("exporter", ["http", "grpc"])
def test_why_an_endpoint_is_none_is_said_without_its_password(
    exporter: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib's errors quote the port, or all of the user info."""
    get_pipeline(Endpoint(exporter, target), "batch")
    assert "TANGO_TELEMETRY_TRACES_ENDPOINT" in caplog.text
    assert "hush" not in caplog.text


def test_an_import_that_fails_in_its_own_way_is_no_error_of_the_caller(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """protobuf raises TypeError and gRPC RuntimeError where generated code does not fit their version."""

    def fail(exporter: str) -> None:
        raise TypeError("Descriptors cannot be created directly.")

    monkeypatch.setattr(otel_sdk, "load_transport", fail)
    pipeline = get_pipeline(Endpoint("http", "http://does-not-fit:1"), "batch")
    pipeline.accept_span()(rich_spans()[0])
    assert dict(pipeline.stats().dropped_by_reason) == {"no_exporter": 1}
    assert "Descriptors cannot be created" in caplog.text


def test_encoded_spans_without_an_exporter_are_discarded_and_counted() -> None:
    pipeline = get_pipeline(Endpoint("http", "of no form"), "batch")
    source = Source([(b"12", 2)])
    pipeline.accept_encoded(source)
    stats = pipeline.stats()
    assert (stats.queued, stats.dropped_by_reason["no_exporter"]) == (0, 2)
    source.requests.append((b"345", 3))
    source.wake()
    assert source.requests == []
    stats = pipeline.stats()
    assert (stats.queued, stats.dropped_by_reason["no_exporter"]) == (0, 5)


def test_a_missing_package_is_named_with_the_command(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    pipeline = get_pipeline(Endpoint("grpc", "grpc://missing:1"), "batch")
    assert 'pip install "tango-telemetry[full]"' in caplog.text
    assert pipeline.stats().made == 0


def test_an_unknown_processor_is_batch(caplog: pytest.LogCaptureFixture) -> None:
    assert get_pipeline(Endpoint("console", "cerr"), "fast").processor == "batch"
    assert "simple, batch" in caplog.text


def test_import_has_no_side_effects() -> None:
    code = """
import sys, os, threading
environ, os.environ = os.environ, None
import tango_telemetry.pipeline
os.environ = environ
assert not [name for name in sys.modules if name.startswith(("opentelemetry", "grpc", "requests"))]
assert threading.active_count() == 1
"""
    core = Path(otel_sdk.__file__).parent.parent
    lonely = f"import sys, types; package = types.ModuleType('tango_telemetry'); package.__path__ = [{str(core)!r}]; sys.modules['tango_telemetry'] = package"  # noqa: E501
    subprocess.run([sys.executable, "-c", lonely + code], check=True)


class Source:
    """An encoded source as the C++ provider is one."""

    def __init__(self, requests: list[tuple[bytes, int]]) -> None:
        self.requests = requests
        self.wake: Callable[[], None] = lambda: None

    def drain(self, max_bytes: int) -> tuple[bytes, int]:
        return self.requests.pop(0) if self.requests else (b"", 0)

    def pending(self) -> tuple[int, int]:
        return sum(spans for _, spans in self.requests), sum(len(payload) for payload, _ in self.requests)

    def dropped(self) -> int:
        return 3

    def set_wake(self, wake: Callable[[], None]) -> None:
        self.wake = wake


@pytest.mark.parametrize("exporter", ["http", "grpc", "file"])
def test_an_encoded_source_goes_the_same_way(exporter: str, tmp_path: Path) -> None:
    spans = rich_spans()
    source = Source(
        [(encode_spans(spans[:1]).SerializeToString(), 1), (encode_spans(spans[1:]).SerializeToString(), 3)]
    )
    with receivers.Receiver("grpc" if exporter == "grpc" else "http") as receiver:
        target = str(tmp_path) if exporter == "file" else receiver.endpoint
        pipeline = get_pipeline(Endpoint(exporter, target), "batch")
        pipeline.accept_encoded(source)
        stats = pipeline.stats()
        assert (stats.made, stats.queued, stats.dropped) == (7, 4, 3)
        assert stats.queued_bytes > 0
        source.wake()
        assert pipeline.flush(10)
        stats = pipeline.stats()
        assert (stats.made, stats.delivered, stats.dropped) == (7, 4, 3)
        if exporter == "file":
            lines = [
                json.loads(line) for path in tmp_path.iterdir() for line in path.read_text().splitlines()
            ]
            ids = [
                span["spanId"]
                for line in lines
                for group in line["resourceSpans"]
                for scope in group["scopeSpans"]
                for span in scope["spans"]
            ]
        else:
            ids = [span.span_id for span in receiver.spans]
        assert sorted(ids) == sorted(f"{span.context.span_id:016x}" for span in spans)


@pytest.mark.parametrize(
    ("body", "content_type", "answer"),
    [
        (b"", "", Answer()),
        (b"", "text/plain", Answer()),
        (b"\n\0", "application/x-protobuf", Answer()),
        (b"\n\x06\x08\x02\x12\x02no", "application/x-protobuf", Answer(2, "no")),
        (b"{}", "application/json", Answer()),
        (b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"why"}}', "application/json", Answer(3, "why")),  # noqa: E501
        (b"", "text/html", None),
        (b"<html>", "", None),
        (b"OK", "text/plain", None),
        (b"xxxxxx", "", None),  # a field 15, to protobuf
        (b"xxxxxx", "application/x-protobuf", Answer()),  # a later OTLP, perhaps
        (b"[]", "application/json", None),
        (b'{"status":"ok"}', "application/json", None),
        (b'{"partialSuccess":"no"}', "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b"\xff" * 100, "application/x-protobuf", None),
        (b"\n\x02\x08\xff", "application/x-protobuf", None),
    ],
)  # fmt: skip
def test_what_is_an_answer_of_a_collector(body: bytes, content_type: str, answer: Answer | None) -> None:
    assert read_answer(body, content_type) == answer


@contextlib.contextmanager
def answering(*parts: bytes, pause: float = 0.0) -> Iterator[str]:
    """The URL of a server that answers each request with `parts`, the last one again and again, and
    closes.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65536)
                        connection.sendall(parts[0])
                        for _ in range(1000 if len(parts) > 1 else 0):
                            connection.sendall(parts[1])
                            time.sleep(pause)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        listener.shutdown(socket.SHUT_RDWR)


_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",),
        (_CHUNKED, b"100000\r\n" + b"x" * 0x100000 + b"\r\n"),
        (_CHUNKED.replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1)
         + b"%x\r\n%b\r\n0\r\n\r\n" % (len(zeros := gzip.compress(bytes(20_000_000))), zeros),),
    ],
    ids=["garbage", "no gzip", "without end", "bomb"],
)  # fmt: skip
def test_an_odd_answer_is_none_of_a_collector_and_costs_no_memory(parts: tuple[bytes, ...]) -> None:
    import tracemalloc

    with answering(*parts) as url:
        exporter = create_exporter(Endpoint("http", url), PipelineSettings())
        exporter.prepare(encoding=True)
        tracemalloc.start()
        try:
            outcome = exporter.send(b"", 10.0)
            assert (outcome.result, outcome.reason) == (
                Result.RETRY, "HTTP status 200, but no answer that a collector gives"
            )  # fmt: skip
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
            exporter.close()


def test_an_answer_that_drips_is_given_up() -> None:
    with answering(_CHUNKED, b"40\r\n" + b"x" * 64 + b"\r\n", pause=0.02) as url:
        exporter = create_exporter(Endpoint("http", url), PipelineSettings())
        begin = time.monotonic()
        assert exporter.send(b"", 0.3).result is Result.RETRY  # each part comes in time, all of it does not
        assert time.monotonic() - begin < 5


def test_cookies_are_not_kept() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n") as url:
        exporter: Any = create_exporter(Endpoint("http", url), PipelineSettings())
        assert exporter.send(b"", 10.0).result is Result.DELIVERED
        assert len(exporter._session.cookies) == 0


@pytest.mark.parametrize("credentials", ["", "user:hush\u2022@"])
def test_what_cannot_be_sent_as_a_header_is_not_logged(
    credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of UnicodeEncodeError quotes all of it."""
    headers = () if credentials else (("authorization", "hush\u2022"),)
    exporter = create_exporter(
        Endpoint("http", f"http://{credentials}127.0.0.1:9/v1/traces"),
        PipelineSettings(wire=WireSettings(headers=headers)),
    )
    outcome = exporter.send(b"", 1.0)
    assert (outcome.result, outcome.reason) == (Result.RETRY, "UnicodeEncodeError")
    assert "hush" not in caplog.text


class _Refused(Exception):
    """As `grpc.RpcError`."""

    def __init__(self, *metadata: tuple[str, bytes]) -> None:
        self._metadata = metadata

    def code(self) -> Any:
        import grpc

        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self) -> str:
        return "too much"

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._metadata


def test_grpc_is_tried_again_only_where_the_server_says_when() -> None:
    """Source: OTLP specification; without RetryInfo a message that is too long would be sent for ever."""
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status as RpcStatus

    info = RetryInfo()
    info.retry_delay.FromSeconds(3)
    status = RpcStatus()
    status.details.add().Pack(RpcStatus())
    status.details.add().Pack(info)
    exporter: Any = create_exporter(Endpoint("grpc", "grpc://127.0.0.1:9"), PipelineSettings())
    for key, value in (
        ("google.rpc.retryinfo-bin", info.SerializeToString()),
        ("grpc-status-details-bin", status.SerializeToString()),
    ):
        outcome = exporter._failure(_Refused((key, value)))
        assert (outcome.result, outcome.retry_after) == (Result.RETRY, 3.0)
        assert exporter._failure(_Refused((key, b"\xff"))).result is Result.REJECTED
    assert exporter._failure(_Refused()).result is Result.REJECTED
