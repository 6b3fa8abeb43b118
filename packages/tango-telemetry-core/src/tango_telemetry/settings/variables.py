"""The environment variables: one declaration for each, from which the settings, the doctor and the pages are
made.

To add a setting, declare its variable here and give :class:`~tango_telemetry.settings.config.TelemetryConfig`
(or ``PipelineSettings``) the field that it names: its default stands there, and nowhere else.

Tango's own keep Tango's meaning; those that start with ``PYTANGO_TELEMETRY_`` and are not PyTango's are ours.
What OpenTelemetry's SDK defines (``OTEL_*``) keeps its meaning; those of them that have no field are read by
the SDK.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from tango_telemetry.settings.reader import Read, Reader, choice, items, whole_number

__all__ = ["BRIDGES", "OPENTELEMETRYS", "VARIABLES", "Variable"]

EVENT_PARENTS: Final = ("link", "producer")
LOGS_CHOICES: Final = ("off", "streams", "logging", "all")
BRIDGES: Final = ("auto", "pytango", "native", "giop", "noop")
_LOG_LEVELS: Final = ("critical", "fatal", "error", "warning", "warn", "info", "debug", "notset")


class Variable(NamedTuple):
    """One environment variable.

    ``field`` names the field that holds its value (``pipeline.`` before one of ``PipelineSettings``),
    ``read`` reads it. Both are empty for a variable that is read together with others, or that is only handed
    on. ``unit`` is ``bytes``, ``s`` or ``ms``. ``doc`` says what it means, in reStructuredText, without the
    default.
    """

    name: str
    doc: str
    field: str = ""
    read: Read | None = None
    unit: str = ""


VARIABLES: Final[dict[str, Variable]] = {}
"""Tango's, PyTango's and ours, by name, in the order of the reference."""

OPENTELEMETRYS: Final[dict[str, Variable]] = {}
"""OpenTelemetry's own that matter most here, by name."""


def _declare(name: str, doc: str, field: str = "", read: Read | None = None, unit: str = "") -> str:
    table = OPENTELEMETRYS if name.startswith("OTEL_") else VARIABLES
    table[name] = Variable(name, doc, field, read, unit)
    return name


