"""Log records of OTLP JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .model import LogRecord, Resource
from .otlp_values import MalformedError, parse_attributes, parse_id, parse_integer, parse_time, parse_value

# The first of the four numbers that the data model of OpenTelemetry's logs gives each of its severities.
_SEVERITIES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}


def parse_record(record: Mapping[str, Any], resource: Resource, scope: str) -> Iterable[LogRecord]:
    """Return one log record. Raises MalformedError."""
    get = record.get
    return (
        LogRecord(
            # A collector's receivers often know only when they saw it.
            time=parse_time(record, "timeUnixNano") or parse_time(record, "observedTimeUnixNano"),
            severity=_severity(get("severityNumber")),
            level=str(get("severityText") or ""),
            body=parse_value(get("body")),
            trace_id=_id(get("traceId"), 16, "traceId"),
            span_id=_id(get("spanId"), 8, "spanId"),
            resource=resource,
            scope=scope,
            event=str(get("eventName") or ""),
            attributes=parse_attributes(record),
        ),
    )


def _id(text: Any, size: int, what: str) -> str:
    # A record of no span has no ids, or ids of zeros.
    found = parse_id(text, size, what, required=False)
    return found if found.strip("0") else ""


def _severity(number: Any) -> int:
    if isinstance(number, str) and number.startswith("SEVERITY_NUMBER_"):
        word = number.removeprefix("SEVERITY_NUMBER_")
        name = word.rstrip("234")
        return _SEVERITIES.get(name, 0) + (int(word[len(name) :]) - 1 if word != name else 0)
    found = parse_integer(number or 0, "severityNumber")
    if not 0 <= found <= 24:
        raise MalformedError(f"severityNumber is out of range: {found}")
    return found
