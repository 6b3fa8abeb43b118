"""One span really sent to each endpoint, one log record where logs are asked for, one data point where
metrics are, by the exporter that a traced process would use, within a few seconds.
"""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tango_telemetry import Endpoint, TelemetryConfig
from tango_telemetry.diagnosis import (
    GAUGE,
    LOGS,
    METRICS,
    Collected,
    Exporter,
    LogEncoder,
    MetricSource,
    MissingPackageError,
    Outcome,
    Result,
    create_exporter,
    encode_number,
    guarded,
    redact_url,
    variables,
)
from tango_telemetry.diagnosis import (
    sdk as otel_sdk,
)

from .installed import FULL
from .model import Diagnosis, EndpointResult

TIMEOUT = 3.0
"""Seconds for one attempt."""
_GRACE = 2.0
_PROBE_BYTES = 4096
_MOST_BYTES = 65536
SERVICE_NAME = "tango-telemetry doctor"
_VARIABLES = {
    LOGS: variables.TANGO_TELEMETRY_LOGGING_ENDPOINTS,
    METRICS: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
}
_RESOURCE = {"service.name": SERVICE_NAME, "service.namespace": "tango"}


def look(diagnosis: Diagnosis, config: TelemetryConfig, variable: str) -> None:
    """Fill in `diagnosis.endpoints`. `variable` is the one that says where spans go."""
    for endpoint in (*config.endpoints, *config.logs_endpoints, *config.metrics_endpoints):
        result = try_endpoint(endpoint, config)
        diagnosis.endpoints.append(result)
        if result.result == "failed":
            diagnosis.error(
                f"the {endpoint.exporter} endpoint {result.target} does not work: {result.reason}",
                suggest(endpoint, result.reason, _VARIABLES.get(endpoint.signal, variable)),
            )


def try_endpoint(endpoint: Endpoint, config: TelemetryConfig) -> EndpointResult:
    """Send one span, or for files and the console see that one could be written."""
    target = redact_url(endpoint.target)
    if endpoint.signal in _VARIABLES:
        target = f"{target} ({endpoint.signal})"
    try:
        otel_sdk.load_sdk()
    except MissingPackageError:
        return EndpointResult(endpoint.exporter, target, "skipped", "OpenTelemetry's SDK is not installed")
    except ValueError as error:  # it does not take the value of one of its variables
        return EndpointResult(endpoint.exporter, target, "skipped", _one_line(error))
    start = time.monotonic()
    try:
        outcome = _write_file(endpoint) if endpoint.exporter == "file" else _send(endpoint, config)
    except (MissingPackageError, ValueError, OSError) as error:
        return EndpointResult(endpoint.exporter, target, "failed", _one_line(error))
    seconds = round(time.monotonic() - start, 3)
    delivered = outcome.result is Result.DELIVERED and not outcome.rejected_spans
    reason = outcome.reason if delivered else outcome.describe()
    if outcome.rejected_spans:
        reason = f"the collector refused it ({reason})" if reason else "the collector refused it"
    return EndpointResult(endpoint.exporter, target, "delivered" if delivered else "failed", reason, seconds)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, MissingPackageError):
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _write_file(endpoint: Endpoint) -> Outcome:
    """See that the folder can be written to, and leave nothing behind."""
    otel_sdk.load_exporter("file")
    folder = Path(endpoint.target).absolute()
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise NotADirectoryError(20, "not a directory", str(existing))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(13, "the folder is not writable", str(existing))
    # The access check is not enough: a full disk and a quota are found by writing only, and root may access
    # everything.
    with tempfile.TemporaryFile(dir=existing) as probe:
        probe.write(bytes(_PROBE_BYTES))
        probe.flush()
    return Outcome(Result.DELIVERED, "" if existing == folder else "the folder will be made")