TANGO_TELEMETRY_ENABLE: Final = _declare(
    "TANGO_TELEMETRY_ENABLE", "``on`` or ``off`` (default). Source: cppTango 10.0.", "enabled", Reader.switch
)
TANGO_TELEMETRY_TRACES_EXPORTER: Final = _declare(
    "TANGO_TELEMETRY_TRACES_EXPORTER",
    "``console`` (default), ``grpc``, ``http``, ``none`` (cppTango 10.0) or ``file`` (ours).",
    "endpoints",
)
TANGO_TELEMETRY_TRACES_ENDPOINT: Final = _declare(
    "TANGO_TELEMETRY_TRACES_ENDPOINT",
    "A URL for ``grpc`` and ``http``, ``cout`` or ``cerr`` for ``console``, a directory for ``file``.",
    "endpoints",
)
TANGO_TELEMETRY_TRACING_EXPORTERS: Final = _declare(
    "TANGO_TELEMETRY_TRACING_EXPORTERS",
    "The comma-separated successor of ``TANGO_TELEMETRY_TRACES_EXPORTER``. Source: cppTango 10.3.",
    "endpoints",
)
TANGO_TELEMETRY_TRACING_ENDPOINTS: Final = _declare(
    "TANGO_TELEMETRY_TRACING_ENDPOINTS",
    "The comma-separated successor of ``TANGO_TELEMETRY_TRACES_ENDPOINT``, in the order of the exporters.",
    "endpoints",
)
TANGO_TELEMETRY_KERNEL_ENABLE: Final = _declare(
    "TANGO_TELEMETRY_KERNEL_ENABLE",
    "``on`` or ``off``: cppTango's own spans in the trace. Unset: off where the context can travel without "
    "them.",
    "kernel",
    Reader.switch,
)
TANGO_TELEMETRY_TYPES: Final = _declare(
    "TANGO_TELEMETRY_TYPES",
    "``tracing``, ``logging`` or ``none``, comma-separated; handed to cppTango after validation (10.3).",
    "types",
    items("tracing", "logging", "none"),
)
TANGO_TELEMETRY_TOPICS: Final = _declare(
    "TANGO_TELEMETRY_TOPICS",
    "``all``, ``user``, ``polling``, ``events``, ``database``, comma-separated; for cppTango's own spans "
    "(10.3).",
    "topics",
    items("all", "user", "polling", "events", "database"),
)
TANGO_TELEMETRY_LOGS_EXPORTER: Final = _declare(
    "TANGO_TELEMETRY_LOGS_EXPORTER",
    "Where logs go (cppTango 10.0): ``console``, ``grpc``, ``http``, ``none``, or ``file`` (ours). Handed to "
    "cppTango, after validation, only with ``PYTANGO_TELEMETRY_LOGS=off`` or ``logging``.",
)
TANGO_TELEMETRY_LOGS_ENDPOINT: Final = _declare(
    "TANGO_TELEMETRY_LOGS_ENDPOINT", "The endpoint of logs (cppTango 10.0). Unset: beside that of traces."
)
TANGO_TELEMETRY_LOGGING_EXPORTERS: Final = _declare(
    "TANGO_TELEMETRY_LOGGING_EXPORTERS",
    "The comma-separated successor of ``TANGO_TELEMETRY_LOGS_EXPORTER``. Source: cppTango 10.3, where "
    "``none`` stops a server from starting (10.3.1), so it is never handed on.",
)
TANGO_TELEMETRY_LOGGING_ENDPOINTS: Final = _declare(
    "TANGO_TELEMETRY_LOGGING_ENDPOINTS", "The comma-separated successor of ``TANGO_TELEMETRY_LOGS_ENDPOINT``."
)
PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME: Final = _declare(
    "PYTANGO_TELEMETRY_CLIENT_SERVICE_NAME",
    "The service name of client calls made outside a device's handlers. Unset: the server's name "
    "(``Motor/test``) in a "
    "device server, else ``pytango.client``. Source: PyTango 10.0.",
    "client_service_name",
    Reader.short_text,
)
PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE: Final = _declare(
    "PYTANGO_TELEMETRY_SPAN_PROCESSOR_TYPE",
    "``simple`` or ``batch``. Unset: batch, but simple for ``console``. Source: PyTango 10.1.",
    "span_processor",
    choice("simple", "batch"),
)
PYTANGO_DISABLE_TELEMETRY_PATCHING: Final = _declare(
    "PYTANGO_DISABLE_TELEMETRY_PATCHING",
    "``on``: neither PyTango nor tango-telemetry patches anything; cppTango is left as it is. Source: "
    "PyTango 10.0.",
    "patching_disabled",
    Reader.switch,
)
PYTANGO_TELEMETRY_SDK_LOG_LEVEL: Final = _declare(
    "PYTANGO_TELEMETRY_SDK_LOG_LEVEL",
    "The level of the SDK's and the exporters' loggers, e.g. ``error``. Source: PyTango 10.1.",
    "pipeline.sdk_log_level",
    choice(*_LOG_LEVELS),
)
PYTANGO_TELEMETRY_CONTEXT_BRIDGE: Final = _declare(
    "PYTANGO_TELEMETRY_CONTEXT_BRIDGE",
    "Which bridge carries the context: ``auto``, ``pytango``, ``native``, ``giop`` or ``noop``.",
    "context_bridge",
    choice(*BRIDGES),
)
PYTANGO_TELEMETRY_NATIVE_SPANS: Final = _declare(
    "PYTANGO_TELEMETRY_NATIVE_SPANS",
    "``off``: never make spans in C++, even where the native package is installed.",
    "native_spans",
    Reader.switch,
)
PYTANGO_TELEMETRY_NATIVE_CALLS: Final = _declare(
    "PYTANGO_TELEMETRY_NATIVE_CALLS",
    "``off``: never begin and end calls in C++, even where the native package is installed.",
    "native_calls",
    Reader.switch,
)
PYTANGO_TELEMETRY_EVENT_CONTEXT: Final = _declare(
    "PYTANGO_TELEMETRY_EVENT_CONTEXT",
    "``off``: events do not carry the span that sent them; else they do, in 30 bytes that other subscribers "
    "do not look at (native package).",
    "event_context",
    Reader.switch,
)
PYTANGO_TELEMETRY_EVENT_PARENT: Final = _declare(
    "PYTANGO_TELEMETRY_EVENT_PARENT",
    "What the span of an event that arrives has to do with the span that sent it: ``link``, a trace of its "
    "own that is "
    "linked to it, or ``producer``, its child.",
    "event_parent",
    choice(*EVENT_PARENTS),
)
PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS: Final = _declare(
    "PYTANGO_TELEMETRY_CAPTURE_ARGUMENTS",
    "``on``: record the arguments of calls, each cut at 256 characters.",
    "capture_arguments",
    Reader.switch,
)
PYTANGO_TELEMETRY_EXCLUDE: Final = _declare(
    "PYTANGO_TELEMETRY_EXCLUDE",
    "What is not traced: comma-separated patterns, see ``docs/reference/environment-variables.md``.",
    "exclude",
    Reader.patterns,
)
PYTANGO_TELEMETRY_SERVERS: Final = _declare(
    "PYTANGO_TELEMETRY_SERVERS",
    "Which programs are traced: patterns of ``Server/instance``, comma-separated; ``!`` before those that "
    "are not. "
    "Unset: all.",
    "servers",
    Reader.names,
)
PYTANGO_TELEMETRY_AUTO: Final = _declare(
    "PYTANGO_TELEMETRY_AUTO",
    "``off``: a program that nobody edited is not traced, even where ``tango-telemetry-auto`` is installed.",
)
PYTANGO_TELEMETRY_POLLING: Final = _declare(
    "PYTANGO_TELEMETRY_POLLING",
    "``off``: no spans of reads and commands that cppTango's polling threads make.",
    "polling",
    Reader.switch,
)
PYTANGO_TELEMETRY_STATE_STATUS: Final = _declare(
    "PYTANGO_TELEMETRY_STATE_STATUS",
    "``off``: no spans of ``State`` and ``Status``.",
    "state_status",
    Reader.switch,
)
PYTANGO_TELEMETRY_TRACES_PER_SECOND: Final = _declare(
    "PYTANGO_TELEMETRY_TRACES_PER_SECOND",
    "The most new traces per second and process, a number; unset: no limit.",
    "traces_per_second",
    Reader.rate,
)
PYTANGO_TELEMETRY_LOGS: Final = _declare(
    "PYTANGO_TELEMETRY_LOGS",
    "Which logs are exported with their trace: ``streams``, what devices write "
    "to Tango's; ``logging``, Python's; ``all``; ``off``. Unset: ``streams`` where Tango's variables for "
    "logs name an exporter, else ``off``.",
    "logs",
    choice(*LOGS_CHOICES),
)
PYTANGO_TELEMETRY_LOGS_LEVEL: Final = _declare(
    "PYTANGO_TELEMETRY_LOGS_LEVEL",
    "The lowest level of logs that are exported, ``debug`` to ``fatal``; the levels of the device and of the "
    "logger come first.",
    "logs_level",
    choice("debug", "info", "warning", "warn", "error", "critical", "fatal"),
)
PYTANGO_TELEMETRY_LOGS_TRACE_ID: Final = _declare(
    "PYTANGO_TELEMETRY_LOGS_TRACE_ID",
    "``on``: what devices write to Tango's streams ends in its trace and span, on the console and wherever "
    "else it goes.",
    "logs_trace_id",
    Reader.switch,
)
PYTANGO_TELEMETRY_METRICS: Final = _declare(
    "PYTANGO_TELEMETRY_METRICS",
    "``on``: metrics are exported, beside the traces: how long the calls of clients and devices take, every "
    "call, sampled or not.",
    "metrics",
    Reader.switch,
)


