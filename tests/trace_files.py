"""Trace files for tests of the tools: spans as Tango programs make them, in the lines of the `file`
exporter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MS = 10**6
SECOND = 10**9


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP JSON has them."""

    def wrap(value: Any) -> dict[str, Any]:
        if isinstance(value, bool):
            return {"boolValue": value}
        return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}

    return [{"key": key, "value": wrap(value)} for key, value in values.items()]


def span(
    trace: int,
    number: int,
    name: str,
    start: int,
    duration: int,
    parent: int = 0,
    kind: int = 1,
    device: str = "",
    error: str = "",
    **more: Any,
) -> dict[str, Any]:
    """Return one span as OTLP JSON has it.

    Times are nanoseconds; `more` are attributes, with __ for a dot.
    """
    values = {"tango.device.name": device} if device else {}
    values |= {key.replace("__", "."): value for key, value in more.items()}
    result: dict[str, Any] = {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + duration),
        "attributes": attributes(values),
    }
    if parent:
        result["parentSpanId"] = f"{parent:016x}"
    if error:
        result["status"] = {"code": 2, "message": error}
    return result


def line(service: str, spans: Iterable[dict[str, Any]], instance: str = "") -> str:
    """Return one line of a file."""
    values = {"service.name": service} | ({"service.instance.id": instance} if instance else {})
    block = {"resource": {"attributes": attributes(values)}, "scopeSpans": [{"spans": list(spans)}]}
    return json.dumps({"resourceSpans": [block]}) + "\n"


def call(
    trace: int,
    number: int,
    operation: str,
    device: str,
    start: int,
    duration: int,
    parent: int = 0,
    error: str = "",
    caller: tuple[str, str] = ("pytango.client", ""),
    device_class: str = "Motor",
) -> str:
    """Return a call as two lines: the client's span `number` and the server's `number + 1` below it."""
    client = span(trace, number, f"command_inout {operation}", start, duration, parent, 3, device, error)
    server = span(
        trace,
        number + 1,
        f"{device_class}.{operation}",
        start + duration // 10,
        duration * 8 // 10,
        number,
        2,
        device,
        error,
        tango__device__class=device_class,
    )
    return line(caller[0], [client], caller[1]) + line(device_class, [server], device)


def append(path: Path, *texts: str) -> Path:
    """Write lines at the end of a file."""
    with path.open("a", encoding="utf-8") as stream:
        stream.writelines(texts)
    return path


def log(
    time: int, text: str, severity: int = 9, trace: int = 0, number: int = 0, **more: Any
) -> dict[str, Any]:
    """Return a log record as OTLP JSON has it; `more` are attributes, with __ for a dot."""
    record: dict[str, Any] = {
        "timeUnixNano": str(time),
        "severityNumber": severity,
        "body": {"stringValue": text},
        "attributes": attributes({key.replace("__", "."): value for key, value in more.items()}),
    }
    if trace:
        record |= {"traceId": f"{trace:032x}", "spanId": f"{number:016x}"}
    return record


def log_line(service: str, records: Iterable[dict[str, Any]], instance: str = "") -> str:
    """Return one line of a file with log records."""
    values = {"service.name": service} | ({"service.instance.id": instance} if instance else {})
    block = {"resource": {"attributes": attributes(values)}, "scopeLogs": [{"logRecords": list(records)}]}
    return json.dumps({"resourceLogs": [block]}) + "\n"


def metric_line(service: str, metrics: Iterable[dict[str, Any]], instance: str = "") -> str:
    """Return one line of a file with metrics."""
    values = {"service.name": service} | ({"service.instance.id": instance} if instance else {})
    block = {"resource": {"attributes": attributes(values)}, "scopeMetrics": [{"metrics": list(metrics)}]}
    return json.dumps({"resourceMetrics": [block]}) + "\n"
