"""Lists in the terminal: of traces, of log records, of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from . import layout
from .glyphs import Glyphs
from .model import LogRecord
from .table import Column, milliseconds, print_table

if TYPE_CHECKING:
    from ..store.queries import Traces, TraceSummary
    from ..store.signals import Metric

# Eight digits of a trace id tell traces of one folder apart, and --trace takes them.
_ID_DIGITS = 8
# The year says nothing new in a list of what is there now.
_TIME_WIDTH = 14


def print_list(console: Console, glyphs: Glyphs, found: Traces) -> None:
    """Print one line for each trace: the device at 80 columns, the services too where there is room."""
    wide = not console.is_terminal or console.width >= 110
    columns = [
        Column("started", style="dim"),
        Column("trace"),
        Column("device", 2, name=True),
        Column("root", 3, name=True),
        *([Column("services", 2, "dim")] if wide else []),
        Column("spans"),
        Column("errors"),
        Column("ms"),
    ]
    rows = [
        [
            layout.format_time(trace.start)[-_TIME_WIDTH:],
            trace.trace_id[:_ID_DIGITS],
            trace.device or "-",
            trace.name,
            *([",".join(trace.services)] if wide else []),
            str(trace.spans),
            str(trace.errors),
            milliseconds(trace.duration),
        ]
        for trace in found.traces
    ]
    print_table(console, glyphs, columns, rows)


def as_json(trace: TraceSummary) -> dict[str, Any]:
    """Return what programs want to know of a trace. Times are nanoseconds."""
    return {
        "trace_id": trace.trace_id,
        "start_ns": trace.start,
        "duration_ns": trace.duration,
        "spans": trace.spans,
        "errors": trace.errors,
        "root": trace.root.name if trace.root else None,
        "name": trace.name,
        "service": (trace.root or trace.first).service,
        "device": trace.device,
        "services": list(trace.services),
        "devices": list(trace.devices),
    }


def print_logs(console: Console, glyphs: Glyphs, records: Sequence[LogRecord]) -> None:
    """Print one line for each record, in the order given."""
    from ..store.records import device_of

    columns = [
        Column("time", style="dim"),
        Column("trace"),
        Column("level"),
        Column("device", 2, name=True),
        Column("text", 5),
    ]
    rows = [
        [
            layout.format_time(record.time)[-_TIME_WIDTH:] + f".{record.time // 10**6 % 1000:03}",
            record.trace_id[:_ID_DIGITS] or "-",
            record.word or "-",
            device_of(record) or record.resource.service,
            " ".join(record.text.split()),
        ]
        for record in records
    ]
    print_table(console, glyphs, columns, rows)


def log_as_json(record: LogRecord) -> dict[str, Any]:
    """Return what programs want to know of a log record. The time is in nanoseconds since 1970."""
    from ..store.records import device_of

    return {
        "time_ns": record.time,
        "severity": record.severity,
        "level": record.word,
        "text": record.text,
        "device": device_of(record),
        "service": record.resource.service,
        "trace_id": record.trace_id,
        "span_id": record.span_id,
        "event": record.event,
        "attributes": dict(record.attributes),
    }


def print_metrics(console: Console, glyphs: Glyphs, found: Sequence[Metric]) -> None:
    """Print histograms first, a line for each class and member, and below them what has one value."""
    histograms = [metric for metric in found if metric.kind == "histogram"]
    if histograms:
        columns = [Column("metric", 2), Column("service", 1), Column("member", 2), Column("labels", 1, "dim")]
        columns += [Column(name) for name in ("count", "errors", "mean", "p50", "p95", "longest")]
        columns.append(Column("unit"))
        rows = []
        for metric in histograms:
            factor, unit = scale(metric.unit)
            numbers = (metric.mean, metric.p50, metric.p95, metric.longest)
            rows.append(
                [
                    *(metric.name, metric.source, metric.member or "-", metric.labels or "-"),
                    *(str(metric.count), str(metric.errors)),
                    *(f"{factor * number:.3f}" for number in numbers),
                    unit or "-",
                ]
            )
        print_table(console, glyphs, columns, rows)
    others = [metric for metric in found if metric.kind != "histogram"]
    if others:
        if histograms:
            console.print()
        columns = [Column("metric", 3), Column("source", 2), Column("member", 1), Column("labels", 2, "dim")]
        columns += [Column("value"), Column("unit")]
        rows = [
            [
                *(metric.name, metric.source, metric.member or "-", metric.labels or "-"),
                *(f"{metric.value:.15g}", metric.unit or "-"),
            ]
            for metric in others
        ]
        print_table(console, glyphs, columns, rows)


def scale(unit: str) -> tuple[float, str]:
    """Return the factor and the name of the unit in which durations are shown; other units stay."""
    return (1000.0, "ms") if unit == "s" else (1.0, unit)
