"""OTLP over gRPC: one call per attempt, with the bytes as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tango_telemetry import _otel_sdk
from tango_telemetry.pipeline._delivery import Outcome, Result
from tango_telemetry.pipeline._otlp import ProtobufEncoder, rejected_spans
from tango_telemetry.pipeline._settings import WireSettings

if TYPE_CHECKING:
    from tango_telemetry._otel_sdk import ReadableSpan

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# OTLP's list of retryable codes, and UNKNOWN, INTERNAL: what a proxy or a collector that dies in mid-answer gives.
# RESOURCE_EXHAUSTED is one only where the server says by RetryInfo that it can recover: without that it is how a server
# refuses a message that is too long (4 MiB by default), and will refuse it for ever.
_RETRYABLE = frozenset(
    (
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNKNOWN",
        "INTERNAL",
    )
)
_PLAINTEXT = {"grpc": True, "http": True, "grpcs": False, "https": False}


_parents_channels: list[Any] = []


def parse_target(target: str, insecure: bool | None) -> tuple[str, bool]:
    """(`host:port`, without TLS?) of a gRPC endpoint; ValueError if it is none.

    `grpc://` and `http://` are plaintext, `grpcs://` and `https://` use TLS; without a scheme `insecure` decides, as in
    the SDK, where unset means TLS.
    """
    scheme, separator, rest = target.partition("://")
    if not separator:
        scheme, rest = "", target
    if scheme and scheme not in _PLAINTEXT:
        raise ValueError("not a URL of the form grpc://host:port")
    try:
        parts = urlsplit(f"//{rest}")
        name, port = parts.hostname, parts.port
    except ValueError:  # whose text may quote a password
        name = port = None
    if not name or port is None:
        raise ValueError("not a URL of the form grpc://host:port")
    host = f"[{name}]" if ":" in name else name
    return f"{host}:{port}", _PLAINTEXT[scheme] if scheme else bool(insecure)


def _read(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


class GrpcExporter:
    """Sends OTLP protobuf over one gRPC channel."""

    spoolable = True
    chunk_spans = 16

    def __init__(self, target: str, wire: WireSettings) -> None:
        _otel_sdk.find_exporter("grpc")
        self._address, self._insecure = parse_target(target, wire.insecure)
        self._encoder = _otel_sdk.Deferred(lambda: ProtobufEncoder(_otel_sdk.load_encoder("grpc")))
        self._grpc = _otel_sdk.Deferred(lambda: _otel_sdk.load_transport("grpc")[0])
        self._wire = wire
        self._metadata = tuple((name.lower(), value) for name, value in wire.headers)
        self._channel: Any = None
        self._call: Any = None

    def prepare(self, encoding: bool) -> None:
        self._grpc()
        if encoding:
            self._encoder()

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        return self._encoder().encode(spans)  # type: ignore[no-any-return]

    def transcode(self, resource_spans: bytes) -> bytes:
        return resource_spans

    def _connect(self) -> None:
        grpc, wire = self._grpc(), self._wire
        compression = grpc.Compression.Gzip if wire.compression == "gzip" else grpc.Compression.NoCompression
        # gRPC's own wait between connections grows to 2 minutes; ours is shorter, so let the channel try when we do.
        options = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
        if self._insecure:
            self._channel = grpc.insecure_channel(self._address, options=options, compression=compression)
        else:
            credentials = grpc.ssl_channel_credentials(
                _read(wire.certificate_file), _read(wire.client_key_file), _read(wire.client_certificate_file)
            )
            self._channel = grpc.secure_channel(
                self._address, credentials, options=options, compression=compression
            )
        self._call = self._channel.unary_unary(_METHOD)

    def send(self, payload: bytes, timeout: float) -> Outcome:
        grpc = self._grpc()
        if self._call is None:
            self._connect()
        try:
            response = self._call(payload, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return self._failure(error)
        return Outcome(Result.DELIVERED, rejected_spans=rejected_spans(response))

    def _failure(self, error: Any) -> Outcome:
        code = error.code().name
        retry_after = self._retry_after(error)
        if code in _RETRYABLE or (code == "RESOURCE_EXHAUSTED" and retry_after is not None):
            return Outcome(Result.RETRY, f"gRPC status {code}", retry_after or 0.0)
        return Outcome(Result.REJECTED, f"gRPC status {code}")

    def _retry_after(self, error: Any) -> float | None:
        """Seconds in the server's RetryInfo, which OTLP uses for back-pressure; None if there is none.

        The Collector and other servers in Go send it among the details of the status, some send it as it is.
        """
        metadata = dict(error.trailing_metadata() or ())
        details = metadata.get("grpc-status-details-bin")
        plain = metadata.get("google.rpc.retryinfo-bin")
        if details is None and plain is None:
            return None
        info = _otel_sdk.load("google.rpc.error_details_pb2", "gRPC back-pressure").RetryInfo()
        try:
            if plain is not None:
                info.ParseFromString(plain)
            else:
                status = _otel_sdk.load("google.rpc.status_pb2", "gRPC back-pressure").Status
                if not any(detail.Unpack(info) for detail in status.FromString(details).details):
                    return None
        except _otel_sdk.load("google.protobuf.message", "gRPC back-pressure").DecodeError:
            return None
        seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        return min(max(seconds, 0.0), 3600.0)

    def reset_after_fork(self) -> None:
        # Never finalised: what a parent's channel does in its destructor in a child has changed between gRPC versions.
        _parents_channels.append((self._channel, self._call))
        self._channel = self._call = None

    def close(self) -> None:
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()