def _interval(reader: Reader, name: str, default: float) -> float:
    return reader.some_seconds(name, reader.milliseconds(OTEL_METRIC_EXPORT_INTERVAL, default))


PYTANGO_TELEMETRY_METRICS_INTERVAL: Final = _declare(
    "PYTANGO_TELEMETRY_METRICS_INTERVAL",
    "Seconds between two exports of metrics. Unset: as ``OTEL_METRIC_EXPORT_INTERVAL`` says.",
    "metrics_interval",
    _interval,
    "s",
)
PYTANGO_TELEMETRY_METRICS_BY_DEVICE: Final = _declare(
    "PYTANGO_TELEMETRY_METRICS_BY_DEVICE",
    "``on``: the metrics of calls tell the device, which makes a series for each of its commands and "
    "attributes.",
    "metrics_by_device",
    Reader.switch,
)
PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT: Final = _declare(
    "PYTANGO_TELEMETRY_SHUTDOWN_TIMEOUT",
    "Seconds that the exit of a process may wait for its spans.",
    "pipeline.shutdown_timeout",
    Reader.seconds,
    "s",
)
PYTANGO_TELEMETRY_SPOOL_DIR: Final = _declare(
    "PYTANGO_TELEMETRY_SPOOL_DIR",
    "A directory for spans that could not be delivered. Unset: no spool.",
    "pipeline.spool_dir",
    Reader.folder,
)
PYTANGO_TELEMETRY_SPOOL_MAX_BYTES: Final = _declare(
    "PYTANGO_TELEMETRY_SPOOL_MAX_BYTES",
    "Bytes that the spool may take, all processes together.",
    "pipeline.spool_max_bytes",
    whole_number,
    "bytes",
)
PYTANGO_TELEMETRY_QUEUE_MAX_BYTES: Final = _declare(
    "PYTANGO_TELEMETRY_QUEUE_MAX_BYTES",
    "Bytes that waiting spans may take in each pipeline.",
    "pipeline.max_queue_bytes",
    whole_number,
    "bytes",
)
PYTANGO_TELEMETRY_BATCH_MAX_BYTES: Final = _declare(
    "PYTANGO_TELEMETRY_BATCH_MAX_BYTES",
    "Bytes in one request; gRPC servers refuse 4 MiB by default.",
    "pipeline.max_batch_bytes",
    whole_number,
    "bytes",
)
PYTANGO_TELEMETRY_RETRY_MAX: Final = _declare(
    "PYTANGO_TELEMETRY_RETRY_MAX",
    "The longest wait between two attempts to deliver, in seconds.",
    "pipeline.retry_max",
    Reader.some_seconds,
    "s",
)
PYTANGO_TELEMETRY_SPOOL_FILE_BYTES: Final = _declare(
    "PYTANGO_TELEMETRY_SPOOL_FILE_BYTES",
    "Bytes in one file of the spool.",
    "pipeline.spool_file_bytes",
    whole_number,
    "bytes",
)
PYTANGO_TELEMETRY_FILE_MAX_BYTES: Final = _declare(
    "PYTANGO_TELEMETRY_FILE_MAX_BYTES",
    "Bytes in one file of the exporter ``file``, for each process; then a new one is begun.",
    "pipeline.file_max_bytes",
    whole_number,
    "bytes",
)
PYTANGO_TELEMETRY_FILE_MAX_COUNT: Final = _declare(
    "PYTANGO_TELEMETRY_FILE_MAX_COUNT",
    "Files of the exporter ``file`` that each process keeps; the oldest is removed.",
    "pipeline.file_max_count",
    whole_number,
)
PYTANGO_TELEMETRY_HANDED_ON: Final = _declare(
    "PYTANGO_TELEMETRY_HANDED_ON",
    "Written by us, not for users: what the user had set where we gave cppTango something else. Children "
    "read it.",
)
NOT_FOR_USERS: Final = frozenset({PYTANGO_TELEMETRY_HANDED_ON})
"""Variables that pages and the doctor do not show."""

