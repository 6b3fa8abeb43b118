"""What a pipeline is told: where to send, and within which bounds.

Plain values; the environment is read elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tango_telemetry.pipeline.redact import redact_url
from tango_telemetry.pipeline.signals import TRACES, Signal

COMPRESSIONS = ("none", "gzip", "deflate")
_HEADER_NAME = r"[a-z0-9!#$%&'*+.^_`|~-]+"
EXPORTERS = ("console", "grpc", "http", "file")
PROCESSORS = ("simple", "batch")


@dataclass(frozen=True)
class Endpoint:
    """Where spans go, or the items of another signal. Two equal endpoints share one pipeline.

    exporter: "grpc", "http", "file" or "console".
    target: a URL, a directory, or "cout" / "cerr"; "" for the default of the exporter.
    signal: what goes there.
    """

    exporter: str
    target: str = ""
    signal: Signal = TRACES

    def __str__(self) -> str:
        return f"{self.exporter}:{redact_url(self.target)}"

    def __repr__(self) -> str:
        signal = "" if self.signal == TRACES else f", signal={self.signal!r}"
        return f"Endpoint(exporter={self.exporter!r}, target={redact_url(self.target)!r}{signal})"

    def of(self, signal: Signal) -> Endpoint:
        """The endpoint beside this one for another signal: the same collector, folder or console.

        Over HTTP the signal's path takes the place of this one's; a URL with a path of its own stays as it
        is.
        """
        target = self.target
        if self.exporter == "http" and target:
            path = urlsplit(target).path
            if path in ("", "/"):
                target = target.rstrip("/") + signal.path
            elif path.endswith(self.signal.path):
                head, _, tail = target.rpartition(self.signal.path)
                target = head + signal.path + tail
        return Endpoint(self.exporter, target, signal)


@dataclass(frozen=True)
class WireSettings:
    """How to talk to a collector: OTEL_EXPORTER_OTLP_* and OTEL_EXPORTER_OTLP_TRACES_* (or another signal's),
    in the SDK's meaning.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    compression: str = "none"
    """"none", "gzip", or for HTTP "deflate"."""
    certificate_file: str = ""
    client_key_file: str = ""
    client_certificate_file: str = ""
    insecure: bool | None = None
    """gRPC without TLS where the endpoint's scheme does not say."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], signal: Signal = TRACES) -> WireSettings:
        """Read OTEL_EXPORTER_OTLP_TRACES_* first, OTEL_EXPORTER_OTLP_* next, as the SDK does. Never raises.

        For another signal than traces its own name stands in place of TRACES.

        What cannot be understood counts as unset; a header value never gets into a message.
        """

        def read(name: str) -> str:
            return (
                environ.get(f"OTEL_EXPORTER_OTLP_{signal.name.upper()}_{name}")
                or environ.get(f"OTEL_EXPORTER_OTLP_{name}")
                or ""
            ).strip()

        compression = read("COMPRESSION").lower()
        insecure = read("INSECURE").lower()
        return cls(
            headers=_parse_headers(read("HEADERS")),
            compression=compression if compression in COMPRESSIONS else "none",
            certificate_file=read("CERTIFICATE"),
            client_key_file=read("CLIENT_KEY"),
            client_certificate_file=read("CLIENT_CERTIFICATE"),
            insecure=insecure == "true" if insecure else None,
        )


def _parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """`name=value` pairs with commas between, values percent-encoded (OTLP exporter specification)."""
    headers = {}
    for pair in text.split(","):
        name, separator, value = pair.partition("=")
        name, value = unquote(name).strip().lower(), unquote(value).strip()
        if separator and re.fullmatch(_HEADER_NAME, name) and value.isprintable():
            headers[name] = value
    return tuple(headers.items())


@dataclass(frozen=True)
class PipelineSettings:
    """The bounds of every pipeline of the process. Times are in seconds, sizes in bytes.

    The variable beside each field is the one that `TelemetryConfig` reads for it.
    """

    max_queue_spans: int = 65536
    """OTEL_BSP_MAX_QUEUE_SIZE.

    Spans that wait in memory, per pipeline; a span that meets a full queue is dropped.
    """
    max_queue_bytes: int = 64 * 1024 * 1024
    """PYTANGO_TELEMETRY_QUEUE_MAX_BYTES. Bytes that waiting spans may take, per pipeline."""
    max_batch_spans: int = 512
    """OTEL_BSP_MAX_EXPORT_BATCH_SIZE. Spans in one request."""
    max_batch_bytes: int = 2 * 1024 * 1024
    """PYTANGO_TELEMETRY_BATCH_MAX_BYTES. Bytes in one request (gRPC servers refuse 4 MiB by default)."""
    schedule_delay: float = 1.0
    """OTEL_BSP_SCHEDULE_DELAY (there in milliseconds).

    The longest that a span waits for others before it is sent.
    """
    export_timeout: float = 10.0
    """OTEL_EXPORTER_OTLP_TIMEOUT. The bound of one attempt to send."""
    retry_initial: float = 0.5
    """Wait before the first retry; doubled, with jitter, up to `retry_max`.

    A collector's Retry-After comes first.
    """
    retry_max: float = 10.0
    """PYTANGO_TELEMETRY_RETRY_MAX. The longest wait between two attempts."""
    shutdown_timeout: float = 1.0
    """PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT.

    What telemetry may add to the exit of a process, all pipelines together.
    """
    spool_dir: str = ""
    """PYTANGO_TELEMETRY_SPOOL_DIR. Folder for payloads that wait; "" for none."""
    spool_max_bytes: int = 256 * 1024 * 1024
    """PYTANGO_TELEMETRY_SPOOL_MAX_BYTES. Bytes in that folder, all processes together."""
    spool_file_bytes: int = 1024 * 1024
    """PYTANGO_TELEMETRY_SPOOL_FILE_BYTES. Bytes in one file of it."""
    file_max_bytes: int = 64 * 1024 * 1024
    """PYTANGO_TELEMETRY_FILE_MAX_BYTES. Bytes in one file of the exporter "file", per process."""
    file_max_count: int = 8
    """PYTANGO_TELEMETRY_FILE_MAX_COUNT. Such files that each process keeps; the oldest is removed."""
    sdk_log_level: str = ""
    """PYTANGO_TELEMETRY_SDK_LOG_LEVEL. Level of the loggers of the SDK and the exporters; "" leaves it."""
    wire: WireSettings = WireSettings()
    """OTEL_EXPORTER_OTLP_HEADERS, _COMPRESSION, _CERTIFICATE, _CLIENT_KEY, _CLIENT_CERTIFICATE, _INSECURE."""
    other_wires: tuple[tuple[Signal, WireSettings], ...] = ()
    """The same for signals besides traces; one that is missing here takes `wire`."""

    def __post_init__(self) -> None:
        for name in (
            "max_queue_spans",
            "max_queue_bytes",
            "max_batch_spans",
            "max_batch_bytes",
            "spool_file_bytes",
            "file_max_bytes",
            "file_max_count",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"PipelineSettings.{name} must be at least 1")
        for name in ("schedule_delay", "export_timeout", "retry_initial", "retry_max"):
            if not getattr(self, name) > 0:
                raise ValueError(f"PipelineSettings.{name} must be above 0 seconds")

    def wire_of(self, signal: Signal) -> WireSettings:
        """How to talk to the collector of one signal."""
        return dict(self.other_wires).get(signal, self.wire)


def default_target(exporter: str, signal: Signal = TRACES) -> str:
    """The target that an empty one stands for."""
    return {
        "grpc": "http://localhost:4317",
        "http": f"http://localhost:4318{signal.path}",
        "console": "cout",
        "file": os.path.join(os.curdir, f"tango-{signal}"),
    }[exporter]
