"""The environment variables that tango-telemetry reads, one documented constant each.

Tango's own keep Tango's meaning; those that start with ``PYTANGO_TELEMETRY_`` and are not PyTango's are ours. What
OpenTelemetry's SDK defines (``OTEL_*``) keeps its meaning and is read by the SDK.
"""

from __future__ import annotations

from typing import Final

TANGO_TELEMETRY_ENABLE: Final = "TANGO_TELEMETRY_ENABLE"
"""``on`` or ``off`` (default). Source: cppTango 10.0."""

TANGO_TELEMETRY_TRACES_EXPORTER: Final = "TANGO_TELEMETRY_TRACES_EXPORTER"
"""``console`` (default), ``grpc``, ``http``, ``none`` (cppTango 10.0) or ``file`` (ours)."""

TANGO_TELEMETRY_TRACES_ENDPOINT: Final = "TANGO_TELEMETRY_TRACES_ENDPOINT"
"""A URL for ``grpc`` and ``http``, ``cout`` or ``cerr`` for ``console``, a directory for ``file``."""

TANGO_TELEMETRY_TRACING_EXPORTERS: Final = "TANGO_TELEMETRY_TRACING_EXPORTERS"
"""The comma-separated successor of ``TANGO_TELEMETRY_TRACES_EXPORTER``. Source: cppTango 10.3."""

TANGO_TELEMETRY_TRACING_ENDPOINTS: Final = "TANGO_TELEMETRY_TRACING_ENDPOINTS"
"""The comma-separated successor of ``TANGO_TELEMETRY_TRACES_ENDPOINT``, in the order of the exporters."""

TANGO_TELEMETRY_KERNEL_ENABLE: Final = "TANGO_TELEMETRY_KERNEL_ENABLE"
"""``on`` or ``off``: cppTango's own spans in the trace. Unset: off where the context can travel without them."""

TANGO_TELEMETRY_TYPES: Final = "TANGO_TELEMETRY_TYPES"
"""``tracing``, ``logging`` or ``none``, comma-separated; handed to cppTango after validation (10.3)."""

TANGO_TELEMETRY_TOPICS: Final = "TANGO_TELEMETRY_TOPICS"
"""``all``, ``user``, ``polling``, ``events``, ``database``, comma-separated; for cppTango's own spans (10.3)."""

TANGO_TELEMETRY_LOGS_EXPORTER: Final = "TANGO_TELEMETRY_LOGS_EXPORTER"
"""cppTango's log exporter (10.0): ``console``, ``grpc``, ``http``, ``none``; handed to cppTango after validation."""

TANGO_TELEMETRY_LOGS_ENDPOINT: Final = "TANGO_TELEMETRY_LOGS_ENDPOINT"
"""cppTango's log endpoint (10.0); handed to cppTango."""

TANGO_TELEMETRY_LOGGING_EXPORTERS: Final = "TANGO_TELEMETRY_LOGGING_EXPORTERS"
"""cppTango's log exporters (10.3). ``none`` stops a 10.3.1 server from starting, so it is never handed on."""

TANGO_TELEMETRY_LOGGING_ENDPOINTS: Final = "TANGO_TELEMETRY_LOGGING_ENDPOINTS"
"""cppTango's log endpoints (10.3); handed to cppTango."""

PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME: Final = "PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME"
"""The service name of client calls made outside a device, default ``pytango.client``. Source: PyTango 10.0."""

PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE: Final = "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE"
"""``simple`` or ``batch``. Unset: batch, but simple for ``console``. Source: PyTango 10.1."""

PYTANGO_DISABLE_TELEMETRY_PATCHING: Final = "PYTANGO_DISABLE_TELEMETRY_PATCHING"
"""``on``: neither PyTango nor tango-telemetry patches anything; cppTango is left as it is. Source: PyTango 10.0."""

PYTANGO_TELEMETRY_SDK_LOG_LEVEL: Final = "PYTANGO_TELEMETRY_SDK_LOG_LEVEL"
"""The level of the SDK's and the exporters' loggers, e.g. ``error``. Source: PyTango 10.1."""