OTEL_TRACES_SAMPLER: Final = _declare(
    "OTEL_TRACES_SAMPLER", "Which traces are recorded ([sampling](../how-to/sampling.md))."
)
OTEL_TRACES_SAMPLER_ARG: Final = _declare("OTEL_TRACES_SAMPLER_ARG", "The share of them, from 0 to 1.")
OTEL_PROPAGATORS: Final = _declare(
    "OTEL_PROPAGATORS", "What travels with a call; ``none`` for nothing.", "propagators", Reader.propagators
)
OTEL_PYTHON_DISABLED_INSTRUMENTATIONS: Final = _declare(
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    "With ``opentelemetry-instrument``: ``tango-client``, ``tango-server`` or both.",
)
OTEL_RESOURCE_ATTRIBUTES: Final = _declare(
    "OTEL_RESOURCE_ATTRIBUTES",
    "Resource attributes of every service of the process, ``facility=esrf,beamline=id00``.",
)
OTEL_EXPORTER_OTLP_HEADERS: Final = _declare(
    "OTEL_EXPORTER_OTLP_HEADERS", "Headers for the collector, such as a token."
)
OTEL_EXPORTER_OTLP_CERTIFICATE: Final = _declare(
    "OTEL_EXPORTER_OTLP_CERTIFICATE", "The certificate authority of a collector with TLS."
)
OTEL_EXPORTER_OTLP_COMPRESSION: Final = _declare("OTEL_EXPORTER_OTLP_COMPRESSION", "``gzip``.")


