"""An OTLP receiver for tests, with faults to order: HTTP and gRPC, on loopback, on a free port.

    with Receiver("http") as receiver:
        ...                                     # send to receiver.endpoint
        receiver.wait_for(3)                    # three spans, or TimeoutError
        receiver.spans[0].attributes["rpc.system.name"]
    receiver.endpoint_of("logs")            # log records go there, and to receiver.logs
        receiver.fault = status(429, retry_after=2)
        receiver.fault = None                   # it is well again

As a program: `python tests/receiver.py --protocol grpc --port 4317` prints a line for each span it gets.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import random
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

DATA = Path(__file__).parent / "data"
CERTIFICATE = DATA / "receiver-cert.pem"
"""Certificate of a receiver with `tls=True`: self-signed, for localhost and 127.0.0.1."""
_KEY = DATA / "receiver-key.pem"

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUSES = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True)
class Event:
    """An event of a span."""

    name: str
    attributes: dict[str, Any]
    time_ns: int


@dataclass(frozen=True)
class Link:
    """A link of a span."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it came over the wire; ids are lower-case hexadecimal, a root's `parent_span_id` is ""."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: str
    service: str
    resource: dict[str, Any]
    attributes: dict[str, Any]
    status: str
    status_message: str
    events: tuple[Event, ...]
    links: tuple[Link, ...]
    start_ns: int
    end_ns: int
    tracestate: str
    scope: str


@dataclass(frozen=True)
class ReceivedLog:
    """A log record as it came; ids are lower-case hexadecimal, "" where there is none."""

    trace_id: str
    span_id: str
    flags: int
    severity: int
    severity_text: str
    body: Any
    attributes: dict[str, Any]
    resource: dict[str, Any]
    service: str
    scope: str
    time_ns: int
    observed_ns: int


@dataclass(frozen=True)
class Fault:
    """What the receiver does instead of taking a request. Made by the functions below."""

    kind: str
    code: int = 0
    retry_after: float | None = None
    seconds: float = 0.0
    choices: tuple[Fault | None, ...] = field(default=())
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    rejected: int = 0


REFUSE = Fault("refuse")
"""Nobody listens on the port; open connections are closed."""
HANG = Fault("hang")
"""A request is read and never answered."""
BLACK_HOLE = HANG
CLOSE = Fault("close")
"""The connection is closed in the middle of the answer."""


def status(
    code: int, retry_after: float | None = None, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Fault:
    """Answer with this HTTP status; gRPC gets the code that stands for it, and RetryInfo for `retry_after`.

    body: what the server says; gRPC's details. headers: of the answer, HTTP only.
    """
    return Fault(
        "status", code=code, retry_after=retry_after, body=body, headers=tuple((headers or {}).items())
    )


def partial_success(rejected: int, message: str) -> Fault:
    """Take the request, and say that so many spans of it were rejected, and why."""
    return Fault("partial", rejected=rejected, body=message.encode())


def slow(seconds: float) -> Fault:
    """Take the request, and answer after so many seconds."""
    return Fault("slow", seconds=seconds)


def at_random(*choices: Fault | None) -> Fault:
    """One of `choices` at each request; None is to work. REFUSE cannot be among them."""
    return Fault("random", choices=choices)


_GRPC_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
}


def _value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(any_value.kvlist_value.values)
    return getattr(any_value, kind) if kind else None


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def decode(request: Any) -> list[ReceivedSpan]:
    """The spans of an `ExportTraceServiceRequest`."""
    spans = []
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                spans.append(
                    ReceivedSpan(
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_span_id=span.parent_span_id.hex(),
                        name=span.name,
                        kind=KINDS[span.kind],
                        service=str(resource.get("service.name", "")),
                        resource=resource,
                        attributes=_attributes(span.attributes),
                        status=STATUSES[span.status.code],
                        status_message=span.status.message,
                        events=tuple(
                            Event(event.name, _attributes(event.attributes), event.time_unix_nano)
                            for event in span.events
                        ),
                        links=tuple(
                            Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes))
                            for link in span.links
                        ),
                        start_ns=span.start_time_unix_nano,
                        end_ns=span.end_time_unix_nano,
                        tracestate=span.trace_state,
                        scope=scope_spans.scope.name,
                    )
                )
    return spans