PYTANGO_TELEMETRY_CONTEXT_BRIDGE: Final = "PYTANGO_TELEMETRY_CONTEXT_BRIDGE"
"""Which bridge carries the context: ``auto`` (default), ``pytango``, ``native``, ``giop`` or ``noop``."""

PYTANGO_TELEMETRY_NATIVE_SPANS: Final = "PYTANGO_TELEMETRY_NATIVE_SPANS"
"""``off``: never make spans in C++, even where the native package is installed."""

PYTANGO_TELEMETRY_NATIVE_CALLS: Final = "PYTANGO_TELEMETRY_NATIVE_CALLS"
"""``off``: never begin and end calls in C++, even where the native package is installed."""

PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS: Final = "PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS"
"""``on``: record the arguments of calls, each cut at 256 characters. Default ``off``."""

PYTANGO_TELEMETRY_EXCLUDE: Final = "PYTANGO_TELEMETRY_EXCLUDE"
"""What is not traced: comma-separated patterns, see ``docs/reference/environment-variables.md``."""

PYTANGO_TELEMETRY_POLLING: Final = "PYTANGO_TELEMETRY_POLLING"
"""``off``: no spans of reads and commands that cppTango's polling threads make. Default ``on``."""

PYTANGO_TELEMETRY_STATE_STATUS: Final = "PYTANGO_TELEMETRY_STATE_STATUS"
"""``off``: no spans of ``State`` and ``Status``. Default ``on``."""

PYTANGO_TELEMETRY_TRACES_PER_SECOND: Final = "PYTANGO_TELEMETRY_TRACES_PER_SECOND"
"""The most new traces per second and process, a number; unset: no limit."""

PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT: Final = "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT"
"""Seconds that the exit of a process may wait for its spans, default 1.0."""

PYTANGO_TELEMETRY_SPOOL_DIR: Final = "PYTANGO_TELEMETRY_SPOOL_DIR"
"""A directory for spans that could not be delivered. Unset: no spool."""

PYTANGO_TELEMETRY_SPOOL_MAX_BYTES: Final = "PYTANGO_TELEMETRY_SPOOL_MAX_BYTES"
"""Bytes that the spool may take, all processes together, default 256 MiB."""

PYTANGO_TELEMETRY_QUEUE_MAX_BYTES: Final = "PYTANGO_TELEMETRY_QUEUE_MAX_BYTES"
"""Bytes that waiting spans may take in each pipeline, default 64 MiB."""

PYTANGO_TELEMETRY_BATCH_MAX_BYTES: Final = "PYTANGO_TELEMETRY_BATCH_MAX_BYTES"
"""Bytes in one request, default 2 MiB (gRPC servers refuse 4 MiB by default)."""

PYTANGO_TELEMETRY_RETRY_MAX: Final = "PYTANGO_TELEMETRY_RETRY_MAX"
"""The longest wait between two attempts to deliver, in seconds, default 10."""

PYTANGO_TELEMETRY_SPOOL_FILE_BYTES: Final = "PYTANGO_TELEMETRY_SPOOL_FILE_BYTES"
"""Bytes in one file of the spool, default 1 MiB."""

PYTANGO_TELEMETRY_FILE_MAX_BYTES: Final = "PYTANGO_TELEMETRY_FILE_MAX_BYTES"
"""Bytes in one file of the exporter ``file``, for each process, default 64 MiB; then a new one is begun."""

PYTANGO_TELEMETRY_FILE_MAX_COUNT: Final = "PYTANGO_TELEMETRY_FILE_MAX_COUNT"
"""Files of the exporter ``file`` that each process keeps, default 8; the oldest is removed."""

PYTANGO_TELEMETRY_HANDED_ON: Final = "PYTANGO_TELEMETRY_HANDED_ON"
"""Written by us, not for users: what the user had set where we gave cppTango something else. Children read it."""