def _timeout(reader: Reader, name: str, default: float) -> float:
    # Seconds in the Python SDK's exporters (1.45), milliseconds in the specification: the SDK's meaning is
    # kept.
    for_traces = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
    return reader.some_seconds(for_traces if reader.text(for_traces) else name, default)


OTEL_EXPORTER_OTLP_TIMEOUT: Final = _declare(
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "Seconds for one attempt to send.",
    "pipeline.export_timeout",
    _timeout,
    "s",
)
OTEL_BSP_MAX_QUEUE_SIZE: Final = _declare(
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "Spans that wait in memory in each pipeline.",
    "pipeline.max_queue_spans",
    whole_number,
)
OTEL_BSP_MAX_EXPORT_BATCH_SIZE: Final = _declare(
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "Spans in one request.", "pipeline.max_batch_spans", whole_number
)
OTEL_BSP_SCHEDULE_DELAY: Final = _declare(
    "OTEL_BSP_SCHEDULE_DELAY",
    "Milliseconds that a span waits for others.",
    "pipeline.schedule_delay",
    Reader.milliseconds,
    "ms",
)
OTEL_METRIC_EXPORT_INTERVAL: Final = _declare(
    "OTEL_METRIC_EXPORT_INTERVAL",
    "Milliseconds between two exports of metrics.",
    unit="ms",
)
OTEL_SDK_DISABLED: Final = _declare("OTEL_SDK_DISABLED", "``true``: no span is recorded, and no metric.")

_BY_VARIABLES: Final = "Set the variables of tango-telemetry and OTEL_* instead, or unset it"
NOT_FOLLOWED: Final[dict[str, tuple[str | None, str]]] = {
    "OTEL_CONFIG_FILE": (None, _BY_VARIABLES),
    "OTEL_EXPERIMENTAL_CONFIG_FILE": (None, _BY_VARIABLES),
    "OTEL_PYTHON_ID_GENERATOR": (
        "random",
        "Give instrument() a tracer_provider with that id generator, or unset it",
    ),
}
"""What the SDK, or ``opentelemetry-instrument``, would do and we do not: the one value that we follow, if
any, and what to do instead.
"""