def decode_logs(request: Any) -> list[ReceivedLog]:
    """The records of an `ExportLogsServiceRequest`."""
    logs = []
    for resource_logs in request.resource_logs:
        resource = _attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                logs.append(
                    ReceivedLog(
                        trace_id=record.trace_id.hex(),
                        span_id=record.span_id.hex(),
                        flags=record.flags,
                        severity=record.severity_number,
                        severity_text=record.severity_text,
                        body=_value(record.body),
                        attributes=_attributes(record.attributes),
                        resource=resource,
                        service=str(resource.get("service.name", "")),
                        scope=scope_logs.scope.name,
                        time_ns=record.time_unix_nano,
                        observed_ns=record.observed_time_unix_nano,
                    )
                )
    return logs


_MESSAGES: dict[str, tuple[Any, Any, str]] = {
    "traces": (ExportTraceServiceRequest, ExportTraceServiceResponse, "rejected_spans"),
    "logs": (ExportLogsServiceRequest, ExportLogsServiceResponse, "rejected_log_records"),
    "metrics": (ExportMetricsServiceRequest, ExportMetricsServiceResponse, "rejected_data_points"),
}
"""Of each signal: the request, the answer, and the answer's field for what was refused."""
_SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
}


class Receiver:
    """Stores what it gets. `fault` may be set at any time; `spans`, `requests` and `headers` are read at any
    time.

    protocol: "http" or "grpc". port: 0 for a free one. tls: with the self-signed CERTIFICATE.
    on_spans: called with each request's spans, on a thread of the receiver.
    """

    def __init__(
        self,
        protocol: str = "http",
        port: int = 0,
        *,
        tls: bool = False,
        fault: Fault | None = None,
        on_spans: Callable[[list[ReceivedSpan]], None] | None = None,
    ) -> None:
        self.protocol = protocol
        self._tls = tls
        self._changed = threading.Condition()
        self._spans: list[ReceivedSpan] = []
        self._logs: list[ReceivedLog] = []
        self._metrics: list[Any] = []
        self._on_spans = on_spans
        self.requests = 0
        """Requests that were begun, whether they were taken or not."""
        self.headers: list[dict[str, str]] = []
        """Headers (for gRPC metadata) of each request, names in lower case."""
        self._fault: Fault | None = None
        self._epoch = 0
        self._end: _HttpEnd | _GrpcEnd = (_HttpEnd if protocol == "http" else _GrpcEnd)(self, port, tls)
        self.port = self._end.port
        self.fault = fault

    # --- for tests

    @property
    def endpoint(self) -> str:
        """The URL to send to."""
        return self.endpoint_of("traces")

    def endpoint_of(self, signal: str) -> str:
        """The URL to send traces, logs or metrics to."""
        secure = "s" if self._tls else ""
        if self.protocol == "http":
            return f"http{secure}://127.0.0.1:{self.port}/v1/{signal}"
        return f"grpc{secure}://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[ReceivedSpan]:
        """A copy of what has come so far."""
        with self._changed:
            return list(self._spans)

    @property
    def logs(self) -> list[ReceivedLog]:
        """A copy of the log records that have come so far."""
        with self._changed:
            return list(self._logs)

    @property
    def metrics(self) -> list[Any]:
        """A copy of the `ResourceMetrics` that have come so far."""
        with self._changed:
            return list(self._metrics)

    def clear(self) -> None:
        """Forget what came."""
        with self._changed:
            for kept in (self._spans, self._logs, self._metrics):
                kept.clear()

    def wait_for_logs(
        self, condition: int | Callable[[list[ReceivedLog]], bool], timeout: float = 10.0
    ) -> list[ReceivedLog]:
        """Wait for so many log records, or until `condition(logs)`; gives them, or raises TimeoutError."""
        return self._wait("logs", self._logs, condition, timeout)

    def wait_for_metrics(
        self, condition: int | Callable[[list[Any]], bool], timeout: float = 10.0
    ) -> list[Any]:
        """Wait for so many `ResourceMetrics`, or until `condition(metrics)`; gives them, or raises
        TimeoutError.
        """
        return self._wait("metrics", self._metrics, condition, timeout)

    def _wait(self, what: str, kept: list[Any], condition: Any, timeout: float) -> list[Any]:
        test = (lambda items: len(items) >= condition) if isinstance(condition, int) else condition
        with self._changed:
            if not self._changed.wait_for(lambda: test(kept), timeout):
                raise TimeoutError(f"not in {timeout} s; {len(kept)} {what} in {self.requests} requests came")
            return list(kept)

    def wait_for(
        self, condition: int | Callable[[list[ReceivedSpan]], bool], timeout: float = 10.0
    ) -> list[ReceivedSpan]:
        """Wait for so many spans, or until `condition(spans)`; gives the spans, or raises TimeoutError."""
        return self._wait("spans", self._spans, condition, timeout)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> None:
        """Wait until so many requests were begun."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.requests >= count, timeout):
                raise TimeoutError(f"{self.requests} requests in {timeout} s")

    @property
    def fault(self) -> Fault | None:
        """What it does wrong now; None if nothing."""
        return self._fault

    @fault.setter
    def fault(self, fault: Fault | None) -> None:
        with self._changed:
            before, self._fault = self._fault, fault
            self._epoch += 1
            self._changed.notify_all()
        refuses = fault is not None and fault.kind == "refuse"
        refused = before is not None and before.kind == "refuse"
        if refuses and not refused:
            self._end.stop()
        elif refused and not refuses:
            self._end.start()

    def close(self) -> None:
        """Stop; the port is free afterwards."""
        with self._changed:
            self._fault = REFUSE
            self._epoch += 1
            self._changed.notify_all()
        self._end.stop()

    def __enter__(self) -> Receiver:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- for the two ends

    def begin(self, headers: dict[str, str]) -> Fault | None:
        """A request has come: what to do wrong with it."""
        with self._changed:
            self.requests += 1
            self.headers.append(headers)
            self._changed.notify_all()
            fault = self._fault
        return random.choice(fault.choices) if fault is not None and fault.kind == "random" else fault

    def hang(self, until: float) -> None:
        """Wait until the fault is changed, or until that monotonic time."""
        with self._changed:
            epoch = self._epoch
            self._changed.wait_for(lambda: self._epoch != epoch, max(0.0, until - time.monotonic()))

    def take(self, request: Any) -> None:
        """Store what a request brings."""
        spans = decode(request) if isinstance(request, ExportTraceServiceRequest) else []
        with self._changed:
            self._spans.extend(spans)
            if isinstance(request, ExportLogsServiceRequest):
                self._logs.extend(decode_logs(request))
            elif isinstance(request, ExportMetricsServiceRequest):
                self._metrics.extend(request.resource_metrics)
            self._changed.notify_all()
        if self._on_spans is not None and spans:
            self._on_spans(spans)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: Any, tls: ssl.SSLContext | None) -> None:
        self.connections: set[socket.socket] = set()
        self._tls = tls
        super().__init__(address, handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        self.connections.add(connection)
        return connection, address

    def finish_request(self, request: Any, client_address: Any) -> None:
        # The handshake belongs into the connection's own thread: a client that hangs there must not stop the
        # others.
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients of these tests break connections on purpose


class _HttpEnd:
    def __init__(self, receiver: Receiver, port: int, tls: bool) -> None:
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(CERTIFICATE, _KEY)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body leave in one packet; else Nagle and delayed acknowledgement add 40 ms to each
            # answer.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                _answer_http(receiver, self, body, receiver.begin(headers))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._handler = Handler
        self.port = port
        self._server: _Server | None = None
        self.start()

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), self._handler, self._context)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        for connection in server.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}


def _response(fault: Fault | None, signal: str) -> Any:
    _, message, rejected = _MESSAGES[signal]
    response = message()
    if fault is not None and fault.kind == "partial":
        setattr(response.partial_success, rejected, fault.rejected)
        response.partial_success.error_message = fault.body.decode()
    return response


def _answer_http(
    receiver: Receiver, handler: BaseHTTPRequestHandler, body: bytes, fault: Fault | None
) -> None:
    if fault is not None and fault.kind in ("hang", "refuse"):
        receiver.hang(time.monotonic() + 3600)
        handler.close_connection = True
        return
    if fault is not None and fault.kind == "slow":
        receiver.hang(time.monotonic() + fault.seconds)
    if fault is not None and fault.kind == "status":
        handler.send_response(fault.code)
        if fault.retry_after is not None:
            handler.send_header("Retry-After", f"{fault.retry_after:g}")
        for name, value in fault.headers:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(fault.body)))
        handler.end_headers()
        handler.wfile.write(fault.body)
        return
    if fault is not None and fault.kind == "close":
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half of an ans")
        handler.wfile.flush()
        handler.close_connection = True
        return
    last = handler.path.partition("?")[0].rpartition("/")[2]
    signal = last if last in _MESSAGES else "traces"
    receiver.take(
        _MESSAGES[signal][0].FromString(_DECODERS[handler.headers.get("Content-Encoding", "")](body))
    )
    answer = _response(fault, signal).SerializeToString()
    handler.send_response(200)
    handler.send_header("Content-Type", "application/x-protobuf")
    handler.send_header("Content-Length", str(len(answer)))
    handler.end_headers()
    handler.wfile.write(answer)
    handler.wfile.flush()


class _GrpcEnd:
    def __init__(self, receiver: Receiver, port: int, tls: bool) -> None:
        self._receiver = receiver
        self._tls = tls
        self.port = port
        self._server: Any = None
        self.start()

    def start(self) -> None:
        # A closed listener may linger for a moment after stop(): try again for the same port.
        deadline = time.monotonic() + 10
        while True:
            server = grpc.server(ThreadPoolExecutor(32), options=(("grpc.so_reuseport", 0),))
            server.add_generic_rpc_handlers(tuple(self._service_of(signal) for signal in _MESSAGES))
            try:
                if self._tls:
                    credentials = grpc.ssl_server_credentials(
                        ((_KEY.read_bytes(), CERTIFICATE.read_bytes()),)
                    )
                    self.port = server.add_secure_port(f"127.0.0.1:{self.port}", credentials)
                else:
                    self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
                break
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
        server.start()
        self._server = server

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop(0).wait()

    def _service_of(self, signal: str) -> Any:
        request, response, _ = _MESSAGES[signal]
        handler = grpc.unary_unary_rpc_method_handler(
            lambda message, context: self._export(signal, message, context),
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(_SERVICES[signal], {"Export": handler})

    def _export(self, signal: str, request: Any, context: Any) -> Any:
        headers = {key: str(value) for key, value in context.invocation_metadata()}
        fault = self._receiver.begin(headers)
        if fault is not None and fault.kind in ("hang", "refuse"):
            self._receiver.hang(time.monotonic() + 3600)
            context.abort(grpc.StatusCode.UNAVAILABLE, "was hanging")
        if fault is not None and fault.kind == "slow":
            self._receiver.hang(time.monotonic() + fault.seconds)
        if fault is not None and fault.kind == "close":
            context.abort(grpc.StatusCode.UNAVAILABLE, "connection closed")
        if fault is not None and fault.kind == "status":
            if fault.retry_after is not None:
                info = RetryInfo()
                info.retry_delay.FromNanoseconds(int(fault.retry_after * 1e9))
                context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
            context.abort(
                _GRPC_CODES.get(fault.code, grpc.StatusCode.UNAVAILABLE),
                fault.body.decode() or f"status {fault.code}",
            )
        self._receiver.take(request)
        return _response(fault, signal)


def _main() -> None:
    parser = argparse.ArgumentParser(description="An OTLP receiver that prints what it gets.")
    parser.add_argument("--protocol", choices=("http", "grpc"), default="http")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fault", choices=("hang", "close", "500", "429"), help="what to do wrong")
    options = parser.parse_args()
    faults = {"hang": HANG, "close": CLOSE, "500": status(500), "429": status(429, 1.0)}

    def show(spans: list[ReceivedSpan]) -> None:
        for span in spans:
            print(f"{span.trace_id} {span.span_id} {span.service} {span.kind} {span.name}", flush=True)

    with Receiver(options.protocol, options.port, fault=faults.get(options.fault), on_spans=show) as receiver:
        print(receiver.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    sys.exit(0)


if __name__ == "__main__":
    _main()