def _send(endpoint: Endpoint, config: TelemetryConfig) -> Outcome:
    exporter = create_exporter(endpoint, config.pipeline)
    if endpoint.exporter == "console":
        # It works if it can be made, and a span there would spoil our own output.
        return Outcome(Result.DELIVERED)
    answer: list[Outcome | None] = []

    def attempt() -> None:
        otel_sdk.suppress_instrumentation()
        answer.append(guarded(exporter.send, _payload(endpoint, exporter), TIMEOUT))

    # On a thread of its own, because looking up a name may take longer than any timeout of a connection.
    thread = threading.Thread(target=attempt, name="tango-telemetry-doctor", daemon=True)
    thread.start()
    thread.join(TIMEOUT + _GRACE)
    outcome = answer[0] if answer else Outcome(Result.RETRY, f"no answer within {TIMEOUT + _GRACE:.0f} s")
    return outcome or Outcome(Result.RETRY, "internal error")


def _payload(endpoint: Endpoint, exporter: Exporter) -> bytes:
    if endpoint.signal == METRICS:
        now = time.time_ns()
        point = encode_number(1, {}, now, now)
        sent = Collected("tango_telemetry.doctor", "1", "tango-telemetry doctor", GAUGE, [point])
        source = MetricSource(lambda start, now: [sent], lambda: _RESOURCE, 0.0)
        source.start()
        return source.drain(_MOST_BYTES)[0]
    if endpoint.signal != LOGS:
        return exporter.encode([create_span()])
    now, text = time.time_ns(), "tango-telemetry doctor"
    thread = threading.current_thread()
    record = ("tango_telemetry.doctor", now, now, 9, "INFO", text, 0, 0, 0, __file__, 0, "_payload")
    encoder = LogEncoder(lambda owner: _RESOURCE)
    return encoder.encode([(None, *record, thread.ident or 0, thread.name, None, None, 0)])


def create_span() -> Any:
    """Return one finished span of the SDK's, whatever the sampler says."""
    resource = otel_sdk.create_resource(_RESOURCE)
    provider = otel_sdk.create_recording_provider(resource)
    span = provider.get_tracer("tango_telemetry.doctor").start_span("tango-telemetry doctor")
    span.end()
    return span


_THIS_HOST = ("localhost", "127.0.0.1", "::1")


def suggest(endpoint: Endpoint, reason: str, variable: str) -> str:
    """Return the one line to type for an endpoint that does not work."""
    if "pip install" in reason:
        return FULL
    if endpoint.exporter == "file":
        return f"export {variable}=$HOME/tango-traces"
    if " by the proxy " in reason:
        host = urlsplit(endpoint.target).hostname or "localhost"
        return f"export NO_PROXY={host}   # a proxy answers in the collector's place"
    if "redirected to" in reason:
        return (
            f"export {variable}=URL   # the collector's own: something else answers here, and is not followed"
        )
    if re.match(r"HTTP status 40[13]|gRPC status (UNAUTHENTICATED|PERMISSION_DENIED)", reason):
        return 'export OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20YOUR_TOKEN"'
    parts = urlsplit(endpoint.target)
    host = parts.hostname or "localhost"
    path = endpoint.signal.path
    misses = parts.path in ("", "/") or parts.port == 4317 or "no answer that a collector gives" in reason
    if endpoint.exporter == "http" and misses and (parts.port, parts.path) != (4318, path):
        port = 4318 if parts.port in (None, 4317) or parts.path == path else parts.port
        return f"export {variable}={parts.scheme}://{host}:{port}{path}"
    if endpoint.exporter == "grpc" and parts.hostname and parts.port in (None, 4318):
        return f"export {variable}={parts.scheme}://{host}:4317"
    signal = endpoint.signal.name
    if signal != "traces" and re.match(r"HTTP status 404|gRPC status UNIMPLEMENTED", reason):
        off = f"export PYTANGO_TELEMETRY_{signal.upper()}=off"
        return f"{off}   # or give the collector a pipeline for {signal}, as collector-signals.yaml does"
    if "SSL" in reason:
        return "export OTEL_EXPORTER_OTLP_CERTIFICATE=/path/of/the/authority.pem"
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 4317)
    if host in _THIS_HOST and port in (4317, 4318):
        return f"tango-telemetry serve   # a collector at hand; or start yours there, or set {variable}"
    return f"nc -vz {host} {port}   # then start the collector there, or set {variable}"
