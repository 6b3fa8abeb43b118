"""The trace in logs that are text: a filter and a format for ``logging``, and what the streams are given."""

from __future__ import annotations

import logging
from typing import Final

from tango_telemetry.otel.api import get_current_span

__all__ = ["LOG_FORMAT", "TraceContextFilter", "describe_context"]

LOG_FORMAT: Final = (
    "%(asctime)s %(levelname)s [%(name)s] [trace_id=%(trace_id)s span_id=%(span_id)s] %(message)s"
)
"""A format for ``logging`` with the trace and span of each record; it needs :class:`TraceContextFilter`."""


class TraceContextFilter(logging.Filter):
    """Gives each record ``trace_id``, ``span_id`` (lower-case hexadecimal, ``0`` without a span) and
    ``trace_sampled``.

    Add it to a handler, so that it sees the records of all loggers::

        handler.addFilter(TraceContextFilter())
        handler.setFormatter(logging.Formatter(LOG_FORMAT))

    It lets every record through. A record that has a ``trace_id`` already keeps it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Give the record its fields; True."""
        if not hasattr(record, "trace_id"):
            context = get_current_span().get_span_context()
            record.trace_id = f"{context.trace_id:032x}" if context.trace_id else "0"
            record.span_id = f"{context.span_id:016x}" if context.span_id else "0"
            record.trace_sampled = bool(context.trace_flags & 1)
        return True


def describe_context() -> str:
    """Return what stands behind a line of a stream, "" without a span."""
    context = get_current_span().get_span_context()
    if not context.trace_id:
        return ""
    return f"[trace_id={context.trace_id:032x} span_id={context.span_id:016x}]"
