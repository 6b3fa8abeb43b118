"""The list of traces in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console

from . import layout
from .glyphs import Glyphs
from .table import Column, milliseconds, print_table

if TYPE_CHECKING:
    from ..store.queries import Traces, TraceSummary

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
        Column("device", 2),
        Column("root", 3),
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
    """Give what programs want to know of a trace. Times are nanoseconds."""
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
