"""The signals of OpenTelemetry, and everything in which one pipeline differs from another because of them.

A new signal is one more :class:`Signal` here. Its items come as an ``EncodedSource``
(``Pipeline.accept_encoded``), whose payloads are the repeated field 1 of its request: ``ResourceSpans``,
``ResourceLogs``, ``ResourceMetrics``.

Sources: OTLP specification 1.7 for paths, services and field names; semantic conventions 1.45 for
``otel.sdk.*``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Signal:
    """One signal.

    name: of the signal, as in ``/v1/logs`` and ``OTEL_EXPORTER_OTLP_LOGS_HEADERS``. number: by which C++
    knows it. items: what is counted, for messages. item: the same in the names of ``otel.sdk.*`` metrics;
    component: in the types of their components. request: the module of OTLP's messages and the message.
    service: gRPC's method. levels: the three repeated fields of OTLP's JSON, from the outside to the inside.
    exporters: Tango's variables that say where it goes, for messages. suffix: of the names of files.
    spooled: whether payloads that cannot be sent may be worth something to a later process.
    """

    name: str
    number: int
    items: str
    item: str
    component: str
    request: tuple[str, str]
    service: str
    levels: tuple[str, str, str]
    exporters: tuple[str, str]
    suffix: str = ""
    spooled: bool = True

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name.upper()

    @property
    def path(self) -> str:
        """The path of a collector's HTTP endpoint."""
        return f"/v1/{self.name}"


_MODULE = "opentelemetry.proto.collector"

TRACES: Final = Signal(
    "traces",
    0,
    "spans",
    "span",
    "span",
    (f"{_MODULE}.trace.v1.trace_service_pb2", "ExportTraceServiceRequest"),
    f"/{_MODULE}.trace.v1.TraceService/Export",
    ("resourceSpans", "scopeSpans", "spans"),
    ("TANGO_TELEMETRY_TRACES_EXPORTER", "TANGO_TELEMETRY_TRACES_ENDPOINT"),
)
LOGS: Final = Signal(
    "logs",
    1,
    "log records",
    "log",
    "log",
    (f"{_MODULE}.logs.v1.logs_service_pb2", "ExportLogsServiceRequest"),
    f"/{_MODULE}.logs.v1.LogsService/Export",
    ("resourceLogs", "scopeLogs", "logRecords"),
    ("TANGO_TELEMETRY_LOGGING_EXPORTERS", "TANGO_TELEMETRY_LOGGING_ENDPOINTS"),
    "-logs",
)
METRICS: Final = Signal(
    "metrics",
    2,
    "data points",
    "metric_data_point",
    "metric",
    (f"{_MODULE}.metrics.v1.metrics_service_pb2", "ExportMetricsServiceRequest"),
    f"/{_MODULE}.metrics.v1.MetricsService/Export",
    ("resourceMetrics", "scopeMetrics", "metrics"),
    ("TANGO_TELEMETRY_TRACES_EXPORTER", "TANGO_TELEMETRY_TRACES_ENDPOINT"),
    "-metrics",
    spooled=False,  # cumulative: the next export says all that this one did
)

SIGNALS: Final = (TRACES, LOGS, METRICS)
"""All of them, by number."""
