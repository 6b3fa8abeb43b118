"""OTLP over gRPC: one call per attempt, with the bytes as they stand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tango_telemetry.otel import sdk as otel_sdk
from tango_telemetry.pipeline.delivery import Outcome, Result
from tango_telemetry.pipeline.exporters.halves import halve
from tango_telemetry.pipeline.exporters.otlp import ProtobufEncoder, read_answer
from tango_telemetry.pipeline.redact import clean_text, redact_url, secrets_of
from tango_telemetry.pipeline.settings import WireSettings
from tango_telemetry.pipeline.signals import TRACES, Signal

if TYPE_CHECKING:
    from tango_telemetry.otel.sdk import ReadableSpan

# Answers about the data, which will be the same tomorrow. Every other code is one about the place or the
# moment, also those that OTLP does not list as retryable: UNIMPLEMENTED, UNAUTHENTICATED and
# PERMISSION_DENIED come from gateways that lack their backend or a token. RESOURCE_EXHAUSTED is about the
# place only where the server says by RetryInfo that it can recover: without that it is how a server refuses a
# message that is too long (4 MiB by default), and will for ever.
_ABOUT_THE_DATA = frozenset(("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"))
_PLAINTEXT = {"grpc": True, "http": True, "grpcs": False, "https": False}


_parents_channels: list[Any] = []


def parse_target(target: str, insecure: bool | None) -> tuple[str, bool]:
    """(`host:port`, without TLS?) of a gRPC endpoint; ValueError if it is none.

    `grpc://` and `http://` are plaintext, `grpcs://` and `https://` use TLS; without a scheme `insecure`
    decides, as in the SDK, where unset means TLS.
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


def _proxy_of(address: str, environ: Mapping[str, str]) -> str:
    """The proxy that gRPC's core uses for `address` ("" if none): it does not say so itself (grpcio 1.85).

    Source: "gRPC environment variables" of gRPC core.
    """
    host = address.rpartition(":")[0]
    without = environ.get("no_grpc_proxy") or environ.get("no_proxy") or ""
    if any(host.endswith(name.strip()) for name in without.split(",") if name.strip()):
        return ""
    return next(
        (environ[name] for name in ("grpc_proxy", "https_proxy", "http_proxy") if environ.get(name)), ""
    )


def _read(path: str) -> bytes | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return file.read()


class GrpcExporter:
    """Sends OTLP protobuf over one gRPC channel."""

    spoolable = True
    chunk_spans = 16

    def __init__(self, target: str, wire: WireSettings, signal: Signal = TRACES) -> None:
        otel_sdk.find_exporter("grpc")
        self._address, self._insecure = parse_target(target, wire.insecure)
        self._encoder = otel_sdk.Deferred(lambda: ProtobufEncoder(otel_sdk.load_encoder("grpc")))
        self._grpc = otel_sdk.Deferred(lambda: otel_sdk.load_transport("grpc")[0])
        self._wire = wire
        self._service = signal.service
        self._secrets = secrets_of(target, wire.headers)
        self._peer = self._address
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

    def halve(self, payload: bytes, items: int) -> Sequence[tuple[bytes, int]]:
        return halve(payload, items)

    def _connect(self) -> None:
        grpc, wire = self._grpc(), self._wire
        compression = grpc.Compression.Gzip if wire.compression == "gzip" else grpc.Compression.NoCompression
        options = (
            # gRPC's own wait between connections grows to 2 minutes; ours is shorter, so let the channel try
            # when we do.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # Without it a new channel takes up the connection of an old one to the same address, a dead one
            # too. HTTP/2 pings instead would have servers close the connection (too_many_pings): by default
            # they allow one in 5 minutes, and none between calls. A call's deadline finds a dead connection
            # as soon as it matters.
            ("grpc.use_local_subchannel_pool", 1),
        )
        if self._insecure:
            self._channel = grpc.insecure_channel(self._address, options=options, compression=compression)
        else:
            credentials = grpc.ssl_channel_credentials(
                _read(wire.certificate_file), _read(wire.client_key_file), _read(wire.client_certificate_file)
            )
            self._channel = grpc.secure_channel(
                self._address, credentials, options=options, compression=compression
            )
        self._call = self._channel.unary_unary(self._service)
        proxy = _proxy_of(self._address, os.environ)
        self._secrets = (*secrets_of(proxy, ()), *self._secrets)
        self._peer = f"{self._address} by the proxy {redact_url(proxy)}" if proxy else self._address

    def send(self, payload: bytes, timeout: float) -> Outcome:
        grpc = self._grpc()
        try:
            if self._call is None:
                self._connect()
            response = self._call(payload, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            return self._failure(error)
        except OSError as error:  # the file of a certificate
            detail = f"{error.strerror}: {error.filename}"
            return Outcome(Result.RETRY, type(error).__name__, detail=detail, peer=self._peer)
        answer = read_answer(response, "application/grpc+protobuf")
        if answer is None:
            reason = "gRPC status OK, but no answer that a collector gives"
            return Outcome(Result.RETRY, reason, peer=self._peer)
        return Outcome(
            Result.DELIVERED,
            rejected_spans=answer.rejected_spans,
            detail=clean_text(answer.message, self._secrets),
            peer=self._peer,
        )

    def _failure(self, error: Any) -> Outcome:
        code = error.code().name
        retry_after = self._retry_after(error)
        about_the_data = code in _ABOUT_THE_DATA and retry_after is None
        return Outcome(
            Result.REJECTED if about_the_data else Result.RETRY,
            f"gRPC status {code}",
            retry_after or 0.0,
            detail=clean_text(error.details() or "", self._secrets),
            peer=self._peer,
            doubtful=code in ("INTERNAL", "UNKNOWN"),
        )

    def _retry_after(self, error: Any) -> float | None:
        """Seconds in the server's RetryInfo, which OTLP uses for back-pressure; None if there is none.

        The Collector and other servers in Go send it among the details of the status, some send it as it is.
        """
        metadata = dict(error.trailing_metadata() or ())
        details = metadata.get("grpc-status-details-bin")
        plain = metadata.get("google.rpc.retryinfo-bin")
        if details is None and plain is None:
            return None
        info = otel_sdk.load("google.rpc.error_details_pb2", "gRPC back-pressure").RetryInfo()
        try:
            if plain is not None:
                info.ParseFromString(plain)
            else:
                status = otel_sdk.load("google.rpc.status_pb2", "gRPC back-pressure").Status
                if not any(detail.Unpack(info) for detail in status.FromString(details).details):
                    return None
        except otel_sdk.load("google.protobuf.message", "gRPC back-pressure").DecodeError:
            return None
        seconds: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
        return min(max(seconds, 0.0), 3600.0)

    def reset_after_fork(self) -> None:
        # Never finalised: what a parent's channel does in its destructor in a child has changed between gRPC
        # versions.
        _parents_channels.append((self._channel, self._call))
        self._channel = self._call = None

    def close(self) -> None:
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()
