"""Log records and metric points on their way into the store, and out of it."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy

from ..viewer.model import LogRecord, Point
from .columns import HALF, MAX_BIGINT, dump, utf8

SCHEMA = """
create table logs(hi ubigint, lo ubigint, span ubigint, time bigint, severity utinyint, device varchar,
    resource integer, arrived integer, detail varchar);
create table points(
    series varchar, resource integer, start bigint, time bigint, arrived integer, detail varchar);
"""

_LOG_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("hi", numpy.uint64),
    ("lo", numpy.uint64),
    ("span", numpy.uint64),
    ("time", numpy.int64),
    ("severity", numpy.uint8),
    ("device", object),
    ("resource", numpy.int32),
    ("arrived", numpy.int32),
    ("detail", object),
)
_POINT_COLUMNS: tuple[tuple[str, Any], ...] = (
    ("series", object),
    ("resource", numpy.int32),
    ("start", numpy.int64),
    ("time", numpy.int64),
    ("arrived", numpy.int32),
    ("detail", object),
)


class Records:
    """What was added and is not written yet."""

    def __init__(self) -> None:
        self._logs: dict[tuple[Any, ...], None] = {}
        self._points: dict[tuple[str, int, int], tuple[int, int, str]] = {}

    def __len__(self) -> int:
        return len(self._logs) + len(self._points)

    def add(self, item: LogRecord | Point, resource: int, arrived: int) -> None:
        """Take one; `resource` is its number in the store, `arrived` is in seconds since 1970."""
        if isinstance(item, LogRecord):
            trace = int(item.trace_id or "0", 16)
            # The same record by OTLP and in a file is one.
            self._logs[
                (
                    trace >> 64,
                    trace & HALF,
                    int(item.span_id or "0", 16),
                    min(item.time, MAX_BIGINT),
                    item.severity,
                    device_of(item),
                    resource,
                    arrived,
                    dump((item.level, item.body, item.scope, item.event, item.attributes)),
                )
            ] = None
            return
        # What counts since a start replaces what it said before. What counts since it last said something
        # (delta) has another start each time. So all that is ever needed is the newest point of each start.
        series = dump((item.name, item.unit, item.kind, item.scope, item.attributes))
        key = (series, resource, min(item.start, MAX_BIGINT))
        time = min(item.time, MAX_BIGINT)
        if key not in self._points or self._points[key][0] <= time:
            detail = (item.description, item.value, item.count, item.total, item.longest, item.buckets)
            self._points[key] = (time, arrived, dump(detail))

    def write(self, connection: duckdb.DuckDBPyConnection) -> int:
        """Write them within the transaction that is open; return how many were new."""
        logs, self._logs = self._logs, {}
        points, self._points = self._points, {}
        written = 0
        if logs:
            # Equal records have equal times, and DuckDB passes over blocks of other times.
            times = [row[3] for row in logs]
            same = " and ".join(
                f"l.{name} = b.{name}" for name in ("time", "lo", "hi", "span", "resource", "detail")
            )
            written += _insert(
                connection,
                "logs",
                _LOG_COLUMNS,
                list(logs),
                "select b.* from batch b anti join (select * from logs where time between "
                f"{min(times)} and {max(times)}) l on {same}",
            )
        if points:
            rows = [(*key, *value) for key, value in points.items()]
            same = "p.series = b.series and p.resource = b.resource and p.start = b.start"
            written += _insert(
                connection,
                "points",
                _POINT_COLUMNS,
                rows,
                f"select b.* from batch b anti join points p on {same}",
                f"delete from points p using batch b where {same} and p.time < b.time",
            )
        return written


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: tuple[tuple[str, Any], ...],
    rows: list[tuple[Any, ...]],
    new: str,
    before: str = "",
) -> int:
    batch = {
        name: numpy.array(column, dtype=kind)
        for (name, kind), column in zip(columns, zip(*rows, strict=True), strict=True)
    }
    connection.register("batch", batch)
    try:
        if before:
            connection.execute(before)
        return int(connection.execute(f"insert into {table} {new}").fetchall()[0][0])
    finally:
        connection.unregister("batch")


def device_of(record: LogRecord) -> str:
    """Return the Tango device that a record is about, else the one that emitted it, else ""."""
    for key, value in record.attributes:
        if key == "tango.device.name":
            return utf8(str(value).lower())
    instance = record.resource.instance
    return utf8(instance.lower()) if instance.count("/") == 2 else ""
